"""Recordings as recognisers take them: one waveform, or frames of given features."""

from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from sparrot.audio import Waveform, checked_samples, read_audio
from sparrot.features import Frames, read_sphinx_features

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


def read_features(path: Path, width: int) -> Frames:
    """The frames (n, width) of a CMU Sphinx (.mfc) or NumPy (.npy) file.

    Raises: OSError if it cannot be read; ValueError if it is damaged or of another shape.
    """
    if path.suffix.lower() == ".mfc":
        return read_sphinx_features(path, width)
    try:
        frames = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no NumPy array that can be read: {error}") from error
    if frames.ndim != 2 or frames.shape[1] != width or frames.dtype.kind != "f":
        raise ValueError(
            f"{path} holds {frames.dtype} {frames.shape}; the model takes float features (n_frames, {width})"
        )
    return np.asarray(frames, np.float32)
