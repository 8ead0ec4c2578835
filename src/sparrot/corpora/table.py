"""Any table with one utterance a row: CSV, TSV or JSONL with named columns."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparrot.corpora.durations import audio_duration
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


def prepare(
    source: Path, out: Path, columns: Columns = DEFAULT_COLUMNS, *, normalised: bool = False
) -> dict[str, Path]:
    """Writes one manifest a split, or `all` where there is no such column; returns them by split.

    source:     a file `.csv`, `.tsv` or `.jsonl`; paths in it are relative to its folder, or absolute.
    normalised: whether texts go through `normalise_text`; otherwise they stay as they are.
    """
    source = Path(source).absolute()
    utterances = []
    for number, row in _rows(source):
        try:
            utterances.append(_utterance(row, columns, source.parent, normalised=normalised))
        except ValueError as error:
            raise ValueError(f"cannot read {source}, line {number}: {error}") from None
    return write_splits(out, utterances)


def _rows(source: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a table with the numbers of their lines."""
    if source.suffix not in (".csv", ".tsv", ".jsonl"):
        raise ValueError(f"cannot read {source}: a table is a file .csv, .tsv or .jsonl")
    with source.open(encoding="utf-8", newline="") as file:
        if source.suffix == ".jsonl":
            yield from ((number, _object(source, number, line)) for number, line in enumerate(file, start=1))
        else:
            reader = csv.DictReader(file, delimiter="\t" if source.suffix == ".tsv" else ",")
            yield from ((reader.line_num, row) for row in reader)


def _object(source: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        described = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot read {source}, line {number}: not a JSON object ({error.msg})") from None
    return described if isinstance(described, dict) else {}


def _utterance(row: Mapping[str, Any], columns: Columns, folder: Path, *, normalised: bool) -> Utterance:
    path = folder / _cell(row, columns.audio)
    text = _cell(row, columns.text)
    return Utterance(
        id=_cell(row, columns.id) if columns.id else path.stem,
        audio_path=path,
        duration=audio_duration(path),
        text=normalise_text(text) if normalised else text,
        speaker=_cell(row, columns.speaker) if columns.speaker else None,
        split=_cell(row, columns.split) if columns.split else None,
    )


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        raise ValueError(f"there is no column {column!r}; the columns are {', '.join(map(str, row))}")
    return str(value)
