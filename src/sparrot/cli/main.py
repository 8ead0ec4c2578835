"""The command `sparrot`: its verbs, each imported only when it is called."""

import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from sparrot.cli.errors import exit_code_of

# Every verb is the function of its name in `sparrot.cli.<verb>`, or the typer application `app` there.
VERBS = {
    "transcribe": "Turn recordings into text, JSON or subtitles.",
    "inspect": "Show the levels, matrices, latency and licence of a model file.",
    "demo": "Train, export and try a small recogniser in a few minutes.",
    "data": "Turn corpora into manifests, and check them.",
    "train": "Train a recogniser from a recipe.",
    "eval": "Measure every level of a model on a manifest.",
    "calibrate": "Find what every level decodes with best, and keep it in the model file.",
    "lm": "Train and use recurrent language models of words.",
    "report": "Draw the papers' tables and figures from training runs.",
    "bench": "Time every level of a model, also beside other libraries.",
    "export": "Write a model file from a training run, or cut one down to a level.",
}


class Verb(TyperCommand):
    """A verb that imports its module when it is called or asked for help."""

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, help=summary)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, whose options this one does not know."""
        assert self.name is not None
        return load_verb(self.name).make_context(info_name, args, parent=parent, **extra)


class Verbs(TyperGroup):
    """The group of all verbs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: Verb(name, summary) for name, summary in VERBS.items()}


app = typer.Typer(cls=Verbs, add_completion=True, pretty_exceptions_enable=False)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from sparrot import __version__

        typer.echo(f"sparrot {__version__}")
        raise typer.Exit


@app.callback()
def sparrot(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=lambda v: _print_version(wanted=v)
        ),
    ] = False,
) -> None:
    """Sparse speech recognition: one model file, its sparsity chosen while it runs."""


def load_verb(name: str) -> Any:
    """The command of a verb, with its module imported."""
    module = import_module(f"sparrot.cli.{name}")
    verb = getattr(module, "app", None)
    if verb is None:
        verb = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        verb.command(name)(getattr(module, name))
    return get_command(verb)


def run(arguments: Sequence[str]) -> int:
    """The exit code of `sparrot ARGUMENTS`."""
    command = get_command(app)
    given = list(arguments) or ["--help"]
    return exit_code_of(lambda: command.main(given, prog_name="sparrot", standalone_mode=False))


def main() -> None:
    """Runs the command line and exits."""
    if isinstance(sys.stdout, TextIOWrapper):  # names of files that are not UTF-8 are printed as they are
        sys.stdout.reconfigure(errors="surrogateescape")
    sys.exit(run(sys.argv[1:]))
