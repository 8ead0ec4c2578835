"""The layout of weights, by hand and as docs/format.md says it."""

import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from model_file.written import SMALL, differing, read_all
from sparrot.model_file.masks import count_blocks
from sparrot.model_file.strips import (
    from_strips,
    n_strips,
    pack,
    pack_dense,
    pack_vector,
    to_strips,
    unpack_dense,
    unpack_vector,
)

# Two gates of 17 rows: each is padded to 32, so there are four strips, whose gates take turns.
ROWS_OF_STRIPS = [range(16), range(17, 33), [16], [33]]


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
    piece = pack(weights, added, gates=2)
    np.testing.assert_array_equal(piece.starts, [0, 2, 2, 3, *[4] * 12])
    np.testing.assert_array_equal(piece.columns, [1, 2, 0, 2, *[0] * 28])
    expected = np.zeros((4, 16), np.float32)
    expected[0, 0], expected[0, 2] = weights[0, 1], weights[2, 1]
    expected[1, 5] = weights[5, 2]
    expected[2, 0] = weights[16, 0]
    expected[3, 0] = weights[33, 2]
    np.testing.assert_array_equal(piece.values, expected)
    assert (piece.starts.dtype, piece.columns.dtype, piece.values.dtype) == (np.uint32, np.uint16, np.float32)


def test_nothing_added_is_no_group():
    piece = pack(np.ones((3, 5), np.float32), np.zeros((3, 5), np.bool_), gates=1)
    assert (piece.starts.shape, piece.columns.shape, piece.values.shape) == ((16,), (0,), (0, 16))
    assert not piece.starts.any()


def test_the_last_column_of_65536_can_be_named():
    added = np.zeros((1, 1 << 16), np.bool_)
    added[0, -1] = True
    piece = pack(added.astype(np.float32), added, gates=1)
    assert (piece.columns[0], piece.values[0, 0]) == (65535, 1)


GATED = st.tuples(st.integers(1, 40), st.sampled_from([1, 3, 4]), st.integers(1, 5), st.integers(0, 99))


@settings(deadline=None)
@given(GATED)
def test_packing_and_unpacking_change_nothing(drawn):
    rows_per_gate, gates, columns, seed = drawn
    rows = rows_per_gate * gates
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    np.testing.assert_array_equal(from_strips(to_strips(matrix, gates), rows, gates), matrix)
    np.testing.assert_array_equal(unpack_dense(pack_dense(matrix, gates), rows, gates), matrix)
    np.testing.assert_array_equal(unpack_vector(pack_vector(matrix[:, 0], gates), rows, gates), matrix[:, 0])
    assert pack_dense(matrix, gates).shape == (n_strips(rows, gates) * columns, 16)


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


def read_matrix(matrix, tensors, n_segments):
    """One matrix of the first segments."""
    dense = np.zeros((matrix["rows"], matrix["columns"]), np.float32)
    for strip, lane, row in lanes(matrix["rows"], matrix["gates"]):
        if matrix["layout"] == "dense16":
            stored = tensors[f"base/{matrix['name']}"]
            for column in range(matrix["columns"]):
                dense[row, column] = stored[strip * matrix["columns"] + column, lane]
            continue
        for k in range(n_segments):
            starts, columns, values = (
                tensors[f"{k:02d}/{matrix['name']}/{part}"] for part in ("starts", "columns", "values")
            )
            for group in range(starts[strip], starts[strip + 1]):
                dense[row, columns[group]] += values[group, lane]
    return dense


def read_as_specified(path, level_name):
    """The parameters of a level, by a reader that knows docs/format.md and the stock library only."""
    with safetensors.safe_open(path, "numpy") as file:
        described = json.loads(file.metadata()["sparrot"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    stop = next(level["stop"] for level in described["levels"] if level["name"] == level_name)
    parameters = {m["name"]: read_matrix(m, tensors, stop + 1) for m in described["matrices"]}
    for vector in SMALL.vectors():
        values = parameters[vector.name] = np.zeros(vector.size, np.float32)
        for strip, lane, row in lanes(vector.size, vector.gates):
            values[row] = tensors[f"base/{vector.name}"][strip, lane]
    return parameters


@pytest.mark.parametrize("level", ["large", "medium", "small"])
def test_a_reader_written_from_the_specification_agrees(small_path, level):
    assert differing(read_as_specified(small_path, level), read_all(small_path)[level]) == []
