"""Features that were computed elsewhere: what is read, and what is refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from sparrot.feature_files import read_features


def write_sphinx(path: Path, count: int, values: list[float]) -> Path:
    path.write_bytes(struct.pack(f">i{len(values)}f", count, *values))
    return path


def test_a_sphinx_file_is_read_frame_after_frame(tmp_path: Path):
    frames = read_features(write_sphinx(tmp_path / "a.mfc", 6, [1, 2, 3, 4.5, 5, -6]), 3)
    assert frames.dtype == np.float32
    assert frames.dtype.isnative
    assert frames.tolist() == [[1, 2, 3], [4.5, 5, -6]]


def test_a_sphinx_file_without_frames_is_no_error(tmp_path: Path):
    assert read_features(write_sphinx(tmp_path / "a.mfc", 0, []), 13).shape == (0, 13)


def test_a_sphinx_file_has_13_values_a_frame_unless_told_otherwise(tmp_path: Path):
    assert read_features(write_sphinx(tmp_path / "a.mfc", 26, [0.0] * 26)).shape == (2, 13)


def test_damaged_sphinx_files_are_refused(tmp_path: Path):
    cut = write_sphinx(tmp_path / "cut.mfc", 6, [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"cut\.mfc announces 6 values, of 4 bytes each, and has 20 bytes"):
        read_features(cut, 3)
    with pytest.raises(ValueError, match="no whole number of frames of 4"):
        read_features(write_sphinx(tmp_path / "a.mfc", 6, [0] * 6), 4)
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        read_features(write_sphinx(tmp_path / "nan.mfc", 1, [float("nan")]), 1)
    (tmp_path / "short.mfc").write_bytes(b"ab")
    with pytest.raises(ValueError, match="2 bytes, and the count alone takes 4"):
        read_features(tmp_path / "short.mfc", 13)
    (tmp_path / "little.mfc").write_bytes(struct.pack("<i2f", 2, 0.0, 0.0))
    with pytest.raises(ValueError, match="no big-endian Sphinx feature file"):
        read_features(tmp_path / "little.mfc", 2)
    (tmp_path / "negative.mfc").write_bytes(struct.pack(">i", -1823582899) + bytes(8))
    with pytest.raises(ValueError, match=r"negative\.mfc announces -1823582899 values, .* no big-endian"):
        read_features(tmp_path / "negative.mfc", 2)
    with pytest.raises(FileNotFoundError, match=r"gone\.mfc"):
        read_features(tmp_path / "gone.mfc", 13)


@pytest.mark.parametrize("name", ["a.npy", "up.NPY"])
def test_a_numpy_file_is_known_by_its_suffix(tmp_path: Path, name: str):
    given = np.arange(10, dtype=">f8").reshape(2, 5)
    with (tmp_path / name).open("wb") as file:
        np.save(file, given)
    for width in (5, None):
        frames = read_features(tmp_path / name, width)
        assert frames.dtype == np.float32
        assert frames.dtype.isnative
        np.testing.assert_array_equal(frames, given)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((3, 12), np.float32), r"float32 \(3, 12\); .* float features \(n_frames, 13\)"),
        (np.zeros(13, np.float32), r"float32 \(13,\)"),
        (np.zeros((3, 13), np.int32), r"int32 \(3, 13\)"),
        (np.full((1, 13), np.nan, np.float32), "holds NaN or infinity"),
        (np.full((1, 13), 1e39), "holds NaN or infinity"),
        (np.array([[None] * 13]), "is no NumPy array that can be read"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, array: np.ndarray, told: str):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"a\.npy .*{told}"):
        read_features(tmp_path / "a.npy", 13)


def shaped(shape: bytes) -> bytes:
    """A NumPy file of 40 zeros whose header says that they have another shape."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + b", }"
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(160)


def test_numpy_files_that_are_damaged_or_none_are_refused(tmp_path: Path):
    np.savez(tmp_path / "z.npz", a=np.zeros((5, 7)))
    damaged = {
        "empty": b"",
        "archive": (tmp_path / "z.npz").read_bytes(),
        "begins like an archive": b"PK\x03\x04garbage",
        "shape beyond the file": shaped(b"(8, 6)"),
        "shape beyond memory": shaped(b"(50000000000, 7)"),
        "shape beyond numbers": shaped(b"(1" + b"0" * 30 + b", 7)"),
        "header without an end": shaped(b"((8, 5)"),
        "header too deep": shaped(b"-" * 3000 + b"1"),
    }
    for raw in damaged.values():
        (tmp_path / "a.npy").write_bytes(raw)
        with pytest.raises(ValueError, match=r"a\.npy is no NumPy array that can be read"):
            read_features(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(shaped(b"(8, 5)"))
    assert read_features(tmp_path / "a.npy").shape == (8, 5)
    with pytest.raises(FileNotFoundError, match=r"gone\.npy"):
        read_features(tmp_path / "gone.npy")
