"""Recordings as recognisers take them: one waveform, or frames of given features."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from numpy.typing import ArrayLike

from sparrot.audio import Waveform, checked_samples, read_audio

Recording: TypeAlias = Path | str | BinaryIO | Waveform | ArrayLike

FEATURE_SUFFIXES = (".mfc", ".npy")


def feature_path(recording: Recording) -> Path | None:
    """The path of a feature file, known by its suffix; None of any other recording."""
    if not isinstance(recording, Path | str):
        return None
    path = Path(recording)
    return path if path.suffix.lower() in FEATURE_SUFFIXES else None


def as_waveform(recording: Recording, sample_rate_hz: int | None) -> Waveform:
    """The sound of a file, a stream, a waveform, or samples (n,) at `sample_rate_hz`.

    Raises: ValueError if samples come without their rate, or anything else with one.
    """
    is_samples = not isinstance(recording, Path | str | Waveform) and not hasattr(recording, "read")
    if is_samples != (sample_rate_hz is not None):
        raise ValueError(
            "sample_rate_hz goes with an array of samples and only with it: "
            "files and waveforms know their rate"
        )
    if sample_rate_hz is not None:
        return Waveform(checked_samples(cast(ArrayLike, recording)), sample_rate_hz)
    return recording if isinstance(recording, Waveform) else read_audio(cast(BinaryIO, recording))


@contextmanager
def naming(recording: Recording) -> Iterator[None]:
    """Puts the name of a file before what is wrong with its samples or frames."""
    try:
        yield
    except ValueError as error:
        if not isinstance(recording, Path | str):
            raise
        raise ValueError(f"cannot transcribe {recording}: {error}") from error
