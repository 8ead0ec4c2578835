"""Recordings that come with the package: spoken digits, for demonstrations, tests and first trainings."""

from importlib import resources
from pathlib import Path

from sparrot.corpora.manifest import Utterance, read_manifest

_SPLITS = ("train", "dev", "test")
_LISTS = ("dev", "test")


def packaged_recordings(split: str) -> list[Utterance]:
    """Single digits of the Free Spoken Digit Dataset: 300 of test, 300 of dev or 720 of train.

    Raises: ValueError if there is no such split.
    """
    if split not in _SPLITS:
        raise ValueError(f"no packaged recordings of the split {split!r}: there are {', '.join(_SPLITS)}")
    return [recording for recording in read_manifest(folder() / "manifest.jsonl") if recording.split == split]


def packaged_strings(name: str) -> list[Utterance]:
    """A committed list of connected digits: 600 strings of the test recordings or 300 of the dev recordings.

    Raises: ValueError if there is no list of that name.
    """
    if name not in _LISTS:
        raise ValueError(
            f"no packaged strings {name!r}: there are {', '.join(_LISTS)}; training strings are drawn"
        )
    return read_manifest(folder() / f"strings-{name}.jsonl")


def folder() -> Path:
    """Where the packaged recordings are."""
    return Path(str(resources.files("sparrot").joinpath("packaged", "recordings")))
