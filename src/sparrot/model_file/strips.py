"""Weights in strips of 16 output rows, the order in which they lie in a model file.

Each gate is padded with rows of zeros to a multiple of 16, and the gates take turns: strip
cell_strip · gates + gate holds the rows 16 · cell_strip … of that gate.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

STRIP_ROWS = 16  # one 64-byte line of float32
STARTS_MULTIPLE = 16  # entries of `starts` (u32) in 64 bytes
COLUMNS_MULTIPLE = 32  # entries of `columns` (u16) in 64 bytes
MAX_COLUMNS = 1 << 16  # what a u16 can name

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


@dataclass(frozen=True, eq=False)
class Piece:
    """What one segment adds to one matrix.

    starts:  uint32 (round_up(strips + 1, 16),), first group of each strip, then the number of groups.
    columns: uint16 (round_up(groups, 32),), rising inside a strip; zeros past the last group.
    values:  float32 (groups, 16), the weights of that column in the rows of the strip.
    """

    starts: npt.NDArray[np.uint32]
    columns: npt.NDArray[np.uint16]
    values: Float32

    @property
    def groups(self) -> int:
        """Groups of 16 weights."""
        return len(self.values)


def pack(weights: Float32, added: Bool, gates: int) -> Piece:
    """The piece that holds the weights (rows, columns) where `added` is True, and zeros elsewhere.

    A strip has a group for every column in which it has an added weight. A weight of −0 becomes 0.
    """
    live = to_strips(added, gates).any(axis=1)
    strip, column = np.nonzero(live)
    weights_in_strips = to_strips(np.where(added, weights, np.float32(0)), gates)
    ends = np.cumsum(live.sum(axis=1))
    starts = np.full(round_up(len(ends) + 1, STARTS_MULTIPLE), len(column), np.uint32)
    starts[: len(ends) + 1] = [0, *ends]
    columns = np.zeros(round_up(len(column), COLUMNS_MULTIPLE), np.uint16)
    columns[: len(column)] = column
    return Piece(starts, columns, _without_negative_zero(weights_in_strips[strip, :, column]))


def pack_dense(matrix: Float32, gates: int) -> Float32:
    """A whole matrix as (strips · columns, 16), column after column of a strip. A weight of −0 becomes 0."""
    by_column = to_strips(matrix, gates).swapaxes(1, 2).reshape(-1, STRIP_ROWS)
    return _without_negative_zero(by_column)


def unpack_dense(stored: Float32, rows: int, gates: int) -> Float32:
    """The matrix (rows, columns) that `pack_dense` stored."""
    strips = stored.reshape(n_strips(rows, gates), -1, STRIP_ROWS).swapaxes(1, 2)
    return from_strips(strips, rows, gates)


def pack_vector(vector: Float32, gates: int) -> Float32:
    """A vector (size,) as (strips, 16), bit for bit."""
    return to_strips(vector[:, None], gates)[:, :, 0]


def unpack_vector(stored: Float32, size: int, gates: int) -> Float32:
    """The vector (size,) that `pack_vector` stored."""
    return from_strips(stored[:, :, None], size, gates)[:, 0]


def _without_negative_zero(values: Float32) -> Float32:
    return np.ascontiguousarray(values + np.float32(0))
