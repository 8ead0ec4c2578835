"""Any table with one utterance a row: CSV, TSV or JSONL with named columns."""

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sparrot.corpora.durations import audio_duration
from sparrot.corpora.lines import decoded, numbered_lines, parsed
from sparrot.corpora.manifest import Utterance, write_splits
from sparrot.text import normalise_text


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called; those that are None do not exist.

    id: without it, an utterance is called like its file, without folder and suffix.
    """

    audio: str = "audio_path"
    text: str = "text"
    id: str | None = None
    speaker: str | None = None
    split: str | None = None


DEFAULT_COLUMNS = Columns()

_Row: TypeAlias = Mapping[str, Any]

_CSV: dict[str, Any] = {"delimiter": ",", "strict": True}
_TSV: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
_BREAKS = "[\t\n\v\f\r\x85\u2028\u2029]"


def prepare(
    source: Path, out: Path, columns: Columns = DEFAULT_COLUMNS, *, normalised: bool = False
) -> dict[str, Path]:
    """Writes one manifest a split, or `all` where there is no such column; returns them by split.

    source:     a file `.csv`, `.tsv` or `.jsonl`; paths in it are relative to its folder, or absolute.
    normalised: whether texts go through `normalise_text`; otherwise they stay as they are.
    """
    source = Path(source).absolute()
    if source.suffix not in (".csv", ".tsv", ".jsonl"):
        raise ValueError(f"cannot read {source}: a table is a file .csv, .tsv or .jsonl")
    rows = _objects(source) if source.suffix == ".jsonl" else _separated(source)
    utterances = []
    for number, row in rows:
        with _located(source, number):
            utterances.append(_utterance(row, columns, source.parent, normalised=normalised))
    return write_splits(out, utterances)


@contextmanager
def _located(source: Path, number: int) -> Iterator[None]:
    """Adds the file and the line to what is wrong inside the block."""
    try:
        yield
    except csv.Error as error:
        told = f"{error}; a quote that opens a cell must close it, and is doubled inside it"
        raise ValueError(f"cannot read {source}, line {number}: {told}") from None
    except ValueError as error:
        raise ValueError(f"cannot read {source}, line {number}: {error}") from None


def _objects(source: Path) -> Iterator[tuple[int, _Row]]:
    """The rows of a JSONL table with the numbers of their lines; blank lines are no rows."""
    for number, line in numbered_lines(source):
        if line.strip():
            with _located(source, number):
                described = parsed(line)
            yield number, described if isinstance(described, dict) else {}


def _separated(source: Path) -> Iterator[tuple[int, _Row]]:
    """The rows of a CSV or TSV table with the numbers of the lines on which they begin.

    A quote has a meaning in CSV only, and must be closed there. Blank lines are no rows.
    """
    separated = {".csv": _CSV, ".tsv": _TSV}[source.suffix]
    reader = csv.reader((decoded(line) for _, line in numbered_lines(source)), **separated)
    header: list[str] = []
    while True:
        number = reader.line_num + 1
        with _located(source, number):
            cells = next(reader, None)
            if header and len(cells or ()) > len(header):
                raise ValueError(f"the row has {len(cells or ())} cells, and the header has {len(header)}")
        if cells is None:
            return
        if header and any(cell.strip() for cell in cells):
            yield number, dict(zip(header, cells, strict=False))
        header = header or cells


def _utterance(row: _Row, columns: Columns, folder: Path, *, normalised: bool) -> Utterance:
    path = folder / _cell(row, columns.audio)
    text = _cell(row, columns.text)
    if re.search(_BREAKS, text):
        raise ValueError(f"its text {text!r:.80} holds a tab or a line break; a text is a single line")
    return Utterance(
        id=_cell(row, columns.id) if columns.id else path.stem,
        audio_path=path,
        duration=audio_duration(path),
        text=normalise_text(text) if normalised else text,
        speaker=_cell(row, columns.speaker) if columns.speaker else None,
        split=_cell(row, columns.split) if columns.split else None,
    )


def _cell(row: _Row, column: str) -> str:
    value = row.get(column)
    if value is None:
        raise ValueError(f"there is no column {column!r}; the columns are {', '.join(map(str, row))}")
    return str(value)
