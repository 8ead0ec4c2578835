"""The compiled part: strips into a dense matrix, with every index checked first."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot._core import unpack_strips
from sparrot.architecture import Matrix
from sparrot.model_file import MatrixLayout
from sparrot.model_file.pieces import Piece, encode, gather

ROWS, COLUMNS, GATES = 34, 3, 2  # two gates of 17 rows: strips of rows 0–15, 17–32, 16, 33


def example() -> Piece:
    """Groups (strip, column): (0, 1), (0, 2), (2, 0), (3, 2)."""
    starts = np.array([0, 2, 2, 3, *[4] * 12], np.uint32)
    columns = np.zeros(32, np.uint16)
    columns[:4] = [1, 2, 0, 2]
    values = np.zeros((4, 16), np.float32)
    values[0] = np.arange(1, 17)
    values[1, 5], values[2, 0], values[3, 0] = 20, 30, 40
    return Piece(starts, columns, values)


def pack(weights: np.ndarray, added: np.ndarray, gates: int) -> Piece:
    stored = MatrixLayout(Matrix("m", *weights.shape, gates, "fc"), "strip16", (16, 1))
    return encode(gather(weights, added, gates, stored.unit), stored, None)


def unpack(piece: Piece, matrix: np.ndarray, gates: int = GATES, check_finite: bool = True) -> np.ndarray:
    unpack_strips(piece.starts, piece.columns, piece.values, matrix, gates, check_finite=check_finite)
    return matrix


def test_strips_are_added_where_they_belong():
    matrix = np.full((ROWS, COLUMNS), 0.5, np.float32)
    expected = matrix.copy()
    expected[:16, 1] += np.arange(1, 17)
    expected[5, 2] += 20
    expected[16, 0] += 30
    expected[33, 2] += 40
    np.testing.assert_array_equal(unpack(example(), matrix), expected)


@settings(deadline=None)
@given(
    st.integers(1, 40), st.sampled_from([1, 3, 4]), st.integers(1, 70), st.floats(0, 1), st.integers(0, 99)
)
def test_unpacking_is_the_inverse_of_packing(rows_per_gate, gates, columns, density, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((rows_per_gate * gates, columns)).astype(np.float32)
    added = rng.random(weights.shape) < density
    unpacked = unpack(pack(weights, added, gates), np.zeros_like(weights), gates)
    np.testing.assert_array_equal(unpacked, np.where(added, weights, 0))


def changed(field: str, index: object, value: float) -> Piece:
    piece = example()
    getattr(piece, field)[index] = value
    return piece


REFUSED = {  # name: (piece, gates, words of the message)
    "starts too short": (replace(example(), starts=example().starts[:5]), 2, "`starts` has 5 .* need 16"),
    "starts too long": (
        replace(example(), starts=np.full(32, 4, np.uint32)),
        2,
        "`starts` has 32 .* need 16",
    ),
    "starts empty": (replace(example(), starts=np.zeros(0, np.uint32)), 2, "`starts` has 0"),
    "starts at 1": (changed("starts", 0, 1), 2, "begins with 1"),
    "starts fall": (changed("starts", 2, 1), 2, "falls from 2 to 1 at strip 1"),
    "starts jump": (changed("starts", 2, 2**32 - 1), 2, "falls from 4294967295 to 3 at strip 2"),
    "starts end early": (changed("starts", slice(4, None), 3), 2, "ends with 3 where `values` has 4"),
    "starts end late": (changed("starts", slice(4, None), 5), 2, "ends with 5 where `values` has 4"),
    "starts padding": (changed("starts", -1, 0), 2, "ends with 0"),
    "columns too short": (replace(example(), columns=example().columns[:4]), 2, "`columns` has 4 .* need 32"),
    "columns too long": (
        replace(example(), columns=np.zeros(64, np.uint16)),
        2,
        "`columns` has 64 .* need 32",
    ),
    "column out of range": (changed("columns", 3, 3), 2, "`columns` holds 3 at group 3"),
    "column far out of range": (changed("columns", 0, 65535), 2, "holds 65535 at group 0"),
    "columns twice": (changed("columns", 1, 1), 2, "does not rise at group 1, inside strip 0"),
    "columns fall": (changed("columns", 1, 0), 2, "does not rise at group 1"),
    "columns padding": (changed("columns", 4, 1), 2, "not zero past"),
    "NaN": (changed("values", (1, 5), np.nan), 2, "of group 1 is not finite"),
    "infinity": (changed("values", (3, 0), -np.inf), 2, "of group 3 is not finite"),
    "padding": (changed("values", (2, 1), 1e-45), 2, "group 2 has a weight in a row of padding"),
    "-0 in padding": (changed("values", (2, 1), -0.0), 2, "group 2 has a weight in a row of padding"),
    "NaN in padding": (changed("values", (2, 15), np.nan), 2, "group 2 is not finite"),
    "no gates": (example(), 0, "0 gates"),
    "gates of unequal size": (example(), 3, "34 rows and 3 columns cannot be split into 3 gates"),
    "one gate": (example(), 1, "`starts`|padding|column"),
    "more gates than rows": (example(), 68, "68 gates"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_the_matrix_alone(case):
    piece, gates, words = REFUSED[case]
    matrix = np.ones((ROWS, COLUMNS), np.float32)
    with pytest.raises(ValueError, match=words):
        unpack(piece, matrix, gates)
    np.testing.assert_array_equal(matrix, 1)


@pytest.mark.parametrize("shape", [(0, 3), (34, 0), (0, 0)])
def test_an_empty_matrix_is_refused(shape):
    with pytest.raises(ValueError, match="cannot be split"):
        unpack(example(), np.zeros(shape, np.float32))


def test_trusted_weights_may_be_nan_but_not_in_padding():
    unpacked = unpack(
        changed("values", (1, 5), np.nan), np.zeros((ROWS, COLUMNS), np.float32), check_finite=False
    )
    assert np.isnan(unpacked[5, 2])
    with pytest.raises(ValueError, match="padding"):
        unpack(changed("values", (2, 15), np.nan), np.zeros((ROWS, COLUMNS), np.float32), check_finite=False)


def test_other_types_and_orders_are_no_arguments():
    piece, matrix = example(), np.zeros((ROWS, COLUMNS), np.float32)
    readonly = matrix.copy()
    readonly.flags.writeable = False
    for wrong in (
        (piece.starts.astype(np.int32), piece.columns, piece.values, matrix),
        (piece.starts, piece.columns.astype(np.uint32), piece.values, matrix),
        (piece.starts, piece.columns, piece.values.astype(np.float64), matrix),
        (piece.starts, piece.columns, piece.values.reshape(8, 8), matrix),
        (piece.starts, piece.columns, np.asfortranarray(piece.values), matrix),
        (piece.starts, piece.columns, piece.values, matrix.T),
        (piece.starts, piece.columns, piece.values, matrix.astype(np.float64)),
        (piece.starts, piece.columns, piece.values, readonly),
    ):
        with pytest.raises(TypeError):
            unpack_strips(*wrong, GATES, check_finite=True)
    with pytest.raises(TypeError):
        unpack(piece, matrix, gates=-1)
    assert not matrix.any()


def test_other_threads_run_while_it_unpacks():
    matrix = np.zeros((512, 2048), np.float32)
    piece = pack(np.ones_like(matrix), np.ones(matrix.shape, np.bool_), 1)
    began, done = threading.Event(), []

    def work():
        began.set()
        for _ in range(100):
            unpack(piece, matrix, gates=1)
            done.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nothing but a released lock lets this thread go on
    try:
        thread = threading.Thread(target=work)
        thread.start()
        began.wait()
        n_done = len(done)
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert n_done < 100
