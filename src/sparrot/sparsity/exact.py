"""Pruning to an exact sparsity: at once, in rounds, or little by little."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from sparrot.sparsity.competition import Competition
from sparrot.sparsity.criteria import Criterion, Magnitude
from sparrot.sparsity.levels import Levels
from sparrot.sparsity.ranking import Scope
from sparrot.sparsity.scored import ScoredBlocks


class Growth(Protocol):
    """How sparsity grows to a target."""

    def is_due(self, step: int) -> bool:
        """Whether blocks are dropped at a step."""
        ...

    def sparsity(self, step: int, target: float) -> float:
        """Sparsity at a step on the way to a target."""
        ...

    def end(self, target: float) -> int:
        """The step at which the target is reached."""
        ...


@dataclass(frozen=True)
class AtOnce:
    """Everything at one step (Yu et al. 2012): train dense before it, and what is left after it."""

    step: int

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"pruning at once comes after step 1 or later; got {self.step}")

    def is_due(self, step: int) -> bool:
        """Only at that step."""
        return step == self.step

    def sparsity(self, step: int, target: float) -> float:
        """None before, all from then on."""
        return target if step >= self.step else 0.0

    def end(self, target: float) -> int:
        """That step."""
        return self.step


@dataclass(frozen=True)
class Rounds:
    """A share of what remains in every round, with fine-tuning after each (Han et al. 2015).

        s(r) = min(target, 1 − (1 − share)^r)        after r rounds, of which the first is at `begin`

    every: steps from one round to the next.
    share: 20 % is our choice; the rounds of the sources are not published.
    """

    begin: int
    every: int
    share: float = 0.2

    def __post_init__(self) -> None:
        if self.begin < 1 or self.every < 1 or not 0.0 < self.share < 1.0:
            raise ValueError(
                "rounds begin at step 1 or later, come every 1 step or more, and drop a share above 0 and "
                f"below 1; got {self.begin}, {self.every} and {self.share}"
            )

    def is_due(self, step: int) -> bool:
        """Whether a round begins."""
        return step >= self.begin and (step - self.begin) % self.every == 0

    def sparsity(self, step: int, target: float) -> float:
        """What all rounds up to a step have dropped."""
        n_rounds = 0 if step < self.begin else 1 + (step - self.begin) // self.every
        return target if n_rounds >= self.n_rounds(target) else 1.0 - (1.0 - self.share) ** n_rounds

    def n_rounds(self, target: float) -> int:
        """Rounds to a target."""
        return math.ceil(math.log1p(-target) / math.log1p(-self.share) - 1e-9)

    def end(self, target: float) -> int:
        """The step of the last round."""
        return self.begin + max(self.n_rounds(target) - 1, 0) * self.every


@dataclass(frozen=True)
class Gradual:
    """Little by little (Zhu & Gupta 2017, eq. 1).

        s(t) = target · (1 − (1 − p)³),   p = clip((t − begin) / (end − begin), 0, 1)

    every: steps between two mask updates; one more comes at the end.
    """

    begin: int
    end_step: int
    every: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end_step or self.every < 1:
            raise ValueError(
                "sparsity grows from `begin` to a later end, every 1 step or more; got "
                f"{self.begin}, {self.end_step} and {self.every}"
            )

    def is_due(self, step: int) -> bool:
        """Every so many steps on the ramp, and at its end."""
        return self.begin < step <= self.end_step and (step % self.every == 0 or step == self.end_step)

    def sparsity(self, step: int, target: float) -> float:
        """Along the cubic."""
        progress = min(max((step - self.begin) / (self.end_step - self.begin), 0.0), 1.0)
        return target * (1.0 - (1.0 - progress) ** 3)

    def end(self, target: float) -> int:
        """The end of the ramp."""
        return self.end_step


@dataclass(frozen=True)
class ExactPruning:
    """Keeps the largest ⌊n·(1 − s) + ½⌋ of n blocks, s growing to a target.

    sparsity:  layer type → target; a type that is not named stays dense.
    growth:    `AtOnce`, `Rounds` or `Gradual`.
    scope:     where blocks compete: within their matrix, their layer type, or the whole model.
    criterion: scores a block, by its weights alone. What is dropped comes after all that is not.
    """

    sparsity: Mapping[str, float]
    growth: Growth
    scope: Scope = "matrix"
    criterion: Criterion = field(default_factory=lambda: Magnitude("l1"))

    def __post_init__(self) -> None:
        if self.criterion.needs != "weight":
            raise ValueError(
                f"pruning for good scores blocks by their weights alone, and {self.criterion!r} needs a "
                f"{self.criterion.needs}: take it in dynamic sparsity, or choose Magnitude"
            )
        for kind, share in self.sparsity.items():
            if not 0.0 < share < 1.0:
                raise ValueError(
                    f"a sparsity is above 0 and below 1, which would leave nothing; got {share} for {kind} "
                    "layers"
                )

    @property
    def types(self) -> tuple[str, ...]:
        """Layer types that are pruned."""
        return tuple(self.sparsity)

    @property
    def end(self) -> int:
        """The last step at which blocks are dropped."""
        return max((self.growth.end(target) for target in self.sparsity.values()), default=0)

    def is_due(self, step: int) -> bool:
        """Whether blocks are dropped at a step."""
        return step <= self.end and self.growth.is_due(step)

    def keep(self, step: int, blocks: ScoredBlocks) -> dict[str, Tensor]:
        """The best blocks at a step, bool (n_block_rows, n_block_columns) by matrix.

        Raises ValueError if nothing of a matrix would be left.
        """
        now = {kind: self.growth.sparsity(step, target) for kind, target in self.sparsity.items()}
        levels = Levels(full={}, pruned=now)
        competition = Competition(list(blocks.targets), blocks.grids, levels, self.scope)
        return competition.chosen(blocks.scores, "pruned")


@dataclass(frozen=True)
class ZeroPruning:
    """Drops the blocks that a regulariser has brought to exactly zero, every so many steps and at the last.

    types: layer types that are pruned.
    last:  the last step at which blocks are dropped; None = whenever they are zero.
    """

    types: tuple[str, ...]
    every: int = 100
    last: int | None = None
    criterion: Magnitude = field(default=Magnitude("max"), init=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"masks are renewed every 1 step or more; got {self.every}")

    @property
    def end(self) -> int:
        """The last step at which blocks are dropped; 0 if there is none."""
        return self.last or 0

    def is_due(self, step: int) -> bool:
        """Whether blocks are dropped at a step."""
        return step == self.last or (step % self.every == 0 and (self.last is None or step < self.last))

    def keep(self, step: int, blocks: ScoredBlocks) -> dict[str, Tensor]:
        """Which blocks hold anything, bool (n_block_rows, n_block_columns) by matrix.

        Raises ValueError that names a matrix of which nothing is left.
        """
        kept = {name: score > 0.0 for name, score in blocks.scores.items()}
        for name, keep in kept.items():
            if not keep.any():
                raise ValueError(
                    f"at step {step} the regulariser has brought all of `{name}` to zero: lower its strength"
                )
        return kept
