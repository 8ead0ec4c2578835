"""Lines of text files: UTF-8, with or without a byte order mark."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their ends, numbered from 1; a byte order mark is left out."""
    raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    yield from enumerate(raw.splitlines(keepends=True), start=1)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file as texts without their ends, numbered from 1.

    Raises: ValueError, with the file and the line, if one is not UTF-8.
    """
    for number, line in numbered_lines(path):
        try:
            text = decoded(line).rstrip("\r\n")
        except ValueError as error:
            raise ValueError(f"cannot read {path}, line {number}: {error}") from None
        yield number, text


def decoded(line: bytes) -> str:
    """The text of a line. Raises ValueError if it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start} of the line is not UTF-8 text; save the file as UTF-8"
        ) from None


def parsed(line: bytes) -> Any:
    """The JSON value of a line. Raises ValueError if there is none."""
    try:
        return json.loads(decoded(line))
    except json.JSONDecodeError as error:
        raise ValueError(f"not a JSON object ({error.msg})") from None
    except RecursionError:
        raise ValueError("not a JSON object (it is nested too deeply)") from None
