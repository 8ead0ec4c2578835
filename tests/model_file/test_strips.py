"""The layout of weights, by hand and as docs/format.md says it."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_file.written import DTYPES, SMALL, differing, read_all, write_small
from sparrot.architecture import Matrix
from sparrot.model_file import WeightType
from sparrot.model_file.layout import MatrixLayout
from sparrot.model_file.masks import count_blocks
from sparrot.model_file.pieces import Accumulator, Piece, decode, encode, gather, pack_dense, unpack_dense
from sparrot.model_file.strips import from_strips, n_strips, pack_vector, to_strips, unpack_vector

# Two gates of 17 rows: each is padded to 32, so there are four strips, whose gates take turns.
ROWS_OF_STRIPS = [range(16), range(17, 33), [16], [33]]


def stored_as(shape: tuple[int, int], gates: int, dtype: WeightType = "F32") -> MatrixLayout:
    return MatrixLayout(Matrix("m", *shape, gates, "fc"), "strip16", (16, 1), dtype)


def packed(weights, added, gates, dtype="F32", scales=None) -> Piece:
    """What a segment that adds these weights stores."""
    stored = stored_as(weights.shape, gates, dtype)
    return encode(gather(weights, added, gates, stored.unit), stored, scales)


def test_gates_take_turns_in_the_strips():
    matrix = np.arange(1.0, 69.0, dtype=np.float32).reshape(34, 2)
    strips = to_strips(matrix, gates=2)
    assert strips.shape == (n_strips(34, 2), 16, 2) == (4, 16, 2)
    for strip, rows in zip(strips, ROWS_OF_STRIPS, strict=True):
        np.testing.assert_array_equal(strip[: len(rows)], matrix[rows])
        assert not strip[len(rows) :].any()


def test_a_piece_by_hand():
    weights = np.arange(1.0, 103.0, dtype=np.float32).reshape(34, 3)
    added = np.zeros((34, 3), np.bool_)
    added[0, 1] = added[2, 1] = added[5, 2] = added[16, 0] = added[33, 2] = True
    piece = packed(weights, added, gates=2)
    np.testing.assert_array_equal(piece.starts, [0, 2, 2, 3, *[4] * 12])
    np.testing.assert_array_equal(piece.columns, [1, 2, 0, 2, *[0] * 28])
    expected = np.zeros((4, 16), np.float32)
    expected[0, 0], expected[0, 2] = weights[0, 1], weights[2, 1]
    expected[1, 5] = weights[5, 2]
    expected[2, 0] = weights[16, 0]
    expected[3, 0] = weights[33, 2]
    np.testing.assert_array_equal(piece.values, expected)
    assert (piece.starts.dtype, piece.columns.dtype, piece.values.dtype) == (np.uint32, np.uint16, np.float32)


# The columns of five strips: none, one, and as many as make a group of 2 or 4 with some left over.
LEFT_OVER = [[], [3], [1, 2], [0, 4, 5], [0, 1, 2, 3, 5]]
GROUPED = {  # type: (starts, columns of its groups)
    "BF16": ([0, 0, 1, 2, 4, 7], [[3, 3], [1, 2], [0, 4], [5, 5], [0, 1], [2, 3], [5, 5]]),
    "I8": ([0, 0, 1, 2, 3, 5], [[3] * 4, [1, 2, 2, 2], [0, 4, 5, 5], [0, 1, 2, 3], [5] * 4]),
}


@pytest.mark.parametrize("dtype", GROUPED)
def test_groups_of_several_columns_by_hand(dtype):
    weights = np.zeros((80, 6), np.float32)
    for strip, columns in enumerate(LEFT_OVER):
        for column in columns:  # whole numbers up to 127, which every type holds exactly
            weights[16 * strip : 16 * strip + 16, column] = 10 * strip + column + np.arange(16)
    scales = np.ones((5, 16), np.float32) if dtype == "I8" else None
    piece = packed(weights, weights != 0, 1, dtype, scales)
    starts, groups = GROUPED[dtype]
    per_group = len(groups[0])
    np.testing.assert_array_equal(piece.starts, [*starts, *[starts[-1]] * 10])
    np.testing.assert_array_equal(piece.columns, np.pad(np.ravel(groups), (0, 32 - per_group * len(groups))))
    assert piece.values.shape == (len(groups), 16, per_group)
    assert piece.groups == len(groups)
    for g, columns in enumerate(groups):
        strip = np.searchsorted(starts, g, side="right") - 1
        for j, column in enumerate(columns):
            repeated = j > 0 and columns[j - 1] == column
            expected = 0 if repeated else weights[16 * strip : 16 * strip + 16, column]
            values = piece.values[g, :, j]
            if dtype == "BF16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            np.testing.assert_array_equal(values, expected)


def laid_out(layout: str, dtype: WeightType, shape=(17, 9)) -> tuple[MatrixLayout, Piece]:
    """A matrix of the rows' and columns' numbers, of which four weights far apart are kept."""
    weights = (6 * np.arange(shape[0])[:, None] + np.arange(shape[1])).astype(np.float32) / 2
    stored = MatrixLayout(Matrix("m", *shape, 1, "fc"), layout, (1, 1), dtype)
    added = np.zeros(shape, np.bool_)
    added[0, 1] = added[6, 0] = added[6, 8] = added[16, 4] = True
    scales = np.full((2, 16), 0.5, np.float32)
    return stored, encode(gather(weights, added, 1, stored.unit), stored, scales)


def test_weights_one_by_one_by_hand():
    stored, piece = laid_out("csr", "F32")
    starts = [0, *[1] * 6, *[3] * 10, *[4] * 31]  # 33 of 48, the others being the end repeated
    np.testing.assert_array_equal(piece.starts, starts)
    np.testing.assert_array_equal(piece.columns, [1, 0, 8, 4, *[0] * 28])
    np.testing.assert_array_equal(piece.values, [0.5, 18, 22, 50, *[0] * 12])
    assert (stored.unit_rows, piece.groups) == (32, 4)


@pytest.mark.parametrize(("dtype", "n_tiles"), [("F32", 4), ("BF16", 4), ("I8", 4)])
def test_tiles_of_four_by_hand(dtype, n_tiles):
    stored, piece = laid_out("tile4", dtype)
    np.testing.assert_array_equal(piece.starts, [0, 1, 3, 3, 3, 4, 4, 4, 4, *[4] * 7])
    np.testing.assert_array_equal(piece.columns, [0, 0, 2, 1, *[0] * 28])
    expected = np.zeros((n_tiles, 4, 4))
    expected[0, 0, 1], expected[1, 2, 0], expected[2, 2, 0], expected[3, 0, 0] = 0.5, 18, 22, 50
    assert (stored.unit_rows, stored.unit_columns, piece.groups) == (8, 3, 4)
    np.testing.assert_array_equal(as_numbers(piece.values, dtype), expected)


def as_numbers(values: np.ndarray, dtype: WeightType) -> np.ndarray:
    """Stored values, the scale being a half."""
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values / 2 if dtype == "I8" else values


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
def test_tiles_of_eight_by_hand(dtype):
    stored, piece = laid_out("tile8", dtype)
    np.testing.assert_array_equal(piece.starts, [0, 2, 2, 3, 3, *[3] * 11])
    np.testing.assert_array_equal(piece.columns, [0, 1, 0, *[0] * 29])
    expected = np.zeros((3, 8, 8))
    expected[0, 0, 1], expected[0, 6, 0], expected[1, 6, 0], expected[2, 0, 4] = 0.5, 18, 22, 50
    assert (stored.unit_rows, stored.unit_columns, piece.groups) == (4, 2, 3)
    np.testing.assert_array_equal(as_numbers(piece.values, dtype), expected)


@pytest.mark.parametrize("layout", ["strip16", "tile4", "tile8", "csr"])
@pytest.mark.parametrize(("dtype", "n_bytes"), [("F32", 4), ("BF16", 2), ("I8", 1)])
def test_every_tensor_takes_64_bytes_or_a_multiple(layout, dtype, n_bytes):
    stored = MatrixLayout(Matrix("m", 34, 9, 2, "fc"), layout, (1, 1), dtype)
    for groups in range(70):
        assert 4 * np.prod(stored.starts_shape) % 64 == 0
        assert 2 * np.prod(stored.columns_shape(groups)) % 64 == 0
        assert n_bytes * np.prod(stored.values_shape(groups)) % 64 == 0


@pytest.mark.parametrize(("dtype", "per_group"), [("BF16", 2), ("I8", 4)])
def test_dense_groups_by_hand(dtype, per_group):
    matrix = np.arange(1.0, 86.0, dtype=np.float32).reshape(17, 5)
    dense = MatrixLayout(Matrix("m", 17, 5, 1, "fc"), "dense16", None, dtype)
    scales = np.ones((2, 16), np.float32) if dtype == "I8" else None
    stored = pack_dense(matrix, dense, scales)
    n = -(-5 // per_group)
    assert stored.shape == dense.dense_shape == (2 * n, 16, per_group)
    values = stored if dtype == "I8" else (stored.astype(np.uint32) << 16).view(np.float32)
    for strip, group, lane, j in np.ndindex(2, n, 16, per_group):
        row, column = 16 * strip + lane, per_group * group + j
        expected = matrix[row, column] if row < 17 and column < 5 else 0
        assert values[strip * n + group, lane, j] == expected


def test_nothing_added_is_no_group():
    piece = packed(np.ones((3, 5), np.float32), np.zeros((3, 5), np.bool_), gates=1)
    assert (piece.starts.shape, piece.columns.shape, piece.values.shape) == ((16,), (0,), (0, 16))
    assert not piece.starts.any()


def test_the_last_column_of_65536_can_be_named():
    added = np.zeros((1, 1 << 16), np.bool_)
    added[0, -1] = True
    piece = packed(added.astype(np.float32), added, gates=1)
    assert (piece.columns[0], piece.values[0, 0]) == (65535, 1)


@settings(deadline=None)
@given(
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.integers(1, 40),
    st.sampled_from(["BF16", "I8"]),
    st.data(),
)
def test_decoding_gives_the_units_that_were_encoded(cells, gates, columns, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = rng.integers(-127, 128, (cells * gates, columns)).astype(np.float32)
    added = rng.random(weights.shape) < data.draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    stored = stored_as(weights.shape, gates, dtype)
    units = gather(weights, added, gates, stored.unit)
    scales = np.ones((stored.strips, 16), np.float32)
    piece = encode(units, stored, scales)
    found = decode((piece.starts, piece.columns, piece.values), piece.groups, stored)
    np.testing.assert_array_equal(found.starts, units.starts)
    np.testing.assert_array_equal(found.columns, units.columns)
    bits = units.values.view(np.uint32) >> 16
    np.testing.assert_array_equal(found.values, units.values if dtype == "I8" else bits)


def test_codes_of_segments_that_overlap_add_up_without_wrapping():
    stored = stored_as((16, 3), 1, "I8")
    units = gather(np.full((16, 3), 127, np.float32), np.ones((16, 3), np.bool_), 1, stored.unit)
    total = Accumulator(stored)
    for _ in range(32):
        total.add(replace(units, values=units.values.astype(np.int8)))
    np.testing.assert_array_equal(total.dense(), np.full((16, 3), 32 * 127))


GATED = st.tuples(st.integers(1, 40), st.sampled_from([1, 3, 4]), st.integers(1, 5), st.integers(0, 99))


@settings(deadline=None)
@given(GATED)
def test_packing_and_unpacking_change_nothing(drawn):
    rows_per_gate, gates, columns, seed = drawn
    rows = rows_per_gate * gates
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    np.testing.assert_array_equal(from_strips(to_strips(matrix, gates), rows, gates), matrix)
    dense = MatrixLayout(Matrix("m", rows, columns, gates, "fc"), "dense16", None)
    np.testing.assert_array_equal(unpack_dense(pack_dense(matrix, dense, None), dense), matrix)
    np.testing.assert_array_equal(unpack_vector(pack_vector(matrix[:, 0], gates), rows, gates), matrix[:, 0])
    assert pack_dense(matrix, dense, None).shape == (n_strips(rows, gates) * columns, 16)


def test_blocks_begin_anew_at_every_gate():
    kept = np.zeros((10, 5), np.bool_)  # two gates of 5 rows, blocks of 3 × 2: 2 · 2 · 3 of them
    kept[3:5, 4:] = kept[5:8, :2] = True
    assert count_blocks(kept, 2, (3, 2)) == 2
    assert count_blocks(np.ones((10, 5), np.bool_), 2, (3, 2)) == 12
    with pytest.raises(ValueError, match="a part of a block of 3×2"):
        count_blocks(kept, 1, (3, 2))


def row_of(strip, lane, rows, gates):
    """The row that a lane of a strip holds, or None for padding."""
    cell_strip, gate = divmod(strip, gates)
    inside = 16 * cell_strip + lane
    return gate * (rows // gates) + inside if inside < rows // gates else None


def lanes(rows, gates):
    """Strip, lane and row of everything that is not padding."""
    strips = gates * -(-(rows // gates) // 16)
    places = ((s, lane, row_of(s, lane, rows, gates)) for s in range(strips) for lane in range(16))
    return [(strip, lane, row) for strip, lane, row in places if row is not None]


def number(stored, dtype):
    """The value of one stored weight: a float32, the upper half of one, or a code."""
    if dtype == "BF16":
        return struct.unpack("<f", b"\0\0" + int(stored).to_bytes(2, "little"))[0]
    return float(stored)


def row_of_piece(layout, starts, columns, values, row, per_group):
    """Columns and weights of one row, counted in strips, as the table of docs/format.md says."""
    if layout == "strip16":
        values = values.reshape(-1, 16, per_group)
        for group in range(starts[row // 16], starts[row // 16 + 1]):
            for j in range(per_group):
                yield columns[group * per_group + j], values[group, row % 16, j]
    elif layout == "csr":
        for i in range(starts[row], starts[row + 1]):
            yield columns[i], values[i]
    else:
        side = {"tile4": 4, "tile8": 8}[layout]
        for i in range(starts[row // side], starts[row // side + 1]):
            for j in range(side):
                yield side * int(columns[i]) + j, values[i, row % side, j]


def read_matrix(matrix, tensors, n_segments):
    """One matrix of the first segments, in float64 where no scale rounds it."""
    dense = np.zeros((matrix["rows"], matrix["columns"]), np.float32)
    name, dtype = matrix["name"], matrix["dtype"]
    per_group = {"F32": 1, "BF16": 2, "I8": 4}[dtype]
    for strip, lane, row in lanes(matrix["rows"], matrix["gates"]):
        if matrix["layout"] == "dense16":
            stored, n = tensors[f"base/{name}"].reshape(-1, 16, per_group), -(-matrix["columns"] // per_group)
            for column in range(matrix["columns"]):
                weight = stored[strip * n + column // per_group, lane, column % per_group]
                dense[row, column] = number(weight, dtype)
        for k in range(n_segments if matrix["layout"] != "dense16" else 0):
            pieces = (tensors[f"{k:02d}/{name}/{part}"] for part in PARTS)
            for column, weight in row_of_piece(matrix["layout"], *pieces, 16 * strip + lane, per_group):
                if column < matrix["columns"]:
                    dense[row, column] += number(weight, dtype)
                else:
                    assert weight == 0
        if dtype == "I8":
            dense[row] *= tensors[f"base/{name}/scales"][strip, lane]
    return dense


PARTS = ("starts", "columns", "values")


def read_as_specified(path, level_name):
    """The parameters of a level, by a reader that knows docs/format.md and nothing of ours."""
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:begin])
    described = json.loads(header.pop("__metadata__")["sparrot"])
    tensors = {
        name: np.frombuffer(
            raw[begin + t["data_offsets"][0] : begin + t["data_offsets"][1]], DTYPES[t["dtype"]]
        ).reshape(t["shape"])
        for name, t in header.items()
    }
    stop = next(level["stop"] for level in described["levels"] if level["name"] == level_name)
    parameters = {m["name"]: read_matrix(m, tensors, stop + 1) for m in described["matrices"]}
    for vector in SMALL.vectors():
        values = parameters[vector.name] = np.zeros(vector.size, np.float32)
        for strip, lane, row in lanes(vector.size, vector.gates):
            values[row] = tensors[f"base/{vector.name}"][strip, lane]
    return parameters


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("block", [(4, 1), (16, 1), (12, 2), (32, 32), (4, 4), (8, 8), (1, 1)])
def test_a_reader_written_from_the_specification_agrees(tmp_path, dtype, block):
    write_small(tmp_path / "m", block, dtype=dtype)
    for level, found in read_all(tmp_path / "m").items():
        assert differing(read_as_specified(tmp_path / "m", level), found) == []
