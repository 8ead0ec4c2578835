"""Dynamic sparsity: one set of weights trained at several sparsity levels at once (DSNN)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from sparrot.sparsity.blocks import BlockShape
from sparrot.sparsity.competition import Competition
from sparrot.sparsity.freezing import FrozenWeights
from sparrot.sparsity.levels import Level, Levels
from sparrot.sparsity.masking import Observe, guarded, masked_weights
from sparrot.sparsity.masks import BlockMask
from sparrot.sparsity.options import DynamicOptions
from sparrot.sparsity.path import Path
from sparrot.sparsity.ramps import Ramps
from sparrot.sparsity.schedules import CubicSchedule
from sparrot.sparsity.scores import Scores
from sparrot.sparsity.targets import Target, matrices_of_types


@dataclass(frozen=True)
class MaskUpdate:
    """What one renewal of a level's masks did, over all matrices.

    dropped:  blocks that were kept before and are not now.
    returned: blocks that had been dropped and are kept again.
    sparsity: fraction of the prunable weights that the level now drops.
    matrices: the same of every matrix, by parameter name.
    """

    step: int
    level: str
    dropped: int
    returned: int
    sparsity: float
    matrices: Mapping[str, float]

    def renamed(self, names: Mapping[str, str]) -> "MaskUpdate":
        """The same with other names of the matrices that `names` has."""
        renamed = {names.get(name, name): share for name, share in self.matrices.items()}
        return replace(self, matrices=renamed)


class DynamicSparsity:
    """Trains one set of weights at every level of `levels`.

        for batch in data:
            optimizer.zero_grad()
            for level in sparsity.passes():      # the full model first, then each sparse level
                with sparsity.at(level):
                    loss(model(batch)).backward()    # gradients accumulate over the passes
            optimizer.step()                     # one update
            sparsity.step()                      # scores, and now and then new masks

    A dropped block keeps its values and optimiser state, still learns in the full model's pass, and
    returns when its score rises. A mask keeps ⌊n·(1 − s) + ½⌋ of n blocks (of a matrix, or of a
    wider `scope`), s = schedule(step) · target of the level for the layer type. Scores are summed
    over the processes of a default torch.distributed group before ranking, so that all of them
    rank alike.

    Raises ValueError when a level names a layer type the model lacks, levels cross, or the timetable
    (`Ramps`) cannot be kept. Make it once the model is on its device.
    """

    def __init__(
        self,
        model: nn.Module,
        levels: Levels,
        *,
        block: BlockShape,
        schedule: CubicSchedule,
        options: DynamicOptions | None = None,
    ) -> None:
        self.model, self.levels, self.schedule = model, levels, schedule
        self.options = options or DynamicOptions()
        if self.options.nested:
            levels.require_nested()
        self.ramps = Ramps(levels, schedule, self.options)
        self.targets = matrices_of_types(model, levels.types, self.options.exclude, "the levels prune")
        self.grids = {target.name: target.grid(block) for target in self.targets}
        self._competition = Competition(self.targets, self.grids, levels, self.options.scope)
        self.step_count = 0
        self._masks = {level: self._full_masks() for level in levels.sparse}
        self._dropped: dict[str, dict[str, Tensor]] = {level: {} for level in levels.sparse}
        self._scores = Scores(self.targets, self.grids, self._scored_levels(), self.options)
        self._frozen = FrozenWeights(self.targets)
        self._ranks: dict[str, Tensor] = {}  # of nested blocks when masks were renewed last
        self._path: Path | None = None
        self._active: Level | None = None

    def passes(self) -> tuple[Level, ...]:
        """The levels of the update at hand, full model first; with `options.sample` at most three of them."""
        sample, sparse = self.options.sample, self.levels.sparse
        random = Random(f"{self.options.seed} {self.step_count}")
        if sample == "path" and sparse:
            return self.levels.full, random.uniform(0.0, len(sparse)), sparse[-1]
        if sample == "levels" and len(sparse) > 2:
            return self.levels.full, random.choice(sparse[:-1]), sparse[-1]
        return tuple(self.levels)

    @contextmanager
    def at(self, level: Level) -> Iterator[None]:
        """Within the block, the model is the one of `level`; afterwards every bit is as before.

        level: a name, or a point on the path through nested levels: 0 is the full model, 1 the next sparser
               level, 1.5 half way to the one after it (see `Path`).

        A module of the model that has a method `use_level` is told the level, and the full one afterwards.
        One that has `use_masks` is told the masks of its parameters, by its names of them, and none
        afterwards; see `DynamicOptions.products`.

        Raises ValueError for an unknown level. Inside, `optimizer.step()`, `state_dict()` and another
        `at()` raise RuntimeError, as does a backward that comes after the block. So does `at` itself
        when the model no longer has the parameters that were masked.
        """
        level = self._placed(level)
        if self._active is not None:
            raise RuntimeError(
                f"`at({level!r})` inside `at({self._active!r})`: leave one level before the next"
            )
        self._require_same_parameters()
        with ExitStack() as stack:
            self._active = level
            stack.callback(setattr, self, "_active", None)
            stack.callback(self._tell, self.levels.full)
            self._tell(level)
            masks = self.masks(level)
            dropped = self._dropped_at(level, masks)
            observe = self._observer(level, dropped)
            is_skippable = self.options.products == "blocks" and observe is None  # none is a score's evidence
            stack.callback(self._hand_out, {})
            self._hand_out({name: masks[name] for name in dropped} if is_skippable else {})
            stack.enter_context(guarded(self.model, self.targets, level))
            stack.enter_context(masked_weights(self.targets, dropped, observe, self._frozen.where))
            yield

    def step(self, *, skipped: bool = False) -> list[MaskUpdate]:
        """Ends an update: takes up its scores, and renews masks and freezes weights when that is due.

        skipped: the optimiser took no step, as a GradScaler decides after an overflow; the update is
                 forgotten and does not count.

        Returns one `MaskUpdate` a level, or none if masks were not due.
        """
        if self._active is not None:
            raise RuntimeError(f"step() inside `at({self._active!r})`: step after all passes")
        if skipped:
            self._scores.forget_update()
            return []
        self._frozen.restore()
        self.step_count += 1
        if not self.ramps.all_are_frozen(self.step_count):
            self._scores.take_up()
        due = self.ramps.due(self.step_count)
        by = {level: self.levels.full if self.options.nested else level for level in due}
        ranked = {scored: self._ranked(scored) for scored in dict.fromkeys(by.values())}
        updates = [self._renew(level, ranked[scored]) for level, scored in by.items()]
        self._ranks = {name: rank.cpu() for name, rank in ranked.get(self.levels.full, self._ranks).items()}
        for level in self.ramps.weights_to_freeze(self.step_count):
            self._frozen.add(self._masks[level])
        return updates

    def masks(self, level: Level) -> dict[str, BlockMask]:
        """The mask of every prunable matrix at `level`, by parameter name."""
        level = self._placed(level)
        if not isinstance(level, str):
            return self.path().at(level)
        return dict(self._masks.get(level) or self._full_masks())

    def masked(self, level: Level) -> dict[str, Tensor]:
        """The matrices of which `level` drops weights, with zeros there, by name; autograd goes through."""
        dropped = self._dropped_at(level := self._placed(level), self.masks(level))
        return {
            target.name: target.parameter.masked_fill(dropped[target.name], 0.0)
            for target in self.targets
            if target.name in dropped
        }

    def path(self) -> Path:
        """The levels as they are now and all points between them. Raises ValueError for independent masks."""
        if not self.options.nested:
            raise ValueError("independent masks cross, so there is no path through their levels; nest them")
        if self._path is None:
            drops = any(self.drops(level) for level in self.levels.sparse)
            ranked = self._ranks or (self._ranked(self.levels.full) if drops else {})
            unranked = {name: torch.zeros(grid.shape, dtype=torch.int64) for name, grid in self.grids.items()}
            self._path = Path.through([self.masks(level) for level in self.levels], ranked or unranked)
        return self._path

    def sparsity(self, level: Level) -> dict[str, float]:
        """Layer type → fraction of its prunable weights that `level` now drops."""
        masks = self.masks(level)
        return {kind: _sparsity(masks[target.name] for target in self._of_type(kind)) for kind in self.types}

    def has_reached(self, level: str) -> bool:
        """Whether `level` now drops all that its targets ask for."""
        return self._competition.is_reached(self.masks(level), level)

    def drops(self, level: Level) -> bool:
        """Whether `level` leaves out any block now; until it does, it is the full model."""
        return any(mask.n_kept < mask.grid.n_blocks for mask in self.masks(level).values())

    @property
    def end(self) -> int:
        """The step from which every level is as sparse as it will be; 0 if no level drops anything."""
        return self.ramps.end if self.levels.sparse else 0

    @property
    def is_nested(self) -> bool:
        """Whether one ranking serves all levels."""
        return self.options.nested

    @property
    def types(self) -> tuple[str, ...]:
        """Layer types of the matrices that some level prunes."""
        return tuple(dict.fromkeys(target.type for target in self.targets))

    def state_dict(self) -> dict[str, Any]:
        """Masks, scores, frozen weights and step count.

        With them, the model and the optimiser, training resumes bit for bit. Scores are of this process:
        of several, each saves and loads its own.
        """
        if self._active is not None:
            raise RuntimeError(f"state_dict() inside `at({self._active!r})`: save after the block")
        return {
            "described": self._described(),
            "step_count": self.step_count,
            "keep": {
                level: {name: mask.keep for name, mask in masks.items()}
                for level, masks in self._masks.items()
            },
            "scores": self._scores.state_dict(),
            "ranks": dict(self._ranks),
            "frozen": self._frozen.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave; ValueError if it is of other levels, matrices or options."""
        if self._active is not None:
            raise RuntimeError(f"load_state_dict() inside `at({self._active!r})`: load after the block")
        described = _described_in(state)
        for what, own in self._described().items():
            saved = described[what]
            if saved != own:
                raise ValueError(
                    f"cannot resume: the saved sparsity has other {what}, {saved}; this one has {own}. "
                    "Resume with the model, levels and options it was saved with"
                )
        masks = {level: self._masks_of(keep) for level, keep in state["keep"].items()}
        self._scores.load_state_dict(state["scores"])
        self._ranks = dict(state.get("ranks", {}))
        self._frozen.load_state_dict(state.get("frozen", {"keep": {}}), self._full_masks())
        for level, by_name in masks.items():
            self._set_masks(level, by_name)
        self.step_count = state["step_count"]

    def matches(self, state: Mapping[str, Any]) -> bool:
        """Whether `load_state_dict` would take up a state."""
        return _described_in(state) == self._described()

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Takes up masks and scores of a training that has ended, and begins the schedule anew.

        Weights that were frozen may move again.
        """
        self.load_state_dict(state)
        self._frozen.clear()
        self.step_count = 0

    def _placed(self, level: Level) -> Level:
        """The level's name, or the point if it is none of a level. Raises ValueError if it is neither."""
        if isinstance(level, str):
            self.levels.require(level)
            return level
        if not self.options.nested:
            raise ValueError(f"independent masks have no path: name a level, and not the point {level}")
        last = len(self.levels) - 1
        if not 0 <= level <= last:
            raise ValueError(
                f"points on the path through {', '.join(self.levels)} are 0 to {last}; got {level}"
            )
        return tuple(self.levels)[int(level)] if level == int(level) else level

    def _tell(self, level: Level) -> None:
        """Says to the modules that want to know which level is at work."""
        for module in self.model.modules():
            use_level = getattr(module, "use_level", None)
            if callable(use_level):
                use_level(level)

    def _hand_out(self, masks: Mapping[str, BlockMask]) -> None:
        """Gives the modules that can use them the masks of their parameters."""
        for prefix, module in self.model.named_modules():
            use_masks = getattr(module, "use_masks", None)
            if callable(use_masks):
                start = f"{prefix}." if prefix else ""
                own = {name: mask for name, mask in masks.items() if name.startswith(start)}
                use_masks({name.removeprefix(start): mask for name, mask in own.items()})

    def _described(self) -> dict[str, Any]:
        """What a state depends on, in plain values."""
        return {
            "levels": {level: dict(targets) for level, targets in self.levels.items()},
            "matrices": {
                name: [grid.rows, grid.columns, grid.gates, str(grid.block)]
                for name, grid in self.grids.items()
            },
            "criterion": repr(self.options.criterion),
            "gradient": self.options.gradient,
            "scope": self.options.scope,
            "nesting": self.options.nested,
        }

    def _masks_of(self, keep: Mapping[str, Tensor]) -> dict[str, BlockMask]:
        return {name: BlockMask(keep[name].cpu(), grid) for name, grid in self.grids.items()}

    def _require_same_parameters(self) -> None:
        current = dict(self.model.named_parameters(remove_duplicate=False))
        for target in self.targets:
            if current.get(target.name) is not target.parameter:
                raise RuntimeError(
                    f"`{target.name}` is not the parameter that its masks were made for, and would stay "
                    "dense; make the sparsity after the last change of the model's parameters, and load "
                    "weights without `assign=True`"
                )

    def _scored_levels(self) -> tuple[str, ...]:
        return (self.levels.full,) if self.options.nested else self.levels.sparse

    def _of_type(self, kind: str) -> list[Target]:
        return [target for target in self.targets if target.type == kind]

    def _full_masks(self) -> dict[str, BlockMask]:
        return {name: BlockMask.full(grid) for name, grid in self.grids.items()}

    def _observer(self, level: Level, dropped: Mapping[str, Tensor]) -> Observe | None:
        if self.ramps.all_are_frozen(self.step_count + 1):
            return None
        return self._scores.observer(level, dropped)

    def _renew(self, level: str, ranked: Mapping[str, Tensor]) -> MaskUpdate:
        share = self.ramps.of(level)(self.step_count)
        masks = self._competition.best(ranked, level, share)
        before = self._masks[level]
        self._set_masks(level, masks)
        return MaskUpdate(
            self.step_count,
            level,
            dropped=sum(int((before[name].keep & ~mask.keep).sum()) for name, mask in masks.items()),
            returned=sum(int((~before[name].keep & mask.keep).sum()) for name, mask in masks.items()),
            sparsity=_sparsity(masks.values()),
            matrices={name: mask.sparsity for name, mask in masks.items()},
        )

    def _ranked(self, scored_level: str) -> dict[str, Tensor]:
        scores = self._scores.current(scored_level)
        return self._competition.ranked(scores, self._frozen_tiers() if self.options.nested else None)

    def _frozen_tiers(self) -> dict[str, Tensor]:
        """How many levels whose masks are frozen keep each block: those come first in every denser level."""
        frozen = [level for level in self.levels.sparse if self.ramps.is_frozen(level, self.step_count)]
        tiers = {name: torch.zeros(grid.shape, dtype=torch.int64) for name, grid in self.grids.items()}
        for level in frozen:
            for name, mask in self._masks[level].items():
                tiers[name] += mask.keep
        return {target.name: tiers[target.name].to(target.parameter.device) for target in self.targets}

    def _set_masks(self, level: str, masks: dict[str, BlockMask]) -> None:
        self._masks[level], self._dropped[level] = masks, self._expanded(masks)
        self._path = None

    def _dropped_at(self, level: Level, masks: Mapping[str, BlockMask]) -> dict[str, Tensor]:
        """Single weights that are dropped at a level, of every matrix that loses some."""
        return self._dropped.get(level, {}) if isinstance(level, str) else self._expanded(masks)

    def _expanded(self, masks: Mapping[str, BlockMask]) -> dict[str, Tensor]:
        return {
            target.name: masks[target.name].dropped_weights().to(target.parameter.device)
            for target in self.targets
            if masks[target.name].n_kept < self.grids[target.name].n_blocks
        }


def _described_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a state depends on; one that says nothing of the gradient is older than this choice."""
    return {"gradient": "full", **state["described"]}


def _sparsity(masks: Iterable[BlockMask]) -> float:
    """Fraction of dropped weights over several masks."""
    given = list(masks)
    n_weights = sum(mask.grid.rows * mask.grid.columns for mask in given)
    return sum(mask.n_dropped_weights for mask in given) / n_weights if given else 0.0
