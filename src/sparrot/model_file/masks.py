"""Masks of the levels: nested, made of whole blocks, and turned into what each segment adds."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.architecture import Matrix
from sparrot.model_file.strips import Bool

Block: TypeAlias = tuple[int, int]  # rows, columns
Masks: TypeAlias = dict[str, list[Bool]]  # of each matrix that some level prunes, sparsest first


def nested_masks(
    matrices: Sequence[Matrix], kept: Sequence[Mapping[str, Bool]], blocks: Mapping[str, Block]
) -> Masks:
    """The masks of every matrix that the sparsest level prunes, sparsest first.

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
    block_rows, block_columns = block
    rows_per_gate, columns = kept.shape[0] // gates, kept.shape[1]
    row_edges, column_edges = np.arange(0, rows_per_gate, block_rows), np.arange(0, columns, block_columns)
    sizes = np.outer(_sizes(row_edges, rows_per_gate), _sizes(column_edges, columns))
    by_gate = kept.reshape(gates, rows_per_gate, columns)
    by_row = np.add.reduceat(by_gate, row_edges, axis=1, dtype=np.int32)
    weights = np.add.reduceat(by_row, column_edges, axis=2)
    if np.any((weights != 0) & (weights != sizes)):
        raise ValueError(f"it keeps a part of a block of {block_rows}×{block_columns}")
    return int(np.count_nonzero(weights))


def added(masks: Sequence[Bool], segment: int) -> Bool:
    """Where a segment adds weights: those kept at its stop and not at the sparser one before."""
    return masks[0] if segment == 0 else masks[segment] & ~masks[segment - 1]


def _checked(matrix: Matrix, kept: Sequence[Bool], block: Block) -> list[Bool]:
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
    return list(reversed(kept))


def _sizes(edges: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    return np.diff(edges, append=size)
