"""Free Spoken Digit Dataset: single digits, six speakers, fifty recordings of each digit, 8 kHz.

Source: github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0.
Split:  recordings 0-4 of every digit and speaker are test (official), 5-9 dev (ours), the rest train.
"""

import dataclasses
import re
from pathlib import Path

from sparrot.corpora.durations import audio_duration
from sparrot.corpora.manifest import Utterance, write_splits

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<index>\d+)")
_SUFFIXES = (".wav", ".flac")


def prepare(source: Path, out: Path, *, left_out: str | None = None) -> dict[str, Path]:
    """Writes train, dev and test manifests of a copy of the corpus; returns them by split.

    source:   a folder that holds files `<digit>_<speaker>_<index>.wav` or `.flac`, at any depth.
    left_out: a speaker all of whose recordings go to a split `left_out` and to no other.
    """
    return write_splits(out, recordings(source, left_out=left_out))


def recordings(source: Path, *, left_out: str | None = None) -> list[Utterance]:
    """Every recording in a folder, sorted by speaker, digit and index; arguments as in `prepare`."""
    paths = [
        path for path in Path(source).rglob("*") if path.suffix in _SUFFIXES and _NAME.fullmatch(path.stem)
    ]
    if not paths:
        raise ValueError(
            f"there is no recording in {source}: the Free Spoken Digit Dataset has files like "
            f"recordings/7_jackson_32.wav"
        )
    found = sorted((_recording(path) for path in paths), key=_order)
    speakers = sorted({str(utterance.speaker) for utterance in found})
    if left_out is not None and left_out not in speakers:
        raise ValueError(f"cannot leave out {left_out!r}: the speakers in {source} are {', '.join(speakers)}")
    return [_moved(utterance, left_out) for utterance in found]


def split_of(index: int) -> str:
    """The split of the recordings with this index."""
    if index < 5:
        return "test"
    return "dev" if index < 10 else "train"


def digit_and_index(utterance: Utterance) -> tuple[int, int]:
    """The digit that a recording says and its number among those of its speaker."""
    digit, _, index = utterance.id.split("_")
    return int(digit), int(index)


def _recording(path: Path) -> Utterance:
    digit, speaker, index = path.stem.split("_")
    return Utterance(
        id=path.stem,
        audio_path=path,
        duration=audio_duration(path),
        text=DIGITS[int(digit)],
        speaker=speaker,
        split=split_of(int(index)),
    )


def _order(utterance: Utterance) -> tuple[str, tuple[int, int]]:
    return str(utterance.speaker), digit_and_index(utterance)


def _moved(utterance: Utterance, left_out: str | None) -> Utterance:
    """The recording, in the split `left_out` if that is its speaker's."""
    return dataclasses.replace(utterance, split="left_out") if utterance.speaker == left_out else utterance
