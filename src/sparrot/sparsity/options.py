"""The choices of dynamic sparsity that the papers leave open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from sparrot.sparsity.criteria import Criterion, WeightGradient
from sparrot.sparsity.ranking import Scope

ScoringGradient: TypeAlias = Literal["full", "accumulated", "straight_through"]
FreezeOrder: TypeAlias = Literal["together", "sparsest_first"]
Products: TypeAlias = Literal["blocks", "dense"]
Sample: TypeAlias = Literal["levels", "path"]


@dataclass(frozen=True)
class DynamicOptions:
    """How blocks are scored and masks renewed; the papers leave all but the criterion open.

    criterion:  scores a block (the published one: ‖W · G‖₁).
    gradient:   the G of a criterion that needs one: of the full model's pass; or accumulated, the sum that
                the optimiser gets, to which a level adds nothing under its mask; or straight_through, the
                sum over all passes of the gradient at every weight, dropped ones too.
    scope:      blocks compete within their matrix, their layer type, or the whole model; every matrix
                keeps its best one. In the whole model only a level's total is held: a type may keep
                more or less than its target.
    nested:     one ranking serves all levels, so a sparser level's blocks are a subset of a denser
                one's. False: each level ranks by its own pass (W without the mask, times the gradient
                at the masked weights), and levels may cross.
    mask_every: optimiser steps between mask updates, once the schedule has begun; one more comes where it
                ends, so that a level reaches its target there, and one at `freeze_at`.
    freeze_at:  optimiser step after which masks and scores no longer change; None = never.
    freeze_order: `together`, all levels at `freeze_at`; or `sparsest_first`, each where a ramp of its own
                ends: the sparsest's where the schedule does, the densest's at `freeze_at`, the others' in
                between at equal distances (see `Ramps`). Blocks that a frozen level keeps stay in all denser
                ones.
    freeze_weights_at: level → optimiser step after which the weights of its blocks no longer move, whatever
                gradient, momentum and weight decay ask for: the sparsest level's first, the denser ones'
                then or later, none before its masks have frozen. The full model's go on.
    sample:     None, an update has a pass for every level; `levels`, for the full model, the sparsest level
                and one of those between, drawn anew each time (with two sparse levels that is all of them);
                `path`, for the full model, the sparsest level and a point anywhere between them.
    seed:       of what `sample` draws, with the step.
    smoothing:  weight of the past in the moving average of scores (or of weight changes), a step;
                a criterion of the weights alone scores them as they are.
    exclude:    shell patterns of parameter names that no level prunes.
    products:   blocks: modules that can skip dropped blocks are told the masks of the level, unless its
                pass is scored, which takes gradients of dropped weights. dense: they are never told.
    """

    criterion: Criterion = field(default_factory=WeightGradient)
    gradient: ScoringGradient = "full"
    scope: Scope = "matrix"
    nested: bool = True
    mask_every: int = 100
    freeze_at: int | None = None
    freeze_order: FreezeOrder = "together"
    freeze_weights_at: Mapping[str, int] = field(default_factory=dict)
    sample: Sample | None = None
    seed: int = 0
    smoothing: float = 0.99
    exclude: tuple[str, ...] = ()
    products: Products = "blocks"

    def __post_init__(self) -> None:
        if self.scope not in ("matrix", "type", "global"):
            raise ValueError(f"blocks are ranked by matrix, type or global; got `{self.scope}`")
        if self.products not in get_args(Products):
            raise ValueError(f"products are those of blocks or dense; got `{self.products}`")
        if self.sample is not None and self.sample not in get_args(Sample):
            raise ValueError(f"a pass is sampled from levels or path, or None = all; got `{self.sample}`")
        if self.sample is not None and not self.nested:
            raise ValueError(
                "independent masks are scored by their own passes, of which every update needs all: leave "
                "`sample` out, or nest the levels"
            )
        self._require_gradient()
        if self.mask_every < 1 or not 0.0 <= self.smoothing < 1.0:
            raise ValueError(
                f"masks are renewed every 1 step or more, with smoothing at least 0 and below 1; got "
                f"{self.mask_every} and {self.smoothing}"
            )
        self._require_freezing()

    def _require_freezing(self) -> None:
        """Raises ValueError unless masks freeze at a step that there is, in an order that there is."""
        if self.freeze_at is not None and self.freeze_at < 1:
            raise ValueError(f"masks freeze after step 1 or later, or None = never; got {self.freeze_at}")
        if self.freeze_order not in get_args(FreezeOrder):
            raise ValueError(f"masks freeze together or sparsest_first; got `{self.freeze_order}`")
        if self.freeze_order == "sparsest_first" and self.freeze_at is None:
            raise ValueError("masks that freeze sparsest first need `freeze_at`, where the last of them do")

    def _require_gradient(self) -> None:
        """Raises ValueError for a gradient that is unknown, or that nothing would make use of."""
        if self.gradient not in get_args(ScoringGradient):
            raise ValueError(
                f"the gradient of scores is full, accumulated or straight_through; got `{self.gradient}`"
            )
        if self.gradient != "full" and self.criterion.needs != "gradient":
            raise ValueError(
                f"{self.criterion!r} scores blocks without a gradient and makes no use of `{self.gradient}`; "
                "leave `gradient` out, or choose the criterion WeightGradient"
            )
        if self.gradient != "full" and not self.nested:
            raise ValueError(
                f"independent masks are scored by the gradients of their own passes, not `{self.gradient}`: "
                "leave `gradient` out, or nest the levels"
            )
