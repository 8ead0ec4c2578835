"""Two games with acted speech and its script: Flight of the Amazon Queen, Beneath a Steel Sky.

Source: the free CD versions, cut into lines: a folder with `manifest.jsonl` and 11,025 Hz audio, split
        into train and dev by source file.
Split:  dev is halved into `tune` and `final` by the source file of a line, so that no scene is in both:
        by the first hexadecimal digit of the SHA-256 of `<corpus>/<source file>`, 0-7 is tune, 8-f final.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from sparrot.corpora.durations import measured
from sparrot.corpora.manifest import Utterance, read_manifest, write_splits

# Beneath a Steel Sky: number of the first speech file of each section, less 50,000.
_FIRST_FILE = (0, 600, 1100, 2430, 3380, 4530, 5080, 5230)
_BLOCK = 32  # consecutive text numbers that were put into one split together


def prepare_fotaq(source: Path, out: Path) -> dict[str, Path]:
    """Writes train, tune and final manifests of Flight of the Amazon Queen; returns them by split."""
    return _prepare(source, out, fotaq_source)


def prepare_bass(source: Path, out: Path) -> dict[str, Path]:
    """Writes train, tune and final manifests of Beneath a Steel Sky; returns them by split."""
    return _prepare(source, out, bass_source)


def fotaq_source(utterance: Utterance) -> str:
    """The dialogue or cut-scene file of a line, for example `fotaq/AND1.DOG`."""
    source = utterance.others.get("source")
    if not isinstance(source, str):
        raise ValueError(f"line {utterance.id!r} of Flight of the Amazon Queen lacks the field `source`")
    return f"fotaq/{source}"


def bass_source(utterance: Utterance) -> str:
    """The block of 32 consecutive texts of a line, for example `bass/0/7`; ids are numbers of speech files.

    text = id − 50,000 − first speech file of the section,   block = text // 32
    """
    section = utterance.others.get("section")
    if not isinstance(section, int) or section not in range(8) or not utterance.id.isdecimal():
        raise ValueError(
            f"line {utterance.id!r} of Beneath a Steel Sky needs a number as id and a `section` of 0-7"
        )
    return f"bass/{section}/{(int(utterance.id) - 50_000 - _FIRST_FILE[section]) // _BLOCK}"


def half_of(source: str) -> str:
    """`tune` or `final`: the half of dev to which the lines of a source file belong."""
    return "tune" if hashlib.sha256(source.encode()).hexdigest()[0] in "01234567" else "final"


def _prepare(source: Path, out: Path, source_of: Callable[[Utterance], str]) -> dict[str, Path]:
    manifest = Path(source) / "manifest.jsonl"
    return write_splits(out, [_halved(measured(u), source_of) for u in read_manifest(manifest)])


def _halved(utterance: Utterance, source_of: Callable[[Utterance], str]) -> Utterance:
    """The utterance, in its half of dev if it is in dev."""
    if utterance.split != "dev":
        return utterance
    return dataclasses.replace(utterance, split=half_of(source_of(utterance)))
