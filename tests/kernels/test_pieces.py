"""Segments of every layout and type are checked before anything is computed with them."""

import numpy as np
import pytest

from kernels.segments import LAYOUTS, TYPES, Shape, random_segment
from sparrot._core import Product, available_kernels

ISA = available_kernels()[-1]
U32, U16 = np.uint32, np.uint16


def make(shape: Shape, arrays) -> Product:
    scales = np.ones(shape.rows, np.float32) if shape.type == "int8" else None
    return Product(ISA, shape.layout, shape.type, shape.strips, shape.n_columns, [arrays], scales)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_lines_and_exact_lengths_are_both_taken(layout, type_):
    shape = Shape(layout, type_, 3, 27)
    (starts, columns, values), _ = random_segment(shape, 0.4, np.random.default_rng(0))
    make(shape, (starts, columns, values))
    if starts is not None:
        starts = np.append(starts, np.repeat(starts[-1:], -len(starts) % 16))
        columns = np.append(columns, np.zeros(-len(columns) % 32, U16))
    make(
        shape,
        (starts, columns, np.append(values, np.zeros(-values.nbytes % 64 // values.itemsize, values.dtype))),
    )


def strip(starts, columns, type_="float32", values=None, n_columns=10):
    n = len(columns)
    dtype = {"float32": np.float32, "bfloat16": U16, "int8": np.int8}[type_]
    values = np.zeros(16 * n, dtype) if values is None else np.asarray(values, dtype)
    shape = Shape("strip16", type_, len(starts) - 1, n_columns)
    return shape, (np.array(starts, U32), np.array(columns, U16), values)


def tile(starts, columns, layout="tile4", n_columns=10):
    side = int(layout[-1])
    shape = Shape(layout, "float32", (len(starts) - 1) * side // 16, n_columns)
    values = np.zeros((len(columns), side, side), np.float32)
    return shape, (np.array(starts, U32), np.array(columns, U16), values)


def with_value(case, index, value):
    shape, (starts, columns, values) = case
    values = values.copy().ravel()
    values[index] = value
    return shape, (starts, columns, values)


def with_arrays(case, **changed):
    shape, (starts, columns, values) = case
    arrays = {"starts": starts, "columns": columns, "values": values} | changed
    return shape, tuple(arrays.values())


PLAIN = strip([0, 2, 3], [1, 4, 0])
REFUSED = {
    "starts short": (with_arrays(PLAIN, starts=np.zeros(0, U32)), "`starts` has 0 entries; 2 strips need 16"),
    "starts long": (
        with_arrays(PLAIN, starts=np.full(17, 3, U32)),
        "`starts` has 32 entries; 2 strips need 16",
    ),
    "starts at 1": (strip([1, 2, 3], [1, 4, 0]), "`starts` begins with 1, not 0"),
    "starts fall": (strip([0, 2, 1], [1, 4]), "`starts` falls from 2 to 1 at strip 1"),
    "starts end": (
        with_arrays(PLAIN, starts=np.array([0, 2, 3, 5], U32)),
        "`starts` ends with 5 after its 3 groups",
    ),
    "columns short": (strip([0, 2, 33], [1, 4]), "`columns` has 32 entries; 33 groups need 64"),
    "columns long": (
        with_arrays(PLAIN, columns=np.zeros(33, U16)),
        "`columns` has 64 entries; 3 groups need 32",
    ),
    "columns after": (strip([0, 2, 3], [1, 4, 0, 1]), "`columns` is not zero past its last group"),
    "out of range": (
        strip([0, 2, 3], [1, 10, 0]),
        "`columns` holds 10 at group 1, out of range .* 10 columns",
    ),
    "columns fall": (strip([0, 2, 3], [4, 1, 0]), "`columns` does not rise at group 1, inside strip 0"),
    "columns twice": (strip([0, 2, 3], [4, 4, 0]), "`columns` does not rise at group 1"),
    "twice in two groups": (strip([0, 2], [1, 4, 4, 5], "bfloat16", np.zeros(64)), "not rise at group 1"),
    "falls in a group": (strip([0, 1], [1, 5, 3, 6], "int8", np.zeros(64)), "not rise at group 0"),
    "repeated weight": (
        with_value(strip([0, 1], [1, 3, 3, 3], "int8", np.zeros(64)), 4 * 9 + 2, 1),
        "a column of padding has a weight in a group",
    ),
    "values short": (
        with_arrays(PLAIN, values=np.zeros(32, np.float32)),
        "`values` has 32 entries; 3 groups need 48",
    ),
    "values long": (
        with_arrays(PLAIN, values=np.zeros(49, np.float32)),
        "`values` has 64 entries; 3 groups need 48",
    ),
    "values after": (
        (
            Shape("csr", "int8", 1, 4),
            (np.array([0] + [1] * 16, U32), np.array([3], U16), np.ones(2, np.int8)),
        ),
        "`values` is not zero past its last weight",
    ),
    "NaN": (with_value(PLAIN, 47, np.nan), "a weight of group 2 is not finite"),
    "infinity": (with_value(PLAIN, 16, -np.inf), "a weight of group 1 is not finite"),
    "bfloat16 NaN": (
        with_value(strip([0, 1], [1, 2], "bfloat16", np.zeros(32)), 31, 0x7FC0),
        "is not finite",
    ),
    "bfloat16 infinity": (
        with_value(strip([0, 1], [1, 2], "bfloat16", np.zeros(32)), 0, 0xFF80),
        "is not finite",
    ),
    "-128": (
        with_value(strip([0, 1], [1, 2, 3, 4], "int8", np.zeros(64)), 63, -128),
        "a weight of group 0 is −128",
    ),
    "tile out of range": (tile([0, 1, 1, 1, 1], [3]), "`columns` holds 3 at tile 0, out of range"),
    "tile column": (
        with_value(tile([0, 1, 1, 1, 1], [2]), 2, 1),
        "a column of padding has a weight in a tile",
    ),
    "tile rows": (tile([0, 2, 1, 1, 1], [0, 1]), "`starts` falls from 2 to 1 at tile row 1"),
    "tile8 column": (with_value(tile([0, 1, 1], [1], "tile8"), 8 + 2, 1), "a column of padding"),
    "dense16 starts": (
        (Shape("dense16", "float32", 1, 1), (np.zeros(1, U32), None, np.zeros(16, np.float32))),
        "`starts` has 16 entries; 1 strips need 0",
    ),
    "dense16 values": (
        (Shape("dense16", "int8", 2, 5), (None, None, np.zeros(64, np.int8))),
        "`values` has 64 entries; 4 groups need 256",
    ),
    "dense16 column": (
        (Shape("dense16", "bfloat16", 1, 3), (None, None, np.repeat(U16([0, 0x3F80]), [63, 1]))),
        "a column of padding has a weight in a group",
    ),
    "-0 in a column of padding": (
        (Shape("dense16", "bfloat16", 1, 3), (None, None, np.repeat(U16([0, 0x8000]), [63, 1]))),
        "a column of padding has a weight in a group",
    ),
    "-0 past the last tile": (with_value(tile([0, 1, 1, 1, 1], [2]), 2, -0.0), "a column of padding"),
    "too many columns": (strip([0, 1], [1], n_columns=65537), "65537 columns"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused(case):
    (shape, arrays), words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        make(shape, arrays)


@pytest.mark.parametrize(
    "case",
    [
        PLAIN,
        with_value(PLAIN, 47, -0.0),
        strip([0, 1], [1, 3, 3, 3], "int8", np.zeros(64)),
        tile([0, 1, 1, 1, 1], [2]),
        tile([0, 1, 1], [1], "tile8"),
    ],
)
def test_what_was_made_wrong_is_right_otherwise(case):
    make(*case)
