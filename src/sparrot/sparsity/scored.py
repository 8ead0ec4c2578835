"""The blocks of a model with what they are worth, as methods of pruning see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sparrot.sparsity.blocks import BlockGrid
from sparrot.sparsity.targets import Target


@dataclass(frozen=True, eq=False)
class ScoredBlocks:
    """All blocks of the matrices that are pruned.

    targets: the matrices.
    grids:   how each is cut, by its name.
    scores:  float (n_block_rows, n_block_columns) by name; −1 for blocks that were dropped before.
    """

    targets: Sequence[Target]
    grids: Mapping[str, BlockGrid]
    scores: Mapping[str, Tensor]
