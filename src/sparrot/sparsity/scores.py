"""What the blocks of a model are worth, averaged over its updates."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sparrot.sparsity.blocks import BlockGrid
from sparrot.sparsity.criteria import Evidence
from sparrot.sparsity.levels import Level
from sparrot.sparsity.masking import Observe
from sparrot.sparsity.options import DynamicOptions
from sparrot.sparsity.targets import Target


class Scores:
    """Moving averages of block scores, taken from the backward passes of some levels.

        s ← a · s + (1 − a) · (Σ over an update's passes of the criterion's score),   a = smoothing

    levels: those whose passes are scored, each with averages of its own; where the gradient is a sum over
            all passes, the one level that has the average, and an update is scored once, by its sum.

    A criterion that needs changes of weights averages those instead, once for all levels; one of the
    weights alone averages nothing. Weights of 16 bits are scored and averaged in float32.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        grids: Mapping[str, BlockGrid],
        levels: Sequence[str],
        options: DynamicOptions,
    ) -> None:
        self._targets, self._grids, self._options = targets, grids, options
        self._average: dict[str, dict[str, Tensor]] = {level: {} for level in levels}
        self._pending: dict[str, dict[str, Tensor]] = {level: {} for level in levels}
        self._sums: dict[str, Tensor] = {}  # of the gradients of an update, where a sum is scored
        self._changes: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}
        if options.criterion.needs == "change":
            self._before = {target.name: _wide(target.parameter).clone() for target in targets}
            self._changes = {name: torch.zeros_like(weight) for name, weight in self._before.items()}

    def observer(self, level: Level, dropped: Mapping[str, Tensor]) -> Observe | None:
        """What a pass of `level` tells its gradients to; None if they are not scored.

        dropped: bool (rows, columns), by the name of every matrix of which the level drops weights.
        """
        if self._options.criterion.needs != "gradient":
            return None
        match self._options.gradient:
            case "full":
                return self._observer_of_pass(level)
            case "accumulated":
                return self._observer_of_sum(dropped)
            case "straight_through":
                return self._observer_of_sum({})

    def _observer_of_pass(self, level: Level) -> Observe | None:
        if level not in self._pending:
            return None
        pending = self._pending[level]

        def observe(target: Target, weight: Tensor, gradient: Tensor) -> None:
            score = self._scored(target, weight, _wide(gradient))
            pending[target.name] = pending[target.name] + score if target.name in pending else score

        return observe

    def _observer_of_sum(self, dropped: Mapping[str, Tensor]) -> Observe:
        """Adds gradients, zero where weights are `dropped`, to those of the update, and scores their sum."""
        (pending,) = self._pending.values()

        def observe(target: Target, weight: Tensor, gradient: Tensor) -> None:
            mask = dropped.get(target.name)
            own = _wide(gradient).clone() if mask is None else _wide(gradient).masked_fill(mask, 0.0)
            self._sums[target.name] = self._sums[target.name].add_(own) if target.name in self._sums else own
            pending[target.name] = self._scored(target, weight, self._sums[target.name])

        return observe

    def _scored(self, target: Target, weight: Tensor, gradient: Tensor) -> Tensor:
        return self._options.criterion.score(Evidence(_wide(weight), gradient), self._grids[target.name])

    def take_up(self) -> None:
        """Ends an update: its scores enter the averages."""
        fresh = 1.0 - self._options.smoothing
        for level, pending in self._pending.items():
            average = self._average[level]
            for name, score in pending.items():
                average[name] = average[name].lerp(score, fresh) if name in average else score
        self.forget_update()
        for target in self._targets if self._before else ():
            now = _wide(target.parameter)
            self._changes[target.name].lerp_((now - self._before[target.name]).abs(), fresh)
            self._before[target.name].copy_(now)

    def forget_update(self) -> None:
        """Drops what the passes since the last update have shown."""
        self._sums.clear()
        for pending in self._pending.values():
            pending.clear()

    def current(self, level: str) -> dict[str, Tensor]:
        """Score of every block by `level`'s passes, summed over the processes of a default group.

        Raises RuntimeError if no gradient has reached a matrix, ValueError if a score is not finite.
        """
        return {target.name: _finite(self._summed(target, level), target.name) for target in self._targets}

    def state_dict(self) -> dict[str, Any]:
        """The averages; what the passes of an unfinished update have shown is not among them."""
        return {
            "average": {level: dict(scores) for level, scores in self._average.items()},
            "changes": {name: tensor.clone() for name, tensor in self._changes.items()},
            "before": {name: tensor.clone() for name, tensor in self._before.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` of the same targets, levels and criterion gave."""
        average = {level: self._placed(state["average"][level]) for level in self._average}
        changes, before = self._placed(state["changes"]), self._placed(state["before"])
        self._average, self._changes, self._before = average, changes, before
        self.forget_update()

    def _placed(self, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        device = {target.name: target.parameter.device for target in self._targets}
        return {name: tensor.to(device[name], copy=True) for name, tensor in saved.items()}

    def _summed(self, target: Target, level: str) -> Tensor:
        score = self._own(target, level)
        if dist.is_available() and dist.is_initialized():
            score = score.clone()
            dist.all_reduce(score)
        return score

    def _own(self, target: Target, level: str) -> Tensor:
        if self._options.criterion.needs != "gradient":
            evidence = Evidence(_wide(target.parameter), change=self._changes.get(target.name))
            return self._options.criterion.score(evidence, self._grids[target.name])
        score = self._average[level].get(target.name)
        if score is None:
            raise RuntimeError(
                f"cannot rank the blocks of `{target.name}`: no gradient has reached it inside "
                f"`at({level!r})` since the start; run that pass in every update, and "
                "exclude matrices that are frozen or unused"
            )
        return score


def _wide(tensor: Tensor) -> Tensor:
    """The values, in float32 if they have 16 bits."""
    values = tensor.detach()
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _finite(score: Tensor, name: str) -> Tensor:
    if not torch.isfinite(score).all():
        raise ValueError(
            f"the block scores of `{name}` are not finite: the loss or a weight has overflowed; lower the "
            "learning rate, clip gradients, or tell `step(skipped=True)` of updates that the optimiser skips"
        )
    return score
