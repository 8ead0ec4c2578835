"""LJ Speech: one reader, long sentences of non-fiction. Public domain; here for testing only.

Source: keithito.com/LJ-Speech-Dataset, version 1.1: `metadata.csv` beside `wavs/`.
"""

import dataclasses
from pathlib import Path

from sparrot.corpora.durations import measured
from sparrot.corpora.lines import text_lines
from sparrot.corpora.manifest import Utterance, read_manifest, write_splits
from sparrot.text import normalise_text


def prepare(source: Path, out: Path) -> dict[str, Path]:
    """Writes the test manifest of a copy of the corpus, or of a part of it; returns it as {"test": path}.

    source: a folder with `metadata.csv` (id|text|text in words) and `wavs/<id>.wav`, or one with a
            `manifest.jsonl`.
    """
    source = Path(source)
    if (source / "manifest.jsonl").is_file():
        found = read_manifest(source / "manifest.jsonl")
    elif (source / "metadata.csv").is_file():
        found = _clips(source)
    else:
        raise ValueError(f"there is no LJ Speech in {source}: it needs metadata.csv or manifest.jsonl")
    return write_splits(out, [dataclasses.replace(measured(u), split="test") for u in found])


def _clips(source: Path) -> list[Utterance]:
    """The clips that `metadata.csv` lists."""
    path = source / "metadata.csv"
    clips = []
    for number, line in text_lines(path):
        fields = line.split("|")
        if len(fields) != 3:
            raise ValueError(
                f"cannot read {path}, line {number}: `id|text|text in words` needed, got {line!r}"
            )
        clips.append(_clip(source, fields[0], fields[2]))
    return clips


def _clip(source: Path, name: str, text: str) -> Utterance:
    path = source / "wavs" / f"{name}.wav"
    return Utterance(id=name, audio_path=path, duration=0.0, text=normalise_text(text), speaker="lj")
