"""One segment of one matrix: from weights to the arrays of the file, and back with every check."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.model_file.layout import MatrixLayout, Unit
from sparrot.model_file.strips import STRIP_ROWS, Bool, Float32, from_strips, live_lanes, round_up, to_strips
from sparrot.model_file.weight_types import (
    MAX_CODE,
    Stored,
    all_finite,
    columns_per_group,
    from_bfloat16,
    to_bfloat16,
    to_codes,
)

Arrays: TypeAlias = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16], Stored]  # starts, columns, values


@dataclass(frozen=True, eq=False)
class Units:
    """Weights of one matrix unit by unit, before they are put into groups.

    starts:  int64 (unit rows + 1,), the first unit of each row of them.
    columns: int64 (n,), of units; rising inside a row.
    values:  (n, rows, columns of a unit): float32, or as they are stored.
    """

    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: npt.NDArray[Any]

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The row of each unit, int64 (n,)."""
        return _row_of_each(self.starts)


@dataclass(frozen=True, eq=False)
class Piece:
    """The three arrays of docs/format.md."""

    starts: npt.NDArray[np.uint32]
    columns: npt.NDArray[np.uint16]
    values: Stored

    @property
    def groups(self) -> int:
        """Groups (tiles, weights: what the layout counts) that it holds, without padding."""
        return int(self.starts[-1])


def gather(weights: Float32, added: Bool, gates: int, unit: Unit) -> Units:
    """The units of a matrix (rows, columns) with a weight where `added` is True, zeros elsewhere in them."""
    live = _in_units(added, gates, unit).any(axis=(1, 3))
    row, column = np.nonzero(live)
    values = _in_units(np.where(added, weights, np.float32(0)), gates, unit)[row, :, column]
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(live, axis=1))])
    return Units(starts, column, values)


