"""How tables, and names of files, are printed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LEAST_COLUMNS = 110  # also where the output is no terminal, which claims 80


def table_console() -> "Console":
    """A console on stdout, wide enough for every table, that prints text as it is."""
    from rich.console import Console

    return Console(width=max(Console().width, LEAST_COLUMNS), highlight=False, markup=False)


def json_name(name: str) -> str:
    """The name of a file as JSON can hold it: U+FFFD in the place of bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
