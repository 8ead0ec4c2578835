"""Any sparsity: the way through the levels, along which every matrix loses its blocks one by one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sparrot.sparsity.masks import BlockMask
from sparrot.sparsity.ranking import ranks


@dataclass(frozen=True, eq=False)
class Path:
    """Nested levels, and all the points between them (our choice).

    A point t goes from 0, the full model, to C, the sparsest of C + 1 levels; c = 0, 1, …, C are the levels
    themselves. A matrix keeps its first n(t) blocks, and n is linear between the n_c that the levels keep:

        n(t) = ⌊n_c + (n_{c + 1} − n_c) · (t − c) + ½⌋,   c = ⌊t⌋

    masks: of every level, densest first, by the name of the matrix.
    order: int64 (n_block_rows, n_block_columns) by name: the place of every block, 0 for the one that is
           kept the longest.
    """

    masks: Sequence[Mapping[str, BlockMask]]
    order: Mapping[str, Tensor]

    @classmethod
    def through(cls, masks: Sequence[Mapping[str, BlockMask]], scored: Mapping[str, Tensor]) -> "Path":
        """The path on which blocks are ordered by the sparsest level that keeps them, then by their rank.

        masks:  of nested levels, densest first.
        scored: int64 ranks within each matrix, lower for the higher score; ties go to the lower index.
        """
        order = {}
        for name, rank in scored.items():
            n_levels = sum(level[name].keep.long() for level in masks)
            assert isinstance(n_levels, Tensor)
            order[name] = ranks(-rank.cpu(), tiers=n_levels.cpu())
        return cls(masks, order)

    def at(self, point: float) -> dict[str, BlockMask]:
        """The mask of every matrix at a point."""
        return {
            name: BlockMask(order < self._n_kept(name, point), self.masks[0][name].grid)
            for name, order in self.order.items()
        }

    def _n_kept(self, name: str, point: float) -> int:
        before = min(int(point), len(self.masks) - 2)
        denser, sparser = (self.masks[level][name].n_kept for level in (before, before + 1))
        return math.floor(denser + (sparser - denser) * (point - before) + 0.5)