def encode(units: Units, stored: MatrixLayout, scales: Float32 | None) -> Piece:
    """The piece that holds float32 units, which are put into groups and padded.

    scales: of an int8 matrix, float32 (strips, 16).
    Raises ValueError if a weight is too large for the type.
    """
    counts, per_group = np.diff(units.starts), stored.indices_per_group
    groups = -(-counts // per_group)
    starts = np.concatenate([[0], np.cumsum(groups)])
    n_groups, n = int(starts[-1]), len(units.columns)
    slots = np.arange(n) + np.repeat(starts[:-1] * per_group - units.starts[:-1], counts)
    columns = np.zeros(stored.columns_shape(n_groups), np.uint16)
    columns[slots] = units.columns
    is_padding = np.ones(n_groups * per_group, np.bool_)
    is_padding[slots] = False
    n_padding = groups * per_group - counts
    last = units.starts[1:][n_padding > 0] - 1
    columns[: len(is_padding)][is_padding] = np.repeat(units.columns[last], n_padding[n_padding > 0])
    starts_stored = np.full(stored.starts_shape, n_groups, np.uint32)
    starts_stored[: len(starts)] = starts
    typed = to_type(units.values, stored, None if scales is None else _scales_of(units, scales))
    return Piece(starts_stored, columns, _in_groups(typed, slots, n_groups, stored))


def decode(arrays: Arrays, groups: int, stored: MatrixLayout) -> Units:
    """The units, values as they are stored, of the arrays that a file holds for so many groups.

    Raises ValueError, with a sentence that names the array, unless indices and padding are as specified.
    """
    starts, columns, values = arrays
    row_starts = _checked_starts(starts, groups, stored) * stored.indices_per_group
    n_slots = int(row_starts[-1])
    flat, slots = columns.astype(np.int64), _out_of_groups(values, stored)
    for name, padding in (("columns", flat[n_slots:]), ("values", _bits(slots[n_slots:]))):
        if padding.any():
            raise ValueError(f"`{name}` is not zero past its last {stored.unit.noun}")
    is_padding = _checked_columns(flat[:n_slots], row_starts, stored)
    slots = slots[:n_slots]
    if slots[is_padding].any():
        raise ValueError("a column that only fills up a group has a weight")
    n_padding = np.concatenate([[0], np.cumsum(is_padding)])
    units = Units(row_starts - n_padding[row_starts], flat[:n_slots][~is_padding], slots[~is_padding])
    _check_values(units, stored)
    return units


def pack_dense(matrix: Float32, stored: MatrixLayout, scales: Float32 | None) -> Stored:
    """A whole matrix (rows, columns) as dense16 stores it. A weight of −0 becomes 0."""
    lanes = to_strips(matrix, stored.matrix.gates)
    typed = to_type(lanes, stored, None if scales is None else scales[:, :, None])
    per_group = columns_per_group(stored.dtype)
    padded = _with_columns(typed, round_up(lanes.shape[2], per_group))
    groups = padded.reshape(len(lanes), STRIP_ROWS, -1, per_group).swapaxes(1, 2)
    return np.ascontiguousarray(groups).reshape(stored.dense_shape)


def unpack_dense(values: Stored, stored: MatrixLayout) -> Stored:
    """The matrix (rows, columns), values as they are stored, that `pack_dense` made.

    Raises ValueError, with a sentence, unless padding is zero.
    """
    matrix, per_group = stored.matrix, columns_per_group(stored.dtype)
    by_group = values.reshape(stored.strips, -1, STRIP_ROWS, per_group).swapaxes(1, 2)
    lanes = by_group.reshape(stored.strips, STRIP_ROWS, -1)
    bits = _bits(lanes)
    if bits[~live_lanes(matrix.rows, matrix.gates)].any():
        raise ValueError("has a weight in a row of padding")
    if bits[:, :, matrix.columns :].any():
        raise ValueError("has a weight past its last column")
    _check_codes(values)
    return from_strips(lanes[:, :, : matrix.columns], matrix.rows, matrix.gates)


def to_type(weights: Float32, stored: MatrixLayout, scales: Float32 | None) -> Stored:
    """Weights as they are stored; `scales`, of int8, are of a shape that broadcasts to theirs.

    Raises ValueError if a weight is too large for the type.
    """
    if stored.dtype == "F32":
        return weights + np.float32(0)
    if stored.dtype == "BF16":
        bits = to_bfloat16(weights)
        if not all_finite(bits):
            raise ValueError("a weight is too large for bfloat16")
        return bits
    if scales is None:
        raise ValueError(f"`{stored.matrix.name}` is int8 and has no scales")
    return to_codes(weights, scales)


class Accumulator:
    """A matrix at a level, as one segment after another is added: the NumPy truth of docs/format.md."""

    def __init__(self, stored: MatrixLayout) -> None:
        self._stored = stored
        unit = stored.unit
        # Codes of all 32 segments, though no two may share a weight, stay within int16.
        dtype = np.int16 if stored.dtype == "I8" else np.float32
        self._units = np.zeros((stored.unit_rows, stored.unit_columns, unit.rows, unit.columns), dtype)

    def add(self, units: Units) -> None:
        """Nothing; adds the units of a segment, as they are stored."""
        values = from_bfloat16(units.values) if self._stored.dtype == "BF16" else units.values
        self._units[units.rows, units.columns] += values

    def dense(self) -> npt.NDArray[Any]:
        """The matrix (rows, columns): float32, or sums of codes."""
        matrix = self._stored.matrix
        lanes = self._units.swapaxes(1, 2).reshape(self._stored.strips, STRIP_ROWS, -1)
        return from_strips(lanes[:, :, : matrix.columns], matrix.rows, matrix.gates)


def _row_of_each(starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _in_units(matrix: npt.NDArray[Any], gates: int, unit: Unit) -> npt.NDArray[Any]:
    """A matrix (rows, columns) as (unit rows, rows of a unit, unit columns, columns of a unit)."""
    lanes = to_strips(matrix, gates)
    padded = _with_columns(lanes, round_up(matrix.shape[1], unit.columns))
    return padded.reshape(-1, unit.rows, padded.shape[2] // unit.columns, unit.columns)


def _with_columns(lanes: npt.NDArray[Any], n_columns: int) -> npt.NDArray[Any]:
    """Lanes (strips, 16, columns) with columns of zeros up to `n_columns`."""
    more = n_columns - lanes.shape[2]
    return np.pad(lanes, ((0, 0), (0, 0), (0, more))) if more else lanes


def _scales_of(units: Units, scales: Float32) -> Float32:
    """The scales of the rows of each unit, (n, rows of a unit, 1)."""
    by_unit_row: Float32 = scales.reshape(len(units.starts) - 1, -1, 1)
    return by_unit_row[units.rows]


def _in_groups(values: Stored, slots: npt.NDArray[np.int64], n_groups: int, stored: MatrixLayout) -> Stored:
    """Units at their slots as the tensor `values`: in a group of strip16 a lane's columns lie together."""
    shape = stored.values_shape(n_groups)
    n_slots = shape[0] * stored.indices_per_group
    placed = np.zeros((n_slots, *values.shape[1:]), values.dtype)
    placed[slots] = values
    if stored.indices_per_group > 1:
        placed = placed.reshape(n_groups, stored.indices_per_group, STRIP_ROWS).swapaxes(1, 2)
    return np.ascontiguousarray(placed).reshape(shape)


def _out_of_groups(values: Stored, stored: MatrixLayout) -> Stored:
    """The units at all slots, padding included: what `_in_groups` placed."""
    if stored.indices_per_group > 1:
        values = np.ascontiguousarray(values.swapaxes(1, 2))
    return values.reshape(-1, stored.unit.rows, stored.unit.columns)


def _checked_starts(
    starts: npt.NDArray[np.uint32], groups: int, stored: MatrixLayout
) -> npt.NDArray[np.int64]:
    """The first group of each row of units, then the number of groups."""
    found: npt.NDArray[np.int64] = starts.astype(np.int64)
    rises, noun = np.diff(found[: stored.unit_rows + 1]), stored.unit.noun
    if found[0] != 0:
        raise ValueError(f"`starts` begins with {found[0]}, not 0")
    if np.any(rises < 0):
        at = int(np.argmax(rises < 0))
        raise ValueError(f"`starts` falls from {found[at]} to {found[at + 1]} at {stored.unit.row_noun} {at}")
    ends = found[stored.unit_rows :]
    if np.any(ends != groups):
        raise ValueError(f"`starts` ends with {ends[ends != groups][0]} where there are {groups} {noun}s")
    return found[: stored.unit_rows + 1]


def _checked_columns(
    columns: npt.NDArray[np.int64], row_starts: npt.NDArray[np.int64], stored: MatrixLayout
) -> Bool:
    """Which of the columns fill up the last group of a row, by repeating the one before."""
    per_group, unit = stored.indices_per_group, stored.unit
    if np.any(columns >= stored.unit_columns):
        at = int(np.argmax(columns >= stored.unit_columns))
        raise ValueError(
            f"`columns` holds {columns[at]} at {unit.noun} {at // per_group}, out of range for a matrix of "
            f"{stored.unit_columns} columns{'' if unit.columns == 1 else f' of {unit.noun}s'}"
        )
    is_wrong = np.diff(columns, prepend=-1) <= 0
    is_wrong[row_starts[:-1][np.diff(row_starts) > 0]] = False
    fills = _repeats_to_the_end(columns, row_starts, per_group)
    is_wrong &= ~fills
    if np.any(is_wrong):
        at = int(np.argmax(is_wrong))
        row = int(np.searchsorted(row_starts, at, side="right")) - 1
        raise ValueError(
            f"`columns` does not rise at {unit.noun} {at // per_group}, inside {unit.row_noun} {row}"
        )
    return fills


def _repeats_to_the_end(
    columns: npt.NDArray[np.int64], row_starts: npt.NDArray[np.int64], per_group: int
) -> Bool:
    """Which columns of the last group of each row are the one before, as are all after them."""
    repeats = np.zeros(len(columns), np.bool_)
    ends = row_starts[1:][np.diff(row_starts) > 0]
    still = np.ones(len(ends), np.bool_)
    for back in range(1, per_group):
        still &= columns[ends - back] == columns[ends - back - 1]
        repeats[ends - back] = still
    return repeats


def _check_values(units: Units, stored: MatrixLayout) -> None:
    matrix, unit = stored.matrix, stored.unit
    values = _bits(units.values)
    live = live_lanes(matrix.rows, matrix.gates).reshape(-1, unit.rows)
    rows = units.rows
    partial = (np.count_nonzero(live, axis=1) < unit.rows)[rows]
    if (values[partial] * ~live[rows[partial]][:, :, None]).any():
        raise ValueError(f"a {unit.noun} has a weight in a row of padding")
    n_last = matrix.columns - (stored.unit_columns - 1) * unit.columns
    if values[units.columns == stored.unit_columns - 1][:, :, n_last:].any():
        raise ValueError(f"a {unit.noun} has a weight past the last column")
    _check_codes(units.values)


def _bits(values: Stored) -> npt.NDArray[Any]:
    """The values as whole numbers, of which 0 is +0 alone."""
    return values.view(np.uint32) if values.dtype == np.float32 else values


def _check_codes(values: Stored) -> None:
    if values.dtype == np.int8 and np.any(values == -MAX_CODE - 1):
        raise ValueError(f"a code is {-MAX_CODE - 1}, and codes begin at {-MAX_CODE}")
