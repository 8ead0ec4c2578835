"""Features that were computed elsewhere, in files."""

from pathlib import Path
from typing import Final

import numpy as np

from sparrot.features import Frames

SPHINX_WIDTH: Final = 13  # values a frame in a Sphinx file whose width is not known otherwise


def read_features(path: Path | str, width: int | None = None) -> Frames:
    """The frames (n_frames, width) of a NumPy file, known by its suffix `.npy`, or of a CMU Sphinx file.

    A Sphinx file: one big-endian int32 n, then n big-endian float32, frame after frame.
    width:  values a frame; None takes those of the array, 13 in a Sphinx file.
    Raises: OSError if it cannot be opened; ValueError if it is damaged, has another width, or holds NaN.
    """
    path = Path(path)
    frames = _numpy_frames(path, width) if path.suffix.lower() == ".npy" else _sphinx_frames(path, width)
    if not np.isfinite(frames).all():
        raise ValueError(f"{path} holds NaN or infinity; features must be finite")
    return frames


def _sphinx_frames(path: Path, width: int | None) -> Frames:
    raw = path.read_bytes()
    if len(raw) < 4:
        raise ValueError(f"{path} is no Sphinx feature file: {len(raw)} bytes, and the count alone takes 4")
    n_values, n_columns = int.from_bytes(raw[:4], "big", signed=True), width or SPHINX_WIDTH
    if n_values < 0 or len(raw) != 4 + 4 * n_values:
        raise ValueError(
            f"{path} announces {n_values} values, of 4 bytes each, and has {len(raw) - 4} bytes; it is cut "
            f"short or no big-endian Sphinx feature file"
        )
    if n_values % n_columns != 0:
        raise ValueError(f"{path} holds {n_values} values, which is no whole number of frames of {n_columns}")
    return np.frombuffer(raw, ">f4", offset=4).reshape(-1, n_columns).astype(np.float32)


def _numpy_frames(path: Path, width: int | None) -> Frames:
    with path.open("rb") as file:
        try:
            stored = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # the header is parsed as Python: a dozen kinds, SyntaxError among them
            raise ValueError(f"{path} is no NumPy array that can be read: {error}") from error
    if stored.ndim != 2 or stored.dtype.kind != "f" or stored.shape[1] != (width or stored.shape[1]):
        raise ValueError(
            f"{path} holds {stored.dtype} {stored.shape}; the model takes float features "
            f"(n_frames, {width or 'width'})"
        )
    with np.errstate(over="ignore"):
        return stored.astype(np.float32)
