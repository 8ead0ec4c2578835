"""The bytes of a stop in memory: what an engine that runs them in place is given."""

import mmap

import numpy as np
import pytest

from model_file.written import Parts
from sparrot.model_file import FormatError, ModelFile


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def of_prefix(parts: Parts, prefix: str) -> dict[str, np.ndarray]:
    """Tensors of the file as its header places them, by what follows the prefix."""
    names = [name for name in parts.header if name.startswith(prefix)]
    return {name.removeprefix(prefix): parts.array(name) for name in names}


def tensors_of(data) -> dict[str, np.ndarray]:
    """Everything that a stop's data holds, by the name it has in the file after its first part."""
    found = dict(data.vectors)
    for name, piece in data.pieces.items():
        arrays = {"starts": piece.starts, "columns": piece.columns, "values": piece.values}
        if piece.starts is None:
            assert piece.columns is None
            found[name] = piece.values
        else:
            found |= {f"{name}/{part}": array for part, array in arrays.items()}
    return found


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_the_tensors_are_those_of_the_header(small_path, stop):
    parts = Parts.of(small_path)
    expected = of_prefix(parts, f"{stop:02d}/") | (of_prefix(parts, "base/") if stop == 0 else {})
    found = tensors_of(ModelFile.open(small_path).read_stop(stop))
    assert set(found) == set(expected)
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name])
        assert address(array) % 64 == 0
        assert not array.flags.writeable


def test_pieces_come_in_the_order_of_the_architecture(small_path):
    file = ModelFile.open(small_path)
    assert list(file.read_stop(0).pieces) == [stored.matrix.name for stored in file.matrices]
    segments = [stored for stored in file.matrices if stored.layout == "strip16"]
    assert [piece.stored for piece in file.read_stop(1).pieces.values()] == segments
    assert file.read_stop(1).vectors == {}


def test_the_bytes_are_read_into_the_memory_that_is_given(small_path):
    file, given = ModelFile.open(small_path), []

    def allocate(n_bytes: int) -> memoryview:
        given.append(mmap.mmap(-1, n_bytes + 4096))
        return memoryview(given[-1])

    data = file.read_stop(1, allocate)
    begin, end = file.stops[0].end, file.stops[1].end
    assert given[0][: end - begin] == Parts.of(small_path).data[begin:end]
    given[0][: end - begin] = bytes(end - begin)
    assert not any(array.any() for array in tensors_of(data).values())


def test_a_stop_that_is_not_there(small_path, tmp_path):
    (tmp_path / "m").write_bytes(small_path.read_bytes()[:-64])
    with pytest.warns(UserWarning):
        cut = ModelFile.open(tmp_path / "m")
    for stop in (-1, 2):
        with pytest.raises(ValueError, match=f"no stop {stop} in .*, which holds stops 0 to 1"):
            cut.read_stop(stop)


def test_a_damaged_stop_is_refused_and_the_others_are_not(small_path, tmp_path):
    raw = bytearray(small_path.read_bytes())
    raw[-1] ^= 1
    (tmp_path / "m").write_bytes(raw)
    file = ModelFile.open(tmp_path / "m")
    file.read_stop(1)
    with pytest.raises(FormatError, match="should have") as caught:
        file.read_stop(2)
    assert caught.value.field == "stops[2].crc32"
    ModelFile.open(tmp_path / "m", verify=False).read_stop(2)
