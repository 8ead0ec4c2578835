"""When the masks of each level grow, are renewed and freeze."""

import math
from dataclasses import dataclass

from sparrot.sparsity.levels import Levels
from sparrot.sparsity.options import DynamicOptions
from sparrot.sparsity.schedules import CubicSchedule


@dataclass(frozen=True)
class Ramps:
    """The timetable of all levels, in optimiser steps.

    Together, they grow along `schedule` and freeze at `freeze_at`. Sparsest first, each has a ramp of its
    own and freezes where that ends; with C sparse levels, c = 1 the densest of them:

        end_c = end + (freeze_at − end) · (C − c) / (C − 1)          (one sparse level ends at `end`)

    Raises ValueError if masks would freeze before the schedule ends, or weights in another order than the
    sparsest level's first or before their masks.
    """

    levels: Levels
    schedule: CubicSchedule
    options: DynamicOptions

    def __post_init__(self) -> None:
        freeze_at = self.options.freeze_at
        if freeze_at is not None and freeze_at < self.schedule.end:
            raise ValueError(
                f"masks that freeze at step {freeze_at} never reach the levels, since the schedule ends at "
                f"{self.schedule.end}; freeze them there or later"
            )
        self._require_weights_in_order()

    def of(self, level: str) -> CubicSchedule:
        """The share of its sparsity that a level has at a step."""
        sparse, freeze_at = self.levels.sparse, self.options.freeze_at
        if freeze_at is None or self.options.freeze_order == "together" or len(sparse) == 1:
            return self.schedule
        denser = (len(sparse) - 1 - sparse.index(level)) / (
            len(sparse) - 1
        )  # 1 for the densest, 0 for the last
        end = self.schedule.end + round((freeze_at - self.schedule.end) * denser)
        return CubicSchedule(self.schedule.begin, end, self.schedule.initial)

    def freezes_at(self, level: str) -> int | None:
        """The last step at which a level's masks change; None = never."""
        if self.options.freeze_order == "together":
            return self.options.freeze_at
        return self.of(level).end

    def is_frozen(self, level: str, step: int) -> bool:
        """Whether masks of a level no longer change at a step."""
        last = self.freezes_at(level)
        return last is not None and step > last

    def all_are_frozen(self, step: int) -> bool:
        """Whether no mask changes at a step, so that nothing need be scored."""
        return all(self.is_frozen(level, step) for level in self.levels.sparse)

    def weights_to_freeze(self, step: int) -> tuple[str, ...]:
        """The levels whose weights stand still after a step."""
        return tuple(level for level, last in self.options.freeze_weights_at.items() if last == step)

    def due(self, step: int) -> tuple[str, ...]:
        """The levels whose masks are renewed at a step: all that are not frozen, or none."""
        growing = tuple(
            level
            for level in self.levels.sparse
            if not self.is_frozen(level, step) and self.of(level)(step) > 0.0
        )
        ends = {end for level in growing for end in (self.of(level).end, self.freezes_at(level))}
        return growing if step % self.options.mask_every == 0 or step in ends else ()

    @property
    def end(self) -> int:
        """The step from which every level is as sparse as it will be."""
        return max((self.of(level).end for level in self.levels.sparse), default=self.schedule.end)

    def _require_weights_in_order(self) -> None:
        steps = self.options.freeze_weights_at
        for level in steps:
            self.levels.require(level)
            if level == self.levels.full:
                raise ValueError(
                    f"the weights of the full model `{level}` cannot freeze: nothing would be trained"
                )
        frozen_before = 0.0
        for level in reversed(self.levels.sparse):
            step, masks = steps.get(level, math.inf), self.freezes_at(level)
            if step < frozen_before:
                raise ValueError(
                    f"weights freeze sparsest level first, each in its turn; got {dict(steps)} of the levels "
                    f"{', '.join(self.levels)}"
                )
            if level in steps and (masks is None or step < masks):
                raise ValueError(
                    f"the weights of level `{level}` freeze at step {step}, and its masks "
                    f"{'never' if masks is None else f'at {masks}'}; let the masks freeze before"
                )
            frozen_before = step
