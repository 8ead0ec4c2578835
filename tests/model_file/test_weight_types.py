"""bfloat16 and int8: rounding by hand, against torch, and within the bounds that they promise."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_file.written import describe
from sparrot.architecture import Architecture, Linear
from sparrot.model_file import LevelToWrite, ModelFile, Storage, write_model
from sparrot.model_file.weight_types import from_bfloat16, row_scales, to_bfloat16, to_codes

LARGEST = np.finfo(np.float32).max
FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_bfloat16_by_hand():
    exact = floats(0, 1, -1.5, 2.0**-126)
    np.testing.assert_array_equal(to_bfloat16(exact), [0, 0x3F80, 0xBFC0, 0x0080])
    # 8 bits of mantissa: half of the last one is 2^-8; ties go to the even one of 1, 1 + 2^-7, 1 + 2^-6.
    ties = floats(1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 1 + 2**-8 - 2**-20)
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(ties)), floats(1, 1 + 2**-6, 1 + 2**-7, 1))


def test_bfloat16_has_no_negative_zero():
    np.testing.assert_array_equal(to_bfloat16(floats(-0.0, -1e-45, 1e-45)), [0, 0, 0])


@given(FLOATS)
def test_bfloat16_is_that_of_torch(values):
    weights = np.array(values, np.float32)
    expected = torch.from_numpy(weights).to(torch.bfloat16).view(torch.uint16).numpy().copy()
    expected[expected == 0x8000] = 0
    np.testing.assert_array_equal(to_bfloat16(weights), expected)


def test_codes_by_hand():
    # Scale 2: half-way cases go to the even code, and a weight beyond 127 codes to the last one.
    weights = floats(254, 1, 3, 5, -1, -3, 0, 300, -300)
    codes = to_codes(weights, floats(2))
    np.testing.assert_array_equal(codes, [127, 0, 2, 2, 0, -2, 0, 127, -127])
    assert codes.dtype == np.int8


def test_a_row_of_zeros_has_scale_0_and_codes_0():
    weights = floats(0, 0, 1, -254).reshape(2, 2)
    scales = row_scales(weights)
    np.testing.assert_array_equal(scales, floats(0, 2))
    np.testing.assert_array_equal(to_codes(weights, scales[:, None]), [[0, 0], [0, -127]])


@given(FLOATS)
def test_a_weight_is_within_half_a_scale_of_its_code(values):
    weights = np.array(values, np.float32)[None]
    scales = row_scales(weights)
    codes = to_codes(weights, scales[:, None]).astype(np.float64)
    # A scale is max / 127 within half a unit in its last place, of which at most 127 add up; or it is a
    # denormal, within 2^-150. The ratio is rounded once more, to float64.
    off = 127 * np.maximum(scales.astype(np.float64) * 2.0**-24, 2.0**-150)
    error = abs(codes * scales - weights)
    assert np.all(error <= scales * (0.5 + 2.0**-40) + off)
    assert np.all(abs(codes) <= 127)


ARCHITECTURE = Architecture(3, (Linear("a", 2), Linear("b", 2)))
WEIGHTS = {
    "a.weight": floats(1, 2, 3, 4, 5, 6).reshape(2, 3),
    "a.bias": floats(0, 0),
    "b.weight": floats(1, 2, 3, 4).reshape(2, 2),
    "b.bias": floats(0, 0),
}
KEPT = {"a.weight": np.array([[True, True, False]] * 2)}


def write(path, dtypes, *, a=WEIGHTS["a.weight"], levels=None):
    """A file whose densest level drops the last column of `a`, if no other levels are given."""
    levels = levels or [LevelToWrite(name="only", kept=KEPT)]
    storage = Storage({"a.weight": (2, 1)}, dtypes)
    write_model(path, describe(ARCHITECTURE), WEIGHTS | {"a.weight": a}, levels, storage)
    return ModelFile.open(path)


def test_a_weight_too_large_for_bfloat16_is_refused(tmp_path):
    weights = np.full((2, 3), LARGEST)
    with pytest.raises(ValueError, match=r"`a.weight` is refused: a weight is too large for bfloat16"):
        write(tmp_path / "m", {"a.weight": "BF16"}, a=weights)
    assert list(tmp_path.iterdir()) == []


def test_no_weight_is_too_large_for_int8(tmp_path):
    file = write(tmp_path / "m", {"a.weight": "I8"}, a=np.full((2, 3), LARGEST))
    # Two roundings: that of the scale and that of 127 times it.
    np.testing.assert_allclose(file.parameters("only")["a.weight"][:, 0], LARGEST, rtol=2**-23)


def test_the_scale_is_that_of_the_densest_level_and_all_levels_share_codes(tmp_path):
    sparse = LevelToWrite(name="small", kept={"a.weight": np.array([[True, False, False]] * 2)})
    file = write(tmp_path / "m", {"a.weight": "I8"}, levels=[LevelToWrite(name="large", kept=KEPT), sparse])
    np.testing.assert_array_equal(
        file.read_stop(0).scales["a.weight"][0, :3], floats(2, 5, 0) / np.float32(127)
    )
    assert file.read_stop(1).scales == {}
    large, small = file.parameters("large")["a.weight"], file.parameters("small")["a.weight"]
    np.testing.assert_array_equal(large[:, :1], small[:, :1])
    assert not small[:, 1:].any()
    np.testing.assert_array_equal(large[:, 1], floats(2, 5) / np.float32(127) * 127)


def test_each_matrix_has_its_type(tmp_path):
    file = write(tmp_path / "m", {"a.weight": "BF16", "b.weight": "I8"})
    assert [stored.dtype for stored in file.matrices] == ["BF16", "I8"]
    data = file.read_stop(0)
    assert list(data.scales) == ["b.weight"]
    assert [piece.values.dtype for piece in data.pieces.values()] == [np.uint16, np.int8]
    np.testing.assert_array_equal(file.parameters("only")["a.weight"], [[1, 2, 0], [4, 5, 0]])


def test_a_type_of_no_matrix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a type for `x`, which is none of its matrices"):
        write(tmp_path / "m", {"x": "I8"})
    with pytest.raises(ValueError, match=r"`a.weight` cannot be F16"):
        write(tmp_path / "m", {"a.weight": "F16"})
