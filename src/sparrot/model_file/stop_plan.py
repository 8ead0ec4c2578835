"""More stops than levels: what the unnamed ones keep."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import gcd
from typing import Final

import numpy as np
import numpy.typing as npt

from sparrot.model_file.layout import MatrixLayout
from sparrot.model_file.masks import Masks, Segments, block_sums
from sparrot.model_file.strips import STRIP_ROWS, Float32
from sparrot.model_file.weight_types import WEIGHT_BYTES, columns_per_group

LEAST_COLUMNS: Final = 32  # new ones a strip of a large matrix, on average, in a segment
LARGE_SHARE: Final = 4  # a matrix is large if it has a quarter of the weights of the largest
WHOLE_COLUMNS: Final = max(columns_per_group(dtype) for dtype in WEIGHT_BYTES)


@dataclass(frozen=True, eq=False)
class StopPlan:
    """The segments of a file that may have more stops than levels.

    masks:     of every matrix that a level prunes.
    of_levels: the stop of each level, sparsest first.
    """

    masks: Masks
    of_levels: tuple[int, ...]

    @property
    def n_stops(self) -> int:
        """Stops, named or not."""
        return self.of_levels[-1] + 1


@dataclass(frozen=True, eq=False)
class Prunable:
    """A matrix that a level prunes: how it is stored, its weights and the segment of each, one a level.

    order: (n_block_rows, n_block_columns), the place of each block, 0 for the one that is kept the longest;
           None is by Σ|w|, the largest first.
    """

    stored: MatrixLayout
    weights: Float32
    segments: Segments
    order: npt.NDArray[np.int64] | None = None


def one_stop_a_level(masks: Masks, n_levels: int) -> StopPlan:
    """The plan without unnamed stops."""
    return StopPlan(masks, tuple(range(n_levels)))


def more_stops(matrices: Sequence[Prunable], n_levels: int, n_stops: int) -> StopPlan:
    """Up to `n_stops` stops that divide the space between the levels evenly in overall sparsity.

    The widest gap between two stops is cut first, and all parts of the space between two levels are equal.
    No part has fewer than 32 new columns in a strip, on average over the large matrices; there are fewer
    stops if it would. Of the blocks that the next denser level adds to a matrix an unnamed stop has the
    share that it has of that space, in the matrix's order. If blocks are as tall as strips, a strip gets
    some more, up to four whole columns, so that the groups of every type are full.
    """
    places = [_places(matrix) for matrix in matrices]
    widths = [_added(matrices, level) for level in range(1, n_levels)]
    large, least = _large(matrices)
    limits = [max(1, _added(large, level) // least) for level in range(1, n_levels)]
    while True:
        parts = _divide(widths, limits, n_stops)
        starts = [int(start) for start in np.cumsum([1, *parts])]
        divided = [_divided(matrix, place, parts) for matrix, place in zip(matrices, places, strict=True)]
        large, least = _large(divided)
        thinnest = [min(_added(large, k) for k in range(*ends)) for ends in pairwise(starts)]
        too_thin = [gap for gap, n in enumerate(parts) if n > 1 and thinnest[gap] < least]
        if not too_thin:
            masks = {matrix.stored.matrix.name: matrix.segments for matrix in divided}
            return StopPlan(masks, tuple(start - 1 for start in starts))
        for gap in too_thin:
            limits[gap] = parts[gap] - 1


def _large(matrices: Sequence[Prunable]) -> tuple[list[Prunable], int]:
    """The large matrices, and the weights that a segment must add to them."""
    largest = max((matrix.weights.size for matrix in matrices), default=0)
    large = [matrix for matrix in matrices if LARGE_SHARE * matrix.weights.size >= largest]
    return large, LEAST_COLUMNS * STRIP_ROWS * max(1, sum(matrix.stored.strips for matrix in large))


def _divide(widths: Sequence[int], limits: Sequence[int], n_stops: int) -> list[int]:
    """The parts of the space between levels that make `n_stops` stops, or as many as the limits allow."""
    parts = [1] * len(widths)
    while 1 + sum(parts) < n_stops:
        sizes = [
            width / n if n < limit else 0.0 for width, n, limit in zip(widths, parts, limits, strict=True)
        ]
        if not any(sizes):
            break
        parts[sizes.index(max(sizes))] += 1
    return parts


def _added(matrices: Sequence[Prunable], segment: int) -> int:
    """Weights that a segment adds."""
    return sum(m.segments.n_kept(segment) - m.segments.n_kept(segment - 1) for m in matrices)


def _places(matrix: Prunable) -> npt.NDArray[np.int64]:
    """The place of each block in the matrix's order, a row of blocks after another."""
    if matrix.order is not None:
        return matrix.order.ravel()
    segments = matrix.segments
    kept = np.where(segments.kept_at_all(), np.abs(matrix.weights), np.float32(0))
    sums = block_sums(kept, segments.gates, segments.block, np.float64).ravel()
    places = np.empty(len(sums), np.int64)
    places[np.argsort(-sums, kind="stable")] = np.arange(len(sums))
    return places


def _divided(matrix: Prunable, places: npt.NDArray[np.int64], parts: Sequence[int]) -> Prunable:
    """The matrix, its segments but that of the sparsest level divided into so many parts each."""
    of_block = matrix.segments.of_block
    before = of_block.ravel()
    after = before.copy()
    first = 1
    for level, n_parts in enumerate(parts, start=1):
        own = np.flatnonzero(before == level)
        row = own // of_block.shape[2]
        after[own] = first + _parts(row, places[own], n_parts, _blocks_of_whole_columns(matrix.stored))
        first += n_parts
    block = matrix.segments.block
    segments = Segments.of_blocks(after.reshape(of_block.shape), matrix.stored.matrix, block)
    return replace(matrix, segments=segments)


def _blocks_of_whole_columns(stored: MatrixLayout) -> int:
    """Blocks side by side that fill four columns of each of their strips; 1 if they are no whole strips."""
    if stored.layout != "strip16" or stored.block is None or stored.block[0] % STRIP_ROWS != 0:
        return 1
    return WHOLE_COLUMNS // gcd(WHOLE_COLUMNS, stored.block[1])


def _parts(
    row: npt.NDArray[np.intp], places: npt.NDArray[np.int64], n_parts: int, whole: int
) -> npt.NDArray[np.uint8]:
    """The part of each block of a gap, lowest places first.

    row:   of blocks, of each.
    whole: blocks of a row are taken in multiples of it, save in the last part and if the row has no more.
    """
    rank = np.empty(len(row), np.intp)
    rank[np.argsort(places)] = np.arange(len(row))
    by_row = np.lexsort((rank, row))
    in_row = np.bincount(row, minlength=1)
    position = np.empty(len(row), np.intp)
    position[by_row] = np.arange(len(row)) - (np.cumsum(in_row) - in_row)[row[by_row]]
    part = np.full(len(row), n_parts - 1, np.uint8)
    taken = np.zeros_like(in_row)
    for k in range(n_parts - 1):
        share = np.bincount(row[rank < len(row) * (k + 1) // n_parts], minlength=len(in_row))
        more = -(-np.maximum(share - taken, 0) // whole) * whole
        until = taken + more
        part[(taken[row] <= position) & (position < until[row])] = k
        taken = until
    return part
