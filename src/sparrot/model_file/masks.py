"""Masks of the levels: nested, made of whole blocks, and turned into the segment of each weight."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.architecture import Matrix
from sparrot.model_file.strips import Bool

Block: TypeAlias = tuple[int, int]  # rows, columns
Indices: TypeAlias = npt.NDArray[np.uint8]

DROPPED: Final = 255  # the segment of a weight that no level keeps


@dataclass(frozen=True, eq=False)
class Segments:
    """Which segment holds each weight of a matrix that some level prunes.

    of_weight: uint8 (rows, columns), sparsest first, or DROPPED; the same throughout a block.
    """

    of_weight: Indices
    gates: int
    block: Block

    @classmethod
    def of_blocks(cls, of_block: Indices, matrix: Matrix, block: Block) -> "Segments":
        """The segments of a matrix from those of its blocks, (gates, rows of blocks, columns of blocks)."""
        by_row = of_block.repeat(block[0], axis=1)[:, : matrix.rows // matrix.gates]
        of_weight = by_row.repeat(block[1], axis=2)[:, :, : matrix.columns]
        return cls(of_weight.reshape(matrix.rows, matrix.columns), matrix.gates, block)

    @property
    def of_block(self) -> Indices:
        """Those of the blocks, uint8 (gates, rows of blocks, columns of blocks)."""
        by_gate = self.of_weight.reshape(self.gates, -1, self.of_weight.shape[1])
        return by_gate[:, :: self.block[0], :: self.block[1]]

    def added(self, segment: int) -> Bool:
        """Where a segment adds weights."""
        return np.equal(self.of_weight, segment)

    def kept(self, stop: int) -> Bool:
        """Where a stop keeps weights."""
        return np.less_equal(self.of_weight, stop)

    def kept_at_all(self) -> Bool:
        """Where some level keeps weights."""
        return np.not_equal(self.of_weight, DROPPED)

    def n_kept(self, stop: int) -> int:
        """Weights that a stop keeps."""
        return int(self._weights[: stop + 1].sum())

    def n_blocks(self, stop: int) -> int:
        """Blocks that a stop keeps."""
        return int(self._blocks[: stop + 1].sum())

    @cached_property
    def _weights(self) -> npt.NDArray[np.intp]:
        return _counts(self.of_weight)

    @cached_property
    def _blocks(self) -> npt.NDArray[np.intp]:
        return _counts(self.of_block)


Masks: TypeAlias = dict[str, Segments]  # of each matrix that some level prunes


def nested_masks(
    matrices: Sequence[Matrix], kept: Sequence[Mapping[str, Bool]], blocks: Mapping[str, Block]
) -> Masks:
    """The segments of every matrix that the sparsest level prunes, one segment a level.

    kept:   of each level, densest first: bool (rows, columns) by matrix, True where a weight is kept; a
            matrix that is not there is kept whole.
    Raises: ValueError if a mask has another shape or type, cuts a block, or is not nested in the denser one.
    """
    masks = {}
    for matrix in matrices:
        given = [level.get(matrix.name) for level in kept]
        if any(mask is not None and not np.all(mask) for mask in given):
            whole = np.ones((matrix.rows, matrix.columns), np.bool_)
            if matrix.name not in blocks:
                raise ValueError(f"a level prunes `{matrix.name}`, and its block shape is not given")
            levels = [whole if mask is None else mask for mask in given]
            masks[matrix.name] = _checked(matrix, levels, blocks[matrix.name])
    return masks


def count_blocks(kept: Bool, gates: int, block: Block) -> int:
    """Blocks that a mask (rows, columns) keeps. Raises ValueError if it keeps a part of a block.

    Blocks begin anew at every gate and are smaller at the edges.
    """
    weights, sizes = block_sums(kept, gates, block, np.int32), block_sizes(kept.shape, gates, block)
    if np.any((weights != 0) & (weights != sizes)):
        raise ValueError(f"it keeps a part of a block of {block[0]}×{block[1]}")
    return int(np.count_nonzero(weights))


def block_sums(
    matrix: npt.NDArray[Any], gates: int, block: Block, dtype: type[np.generic]
) -> npt.NDArray[Any]:
    """The sum of each block of a matrix (rows, columns): (gates, rows of blocks, columns of blocks)."""
    by_gate = matrix.reshape(gates, -1, matrix.shape[1])
    edges = [np.arange(0, by_gate.shape[axis], block[axis - 1]) for axis in (1, 2)]
    by_row = np.add.reduceat(by_gate, edges[0], axis=1, dtype=dtype)
    sums: npt.NDArray[Any] = np.add.reduceat(by_row, edges[1], axis=2)
    return sums


def block_sizes(shape: tuple[int, ...], gates: int, block: Block) -> npt.NDArray[np.intp]:
    """Weights of each block of one gate, (rows of blocks, columns of blocks)."""
    sides = (shape[0] // gates, shape[1])
    heights, widths = (
        np.diff(np.arange(0, side, step), append=side) for side, step in zip(sides, block, strict=True)
    )
    return np.outer(heights, widths)


def _checked(matrix: Matrix, kept: Sequence[Bool], block: Block) -> Segments:
    for level, mask in enumerate(kept):
        if mask.dtype != np.bool_ or mask.shape != (matrix.rows, matrix.columns):
            raise ValueError(
                f"the mask of `{matrix.name}` is {mask.dtype} {mask.shape}, and must be bool "
                f"{(matrix.rows, matrix.columns)}"
            )
        try:
            count_blocks(mask, matrix.gates, block)
        except ValueError as error:
            raise ValueError(f"the mask of `{matrix.name}` in level {level} is refused: {error}") from error
    for level, (denser, sparser) in enumerate(pairwise(kept), start=1):
        if np.any(sparser & ~denser):
            raise ValueError(
                f"the masks of `{matrix.name}` are not nested: level {level} keeps weights that the denser "
                f"one before it drops. Write levels that were not trained nested to one file each"
            )
    of_weight = np.full((matrix.rows, matrix.columns), DROPPED, np.uint8)
    for segment, mask in reversed(list(enumerate(reversed(kept)))):
        of_weight[mask] = segment
    return Segments(of_weight, matrix.gates, block)


def _counts(indices: Indices) -> npt.NDArray[np.intp]:
    """How many there are of each index."""
    return np.bincount(np.ascontiguousarray(indices).ravel(), minlength=DROPPED + 1)[:DROPPED]
