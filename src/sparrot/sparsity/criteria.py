"""What a block is worth: the lowest scores are dropped first.

A criterion is a frozen dataclass that says what it `needs` and turns `Evidence` into one score a
block. To add one, write such a class; nothing else has to know.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from sparrot.sparsity.blocks import BlockGrid

Need = Literal["weight", "gradient", "change"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of one matrix; every tensor is (rows, columns).

    gradient: of the full model's loss, or None where the criterion does not need it.
    change:   moving average of |w(t) − w(t − 1)|, or None likewise.
    """

    weight: Tensor
    gradient: Tensor | None = None
    change: Tensor | None = None


class Criterion(Protocol):
    """Scores blocks."""

    needs: ClassVar[Need]

    def score(self, evidence: Evidence, grid: BlockGrid) -> Tensor:
        """Scores, float (n_block_rows, n_block_columns), finite and not negative; higher is worth more."""
        ...


@dataclass(frozen=True)
class Magnitude:
    """The size of the weights alone: max |w| (Narang et al. 2017), Σ |w| or √Σ w² of a block."""

    needs: ClassVar[Need] = "weight"
    norm: Literal["max", "l1", "l2"] = "max"

    def __post_init__(self) -> None:
        if self.norm not in ("max", "l1", "l2"):
            raise ValueError(f"the norm of a block is max, l1 or l2; got `{self.norm}`")

    def score(self, evidence: Evidence, grid: BlockGrid) -> Tensor:
        """The chosen norm of each block."""
        tiles = grid.tiles(evidence.weight)
        if self.norm == "max":
            return tiles.abs().amax(1).amax(-1)  # long rows first, as they lie in memory
        return tiles.abs().sum(dim=(1, 3)) if self.norm == "l1" else tiles.square().sum(dim=(1, 3)).sqrt()


@dataclass(frozen=True)
class WeightGradient:
    """‖W · G‖₁ of a block: what the loss would change by, to first order, if weights were dropped one by one.

        score = Σ |w · g|        (DSNN; the sum of absolutes, not the absolute of the sum)

    w is the weight without its mask, so that a dropped block has a score and may return.
    """

    needs: ClassVar[Need] = "gradient"

    def score(self, evidence: Evidence, grid: BlockGrid) -> Tensor:
        """Σ |w · g| of each block; needs `evidence.gradient`."""
        if evidence.gradient is None:
            raise ValueError("WeightGradient scores a block by its gradient, and none was given")
        return grid.tiles((evidence.weight * evidence.gradient).abs()).sum(dim=(1, 3))


@dataclass(frozen=True)
class WeightGradientSum:
    """|Σ w · g| of a block: the other reading of the loss's change, in which weights may cancel (our option).

    w is the weight without its mask, as in `WeightGradient`.
    """

    needs: ClassVar[Need] = "gradient"

    def score(self, evidence: Evidence, grid: BlockGrid) -> Tensor:
        """|Σ w · g| of each block; needs `evidence.gradient`."""
        if evidence.gradient is None:
            raise ValueError("WeightGradientSum scores a block by its gradient, and none was given")
        return grid.tiles(evidence.weight * evidence.gradient).sum(dim=(1, 3)).abs()


@dataclass(frozen=True)
class WeightChange:
    """Σ |w| · EMA(|Δw|) of a block: weights that are large and still move are worth more."""

    needs: ClassVar[Need] = "change"

    def score(self, evidence: Evidence, grid: BlockGrid) -> Tensor:
        """Σ |w| · change of each block; needs `evidence.change`."""
        if evidence.change is None:
            raise ValueError("WeightChange scores a block by how its weights moved, and no change was given")
        return grid.tiles(evidence.weight.abs() * evidence.change).sum(dim=(1, 3))
