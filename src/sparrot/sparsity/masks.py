"""Which blocks of a matrix are kept."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sparrot.sparsity.blocks import BlockGrid


@dataclass(frozen=True, eq=False)
class BlockMask:
    """Which blocks of one weight matrix are kept.

    keep: bool (n_block_rows, n_block_columns); True means kept.
    grid: how the matrix is cut.
    """

    keep: Tensor
    grid: BlockGrid

    def __post_init__(self) -> None:
        if self.keep.dtype != torch.bool or tuple(self.keep.shape) != self.grid.shape:
            raise ValueError(
                f"a mask of this grid is bool {self.grid.shape}; got {self.keep.dtype} "
                f"{tuple(self.keep.shape)}"
            )

    @classmethod
    def full(cls, grid: BlockGrid) -> "BlockMask":
        """The mask that keeps every block."""
        return cls(torch.ones(grid.shape, dtype=torch.bool), grid)

    def dropped_weights(self) -> Tensor:
        """Single weights, bool (rows, columns): True where the weight belongs to a dropped block."""
        return self.grid.expand(~self.keep)

    def apply(self, weight: Tensor) -> Tensor:
        """`weight` (rows, columns) with every dropped block set to zero, even where it is NaN."""
        return weight.masked_fill(self.dropped_weights().to(weight.device), 0.0)

    @property
    def n_kept(self) -> int:
        """Kept blocks."""
        return int(self.keep.sum())

    @cached_property
    def n_dropped_weights(self) -> int:
        """Weights in dropped blocks: an edge block counts with the weights it holds."""
        return int(self.grid.sizes()[~self.keep.cpu()].sum())

    @property
    def sparsity(self) -> float:
        """Fraction of the matrix's weights that are dropped."""
        return self.n_dropped_weights / (self.grid.rows * self.grid.columns)

    def is_within(self, denser: "BlockMask") -> bool:
        """Whether `denser` keeps every block that this mask keeps."""
        return bool((denser.keep | ~self.keep).all())
