"""Builds the recordings that come with the package: `python -m sparrot.corpora.packaging SOURCE OUT`.

SOURCE is a copy of the Free Spoken Digit Dataset. OUT gets all test and dev recordings and the first twelve
training recordings of every digit and speaker, joined into one FLAC file a speaker and split without a
change to any sample; `manifest.jsonl`, which says where each begins; and the lists of connected strings
that tests and development use, `strings-<split>.jsonl`.
"""

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparrot.atomic import atomic_write
from sparrot.corpora import fsdd
from sparrot.corpora.manifest import Utterance, read_manifest, write_manifest
from sparrot.corpora.strings import draw_strings

SAMPLE_RATE_HZ = 8000
N_TRAIN = 12  # training recordings kept of every digit and speaker
N_STRINGS = {"test": 600, "dev": 300}
SEED = 1


def package(source: Path, out: Path) -> Path:
    """Writes the FLAC files, the manifest and the lists of strings; returns the path of the manifest."""
    files: dict[Path, list[Utterance]] = defaultdict(list)
    for recording in filter(_is_kept, fsdd.recordings(source)):
        files[Path(out) / str(recording.split) / f"{recording.speaker}.flac"].append(recording)
    manifest = Path(out) / "manifest.jsonl"
    write_manifest(
        manifest, [placed for path, parts in files.items() for placed in _write_joined(path, parts)]
    )
    for split in N_STRINGS:
        write_manifest(Path(out) / f"strings-{split}.jsonl", packaged_list(manifest, split))
    return manifest


def packaged_list(manifest: Path, split: str) -> list[Utterance]:
    """The strings of connected digits of a split: those in `strings-<split>.jsonl`, drawn anew."""
    recordings = [recording for recording in read_manifest(manifest) if recording.split == split]
    return draw_strings(recordings, N_STRINGS[split], SEED)


def _is_kept(recording: Utterance) -> bool:
    _, index = fsdd.digit_and_index(recording)
    return recording.split != "train" or index < 10 + N_TRAIN


def _write_joined(path: Path, recordings: Sequence[Utterance]) -> list[Utterance]:
    """Writes recordings one after another to a FLAC file; returns them with their places in it."""
    import soundfile

    pieces = [_samples(recording) for recording in recordings]
    starts = np.cumsum([0, *map(len, pieces)])[:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        soundfile.write(
            file, np.concatenate(pieces), SAMPLE_RATE_HZ, "PCM_16", format="FLAC", compression_level=1.0
        )
    return [
        dataclasses.replace(
            recording,
            audio_path=path,
            start=int(start) / SAMPLE_RATE_HZ,
            duration=len(piece) / SAMPLE_RATE_HZ,
        )
        for recording, start, piece in zip(recordings, starts, pieces, strict=True)
    ]


def _samples(recording: Utterance) -> NDArray[np.int16]:
    """The samples of one recording as they are stored: int16 (n_samples,)."""
    import soundfile

    path = str(recording.audio_path)
    header = soundfile.info(path)
    if (header.samplerate, header.channels, header.subtype) != (SAMPLE_RATE_HZ, 1, "PCM_16"):
        raise ValueError(
            f"cannot package {path}: {header.samplerate} Hz, {header.channels} channels, {header.subtype}"
        )
    samples: NDArray[np.int16] = soundfile.read(path, dtype="int16")[0]
    return samples


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m sparrot.corpora.packaging SOURCE OUT\n")
        return 2
    sys.stdout.write(f"{package(Path(arguments[0]), Path(arguments[1]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
