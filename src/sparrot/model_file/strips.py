"""The order of rows in a model file: strips of 16 output rows.

Each gate is padded with rows of zeros to a multiple of 16, and the gates take turns: strip
cell_strip · gates + gate holds the rows 16 · cell_strip … of that gate.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

STRIP_ROWS = 16  # one 64-byte line of float32

Float32: TypeAlias = npt.NDArray[np.float32]
Bool: TypeAlias = npt.NDArray[np.bool_]


def n_strips(rows: int, gates: int) -> int:
    """Strips of a matrix or vector of `rows` rows in `gates` equal groups."""
    return gates * -(-rows // gates // STRIP_ROWS)


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple that is not below n."""
    return -(-n // multiple) * multiple


def to_strips(matrix: npt.NDArray[Any], gates: int) -> npt.NDArray[Any]:
    """The rows of a matrix (rows, columns) as (strips, 16, columns), zeros in the padding."""
    rows, columns = matrix.shape
    cells, padded_cells = rows // gates, n_strips(rows, gates) * STRIP_ROWS // gates
    padded = np.zeros((gates, padded_cells, columns), matrix.dtype)
    padded[:, :cells] = matrix.reshape(gates, cells, columns)
    by_gate = padded.reshape(gates, -1, STRIP_ROWS, columns)
    return by_gate.swapaxes(0, 1).reshape(-1, STRIP_ROWS, columns)


def from_strips(strips: npt.NDArray[Any], rows: int, gates: int) -> npt.NDArray[Any]:
    """The matrix (rows, columns) of which `to_strips` made these strips; the padding is not looked at."""
    columns = strips.shape[2]
    by_gate = strips.reshape(-1, gates, STRIP_ROWS, columns).swapaxes(0, 1).reshape(gates, -1, columns)
    return np.ascontiguousarray(by_gate[:, : rows // gates]).reshape(rows, columns)


def live_lanes(rows: int, gates: int) -> Bool:
    """Which lanes of the strips hold a row, bool (strips, 16); the others are padding."""
    return to_strips(np.ones((rows, 1), np.bool_), gates)[:, :, 0]


def pack_vector(vector: Float32, gates: int) -> Float32:
    """A vector (size,) as (strips, 16), bit for bit."""
    return to_strips(vector[:, None], gates)[:, :, 0]


def unpack_vector(stored: Float32, size: int, gates: int) -> Float32:
    """The vector (size,) that `pack_vector` stored."""
    return from_strips(stored[:, :, None], size, gates)[:, 0]
