"""Files written again with weights of other types."""

import pytest

from model_file.written import SMALL, Parts, write_small
from sparrot.model_file import FormatError, ModelFile, convert, dtypes_of

BLOCKS = [(4, 1), (16, 1), (12, 2), (32, 32), (4, 4), (8, 8), (1, 1)]


def converted(source, path, dtype):
    convert(ModelFile.open(source), path, {matrix.name: dtype for matrix in SMALL.matrices()})
    return Parts.of(path)


def without_accuracies(parts: Parts) -> Parts:
    for level in parts.described["levels"]:
        level["measured"] = {}
    return parts


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_converted_file_is_the_one_that_would_have_been_written(tmp_path, dtype, block):
    write_small(tmp_path / "plain", block)
    write_small(tmp_path / "expected", block, dtype=dtype)
    found, expected = (
        converted(tmp_path / "plain", tmp_path / "found", dtype),
        Parts.of(tmp_path / "expected"),
    )
    assert found.data == expected.data
    assert found.described == without_accuracies(expected).described


def test_matrices_without_a_type_stay_float32(small_path, tmp_path):
    convert(ModelFile.open(small_path), tmp_path / "m", dtypes_of(SMALL.matrices(), "I8"))
    dtypes = {stored.matrix.name: stored.dtype for stored in ModelFile.open(tmp_path / "m").matrices}
    assert dtypes == {name: "F32" if name == "conv.kernel" else "I8" for name in dtypes}


@pytest.mark.parametrize("dtype", ["BF16", "I8"])
def test_a_file_that_is_not_float32_is_refused(tmp_path, dtype):
    write_small(tmp_path / "m", dtype=dtype)
    with pytest.raises(ValueError, match=f"`conv.kernel` of .*/m is {dtype} already: name the float32 model"):
        converted(tmp_path / "m", tmp_path / "n", dtype)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_types_that_are_not_known(small_path, tmp_path):
    file = ModelFile.open(small_path)
    with pytest.raises(ValueError, match="a type for `x`, which is none of its matrices"):
        convert(file, tmp_path / "m", {"x": "I8"})
    with pytest.raises(ValueError, match="cannot be F16, but F32, BF16, I8"):
        convert(file, tmp_path / "m", {"fc.weight": "F16"})


def test_a_cut_file_is_refused(small_path, tmp_path):
    (tmp_path / "m").write_bytes(small_path.read_bytes()[:-64])
    with pytest.warns(UserWarning):
        cut = ModelFile.open(tmp_path / "m")
    with pytest.raises(ValueError, match="is cut; take the whole file"):
        convert(cut, tmp_path / "n", {})


def test_a_damaged_file_is_refused(small_path, tmp_path):
    raw = bytearray(small_path.read_bytes())
    raw[-1] ^= 1
    (tmp_path / "m").write_bytes(raw)
    with pytest.raises(FormatError, match="should have"):
        convert(ModelFile.open(tmp_path / "m"), tmp_path / "n", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
