"""Penalties that draw weights, or whole blocks of them, to zero."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from sparrot.sparsity.blocks import BlockGrid

Penalty: TypeAlias = Literal["group_lasso", "l1", "l_half"]
Step: TypeAlias = Literal["proximal", "gradient"]

_PART = 1 << 16  # weights whose intermediate results stay in the cache


def shrink_half(weight: Tensor, reach: float) -> None:
    """In place, w ← argmin_v (v − w)² / 2 + reach · √|v|, of weights (rows, columns) (Xu et al. 2012).

        ⅔ w (1 + cos(⅔ π − ⅔ φ)), cos φ = ¼ reach (|w| / 3)^−³⁄₂, where |w| > ³⁄₂ reach^⅔; 0 elsewhere

    In as few passes as torch needs, with φ = ½ π − asin(cos φ).
    """
    for part in _parts(weight):
        cosine = part.abs().rsqrt_().pow_(3).mul_(27**0.5 / 4 * reach).clamp_(max=1.0)
        angle = torch.rsub(cosine.asin_(), torch.pi / 6, alpha=2 / 3)  # ½ π − (⅔ π − ⅔ φ)
        part.mul_(torch.rsub(angle.sin_(), 2 / 3, alpha=-2 / 3))
        torch.hardshrink(part, reach ** (2 / 3), out=part)  # ³⁄₂ reach^⅔ would become that


@dataclass(frozen=True)
class Regulariser:
    """A penalty of the weights, added to the loss (block sparsity, §3.2 and appendix A).

        group_lasso   λ Σ_g ‖w_g‖₂      over the blocks that are pruned, whatever their size
        l1            λ Σ |w|
        l_half        λ Σ √|w|

    strength: λ. The papers do not publish theirs.
    step:     gradient, its slope is added to that of the loss before the optimiser's step. Proximal (our
              choice, since a slope never brings anything to exactly zero): after the optimiser's step,
              w ← argmin_v ‖v − w‖² / 2 + rate · penalty(v), with the optimiser's rate.
    until:    the update before which it ends, as group lasso that guides a schedule does; None = never.
    epsilon:  of the slope of √|w|, which is infinite at 0: ½ · (|w| + ε)^−½ (our choice).
    shrink_half: the proximal step of l_half; sparrot.nn has a compiled one.
    """

    penalty: Penalty
    strength: float
    step: Step = "proximal"
    until: int | None = None
    epsilon: float = 1e-4
    shrink_half: Callable[[Tensor, float], None] = shrink_half

    def __post_init__(self) -> None:
        if self.penalty not in get_args(Penalty):
            raise ValueError(f"a penalty is group_lasso, l1 or l_half; got `{self.penalty}`")
        if self.step not in get_args(Step):
            raise ValueError(f"the step of a regulariser is proximal or gradient; got `{self.step}`")
        if not 0.0 < self.strength < float("inf") or not 0.0 < self.epsilon < float("inf"):
            raise ValueError(
                f"a regulariser has a strength and an epsilon above 0; got {self.strength} and {self.epsilon}"
            )

    def value(self, weight: Tensor, grid: BlockGrid) -> Tensor:
        """The penalty of a matrix (rows, columns), a number."""
        match self.penalty:
            case "group_lasso":
                return self.strength * _norms(weight, grid).sum()
            case "l1":
                return self.strength * weight.abs().sum()
            case "l_half":
                return self.strength * weight.abs().sqrt().sum()

    def slope(self, weight: Tensor, grid: BlockGrid) -> Tensor:
        """Its gradient, (rows, columns); 0 where a weight, or all of its block, is 0."""
        match self.penalty:
            case "group_lasso":
                norms = _norms(weight, grid)
                return grid.scaled(weight, torch.where(norms > 0.0, self.strength / norms, 0.0))
            case "l1":
                return self.strength * weight.sign()
            case "l_half":
                return self.strength * 0.5 * weight.sign() * (weight.abs() + self.epsilon).rsqrt()

    def shrink(self, weight: Tensor, grid: BlockGrid, rate: float) -> None:
        """A proximal step of the weights (rows, columns), in place.

        group_lasso   w_g · max(0, 1 − rate·λ / ‖w_g‖₂)
        l1            sign(w) · max(0, |w| − rate·λ)
        l_half        `shrink_half`
        """
        reach = rate * self.strength
        if reach == 0.0:  # as a schedule may end; the formulas divide nothing by nothing there
            return
        match self.penalty:
            case "group_lasso":
                norms = _norms(weight, grid)
                grid.scale(weight, torch.where(norms > reach, 1.0 - reach / norms, 0.0))
            case "l1":
                for part in _parts(weight):
                    part.copy_(softshrink(part, reach))
            case "l_half":
                self.shrink_half(weight, reach)


def _parts(weight: Tensor) -> tuple[Tensor, ...]:
    """Rows of a matrix, as many as the cache holds."""
    parts: tuple[Tensor, ...] = weight.split(max(1, _PART // weight.shape[1]))
    return parts


def _norms(weight: Tensor, grid: BlockGrid) -> Tensor:
    """‖w_g‖₂ of every block, (n_block_rows, n_block_columns)."""
    return grid.tiles(weight).square().sum(1).sum(-1).sqrt()  # long rows first, as they lie in memory


def rates_of(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> list[float]:
    """The rate at which an optimiser moves each parameter. Raises ValueError if it moves one not at all."""
    rates = {id(p): float(group["lr"]) for group in optimiser.param_groups for p in group["params"]}
    missing = sum(id(parameter) not in rates for parameter in parameters)
    if missing:
        raise ValueError(
            f"{missing} of the {len(parameters)} matrices that are pruned are not the optimiser's: give it "
            "the parameters of the model as it is now"
        )
    return [rates[id(parameter)] for parameter in parameters]
