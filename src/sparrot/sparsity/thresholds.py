"""Pruning by a threshold that grows while the model trains: of weights (WP) and of blocks (BP)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from sparrot.sparsity.blocks import BlockGrid, BlockShape
from sparrot.sparsity.criteria import Evidence, Magnitude
from sparrot.sparsity.scored import ScoredBlocks
from sparrot.sparsity.targets import Target

RAMP_FACTOR: Final = 1.5  # φ / θ, as eq. 1 assumes


@dataclass(frozen=True)
class ThresholdTimes:
    """When a threshold grows, in optimiser steps.

    start: after which it grows, and weights are dropped.
    ramp:  from which it grows with the steeper slope.
    end:   before which it is raised for the last time.
    every: steps between two of its values.

    Narang et al. 2017 take the start of epoch 2, 25 % and 50 % of all epochs; the paper on block sparsity
    20 % and 40 %; both 100 steps.
    """

    start: int
    ramp: int
    end: int
    every: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.ramp <= self.end or self.start == self.end or self.every < 1:
            raise ValueError(
                "a threshold grows from `start` over `ramp` to `end`, steps in this order, every 1 step or "
                f"more; got {self.start}, {self.ramp}, {self.end} and {self.every}"
            )

    def is_due(self, step: int) -> bool:
        """Whether the threshold gets another value at a step."""
        return self.start < step < self.end and step % self.every == 0

    def last(self) -> int:
        """The last step at which it does. Raises ValueError if there is none."""
        step = (self.end - 1) // self.every * self.every
        if step <= self.start:
            raise ValueError(
                f"no multiple of {self.every} lies between the steps {self.start} and {self.end}, so nothing "
                "would be pruned: renew the threshold more often"
            )
        return step


@dataclass(frozen=True)
class ThresholdPruning:
    """Drops the blocks whose largest weight is under a threshold ε that grows (Narang et al. 2017).

        ε(t) = θ·(t − start + 1) / every                                   for t < ramp
        ε(t) = (θ·(ramp − start + 1) + φ·(t − ramp + 1)) / every           after that

    A block of N weights has the slope θ·N^¼ (block sparsity, eq. 2), and one of a single weight θ. The
    sparsity that is reached is a result: `forecast` tells it beforehand.

    slopes:      θ of single weights by layer type; a type that is not named stays dense.
    ramp_factor: φ / θ.
    """

    times: ThresholdTimes
    slopes: Mapping[str, float]
    ramp_factor: float = RAMP_FACTOR
    criterion: Magnitude = field(default=Magnitude("max"), init=False)

    def __post_init__(self) -> None:
        self.times.last()
        for kind, slope in self.slopes.items():
            if not 0.0 < slope < float("inf"):
                raise ValueError(f"a threshold grows with a slope above 0; got {slope} for {kind} layers")
        if not 1.0 <= self.ramp_factor < float("inf"):
            raise ValueError(f"the slope after `ramp` is 1 or more times that before; got {self.ramp_factor}")

    @property
    def types(self) -> tuple[str, ...]:
        """Layer types that are pruned."""
        return tuple(self.slopes)

    @property
    def end(self) -> int:
        """The last step at which blocks are dropped."""
        return self.times.last()

    def is_due(self, step: int) -> bool:
        """Whether blocks are dropped at a step."""
        return self.times.is_due(step)

    def threshold(self, kind: str, block: BlockShape, step: int) -> float:
        """ε of a layer type's blocks at a step."""
        times, slope = self.times, self.slopes[kind] * math.sqrt(math.sqrt(block.rows * block.columns))
        if step < times.ramp:
            return slope * (step - times.start + 1) / times.every
        return (
            slope * (times.ramp - times.start + 1 + self.ramp_factor * (step - times.ramp + 1)) / times.every
        )

    def keep(self, step: int, blocks: ScoredBlocks) -> dict[str, Tensor]:
        """Which blocks are large enough at a step, bool (n_block_rows, n_block_columns) by matrix.

        Raises ValueError that names the matrix of which none is.
        """
        kept = {}
        for target in blocks.targets:
            largest = blocks.scores[target.name]
            threshold = self.threshold(target.type, blocks.grids[target.name].block, step)
            kept[target.name] = largest >= threshold
            if not kept[target.name].any():
                raise ValueError(
                    f"the threshold of {threshold:.3g} at step {step} would leave nothing of "
                    f"`{target.name}`, whose largest weight is {float(largest.max()):.3g}: give "
                    f"{target.type} layers a smaller slope"
                )
        return kept


def start_slope(q: float, times: ThresholdTimes) -> float:
    """θ with which the threshold is q at the end, if φ = 1.5·θ (Narang et al. 2017, eq. 1).

        θ = 2·q·every / (2·(ramp − start) + 3·(end − ramp))

    q: in the paper the 90th percentile of |w| in a trained dense model.
    """
    return 2 * q * times.every / (2 * (times.ramp - times.start) + 3 * (times.end - times.ramp))


def slopes_of_dense(
    targets: Sequence[Target], sparsity: Mapping[str, float], times: ThresholdTimes
) -> dict[str, float]:
    """θ by layer type from the weights of a trained dense model: `start_slope` of a percentile of |w|.

    targets:  matrices that hold the dense model's weights; those of a type are taken together.
    sparsity: layer type → share of its single weights that lie under the last threshold; the paper takes
              0.9 for all (other shares are our choice). For blocks it is a starting point: eq. 2 is a rule
              of thumb, and `forecast` says where it leads.
    Raises:   ValueError if a share is not above 0 and below 1, or the weights are not finite.
    """
    slopes = {}
    for kind, share in sparsity.items():
        if not 0.0 < share < 1.0:
            raise ValueError(f"a sparsity is above 0 and below 1; got {share} for {kind} layers")
        sizes = torch.cat([t.parameter.detach().abs().flatten().float() for t in targets if t.type == kind])
        if not torch.isfinite(sizes).all():
            raise ValueError(f"the weights of {kind} layers are not finite, so they have no percentile")
        place = min(int(share * sizes.numel()), sizes.numel() - 1)
        slopes[kind] = start_slope(float(sizes.kthvalue(place + 1).values), times)
    return slopes


def forecast(
    method: ThresholdPruning, targets: Sequence[Target], grids: Mapping[str, BlockGrid]
) -> dict[str, float]:
    """Fraction of every matrix's weights that a threshold would drop of a model as it is, by name.

    On a trained dense model this tells where training with the method will lead, a little too low: weights
    that are trained with others dropped grow. Raises ValueError that names a matrix of which it would leave
    nothing, and the first step at which that is so.
    """
    scores = {t.name: method.criterion.score(Evidence(t.parameter.detach()), grids[t.name]) for t in targets}
    for step in range(method.times.start + 1, method.times.end):
        if method.is_due(step):
            kept = method.keep(step, ScoredBlocks(targets, grids, scores))
    return {
        name: float((grids[name].sizes() * ~keep.cpu()).sum()) / (grids[name].rows * grids[name].columns)
        for name, keep in kept.items()
    }
