"""Pruning for good: what is dropped stays zero to the end of training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparrot.sparsity.bits import bits, kept_bits
from sparrot.sparsity.blocks import BlockShape
from sparrot.sparsity.criteria import Criterion, Evidence
from sparrot.sparsity.dynamic import DynamicSparsity, MaskUpdate
from sparrot.sparsity.levels import Level, Levels
from sparrot.sparsity.masks import BlockMask
from sparrot.sparsity.regularisers import Regulariser, Step, rates_of
from sparrot.sparsity.scored import ScoredBlocks
from sparrot.sparsity.targets import Target, matrices_of_types


class Method(Protocol):
    """Which blocks are dropped, and when. To add one, write such a class; nothing else has to know."""

    @property
    def criterion(self) -> Criterion:
        """Scores blocks, by the weights alone."""
        ...

    @property
    def types(self) -> Sequence[str]:
        """Layer types that it prunes."""
        ...

    @property
    def end(self) -> int:
        """The last step at which it drops blocks."""
        ...

    def is_due(self, step: int) -> bool:
        """Whether it drops blocks at a step."""
        ...

    def keep(self, step: int, blocks: ScoredBlocks) -> dict[str, Tensor]:
        """Which blocks to keep, bool (n_block_rows, n_block_columns) by matrix.

        What is dropped stays so in any case.
        """
        ...


@dataclass(frozen=True)
class PruningOptions:
    """What goes on beside the method.

    regulariser: draws weights to zero.
    exclude:     shell patterns of parameter names that are not pruned.
    """

    regulariser: Regulariser | None = None
    exclude: tuple[str, ...] = ()


class Pruning:
    """Trains a model that gets sparser, and ends as one sparse model.

        pruning = Pruning(model, method, block=BlockShape(4, 4), optimiser=optimiser)
        for batch in data:
            optimiser.zero_grad()
            with pruning.at(pruning.level):
                loss(model(batch)).backward()
            optimiser.step()
            pruning.step()           # zeros, the regulariser, and now and then new masks

    The interface is that of `DynamicSparsity`, with one level. What differs is what dropping means: here
    weights are set to zero for good, whatever momentum and weight decay ask for, and `at` keeps gradients
    from them, so that they count neither in a norm that is clipped nor in an optimiser's averages.

    level:     the name of the only level.
    optimiser: whose rates a proximal regulariser takes.
    foretold:  sparsity of every matrix that `forecast` found for thresholds, if whoever made this asked it.

    Masks follow from the weights, which all processes of a default torch.distributed group share; scores are
    averaged over them, so that masks are the same whatever rounding does.

    Raises ValueError if the method prunes a layer type that the model lacks.
    """

    level = "pruned"

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        *,
        block: BlockShape,
        optimiser: torch.optim.Optimizer | None = None,
        options: PruningOptions | None = None,
    ) -> None:
        self.model, self.method, self.options = model, method, options or PruningOptions()
        self.levels = Levels(**{self.level: {}})
        self.targets = matrices_of_types(model, method.types, self.options.exclude, "the method prunes")
        self.grids = {target.name: target.grid(block) for target in self.targets}
        for target in self.targets:
            _require_blocks(target, block)
        self.step_count = 0
        self.foretold: Mapping[str, float] = {}
        self._optimiser, regulariser = optimiser, self.options.regulariser
        if regulariser is not None and regulariser.step == "proximal":
            if optimiser is None:
                raise ValueError("a proximal regulariser takes the rates of an optimiser: give `optimiser`")
            rates_of(optimiser, [target.parameter for target in self.targets])
        self._masks = {name: BlockMask.full(grid) for name, grid in self.grids.items()}
        self._kept_bits: dict[str, Tensor] = {}  # integers as wide as the weights, of matrices not full

    @property
    def end(self) -> int:
        """The last step at which blocks are dropped."""
        return self.method.end

    @property
    def is_nested(self) -> bool:
        """There is one level."""
        return True

    def passes(self) -> tuple[str, ...]:
        """The only level."""
        return (self.level,)

    @contextmanager
    def at(self, level: Level) -> Iterator[None]:
        """Within the block, dropped weights receive no gradient; at its end a regulariser adds its slope.

        Raises ValueError for another level.
        """
        self._require_level(level)
        hooks = [
            target.parameter.register_post_accumulate_grad_hook(_keeping(self._kept_bits[target.name]))
            for target in self.targets
            if target.name in self._kept_bits and target.parameter.requires_grad
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        if regulariser := self._regulariser("gradient"):
            self._add_slopes(regulariser)

    def step(self, *, skipped: bool = False) -> list[MaskUpdate]:
        """Ends an update: shrinks weights, drops blocks if that is due, and sets them to zero.

        skipped: the optimiser took no step, as a GradScaler decides after an overflow; it does not count.

        Returns what happened to the masks, nothing if they were not due. Raises ValueError if a matrix would
        be emptied, or a weight is not finite.
        """
        if skipped:
            return []
        if regulariser := self._regulariser("proximal"):
            self._shrink(regulariser)
        self.step_count += 1
        self._set_zeros()
        if not self.method.is_due(self.step_count):
            return []
        scores = {target.name: self._score(target) for target in self.targets}
        keep = self.method.keep(self.step_count, ScoredBlocks(self.targets, self.grids, scores))
        before = self._masks
        self._set_masks({name: mask.keep & keep[name].cpu() for name, mask in before.items()})
        self._set_zeros()
        n_dropped = sum(mask.n_kept - self._masks[name].n_kept for name, mask in before.items())
        shares = {name: mask.sparsity for name, mask in self._masks.items()}
        return [MaskUpdate(self.step_count, self.level, n_dropped, 0, self.overall_sparsity(), shares)]

    def masks(self, level: Level = "pruned") -> dict[str, BlockMask]:
        """The mask of every matrix, by parameter name."""
        self._require_level(level)
        return dict(self._masks)

    def sparsity(self, level: Level = "pruned") -> dict[str, float]:
        """Layer type → fraction of its prunable weights that is dropped."""
        self._require_level(level)
        return {kind: self._share([t for t in self.targets if t.type == kind]) for kind in self.method.types}

    def overall_sparsity(self) -> float:
        """Fraction of all weights that the method may prune that is dropped."""
        return self._share(self.targets)

    def drops(self, level: Level = "pruned") -> bool:
        """Whether any block has been dropped."""
        self._require_level(level)
        return bool(self._kept_bits)

    def state_dict(self) -> dict[str, Any]:
        """Masks and step count; with the model and the optimiser, training resumes bit for bit."""
        return {
            "described": self._described(),
            "step_count": self.step_count,
            "keep": {name: mask.keep for name, mask in self._masks.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave; ValueError if it is of another method or other matrices."""
        self._require_like(state, "method")
        self.load_masks(state)
        self.step_count = state["step_count"]

    def load_masks(self, state: Mapping[str, Any]) -> None:
        """Takes up the masks of a state, whatever the method was; ValueError if it has other matrices."""
        self._require_like(state, "matrices")
        self._set_masks({name: keep.cpu() for name, keep in state["keep"].items()})
        self._set_zeros()

    def _require_like(self, state: Mapping[str, Any], what: str) -> None:
        saved, own = state["described"][what], self._described()[what]
        if saved != own:
            raise ValueError(
                f"cannot resume: the saved pruning has other {what}, {saved}; this one has {own}. Resume "
                "with the model, method and block it was saved with"
            )

    def _require_level(self, level: Level) -> None:
        if not isinstance(level, str):
            raise ValueError(f"a pruned model has one level and no path: name it `{self.level}`; got {level}")
        self.levels.require(level)

    def _described(self) -> dict[str, Any]:
        return {
            "method": repr(self.method),
            "matrices": {
                name: [grid.rows, grid.columns, grid.gates, str(grid.block)]
                for name, grid in self.grids.items()
            },
        }

    def _regulariser(self, step: Step) -> Regulariser | None:
        """What regularises the update at hand by such a step."""
        found = self.options.regulariser
        if found is None or found.step != step:
            return None
        return found if found.until is None or self.step_count < found.until else None

    def _add_slopes(self, regulariser: Regulariser) -> None:
        for target in self.targets:
            if target.parameter.grad is None:
                raise RuntimeError(
                    f"no gradient has reached `{target.name}` inside `at`: call backward inside the block"
                )
            slope = regulariser.slope(target.parameter.detach(), self.grids[target.name])
            target.parameter.grad.add_(slope)

    def _shrink(self, regulariser: Regulariser) -> None:
        assert self._optimiser is not None
        rates = rates_of(self._optimiser, [target.parameter for target in self.targets])
        with torch.no_grad():
            for target, rate in zip(self.targets, rates, strict=True):
                regulariser.shrink(target.parameter, self.grids[target.name], rate)

    def _score(self, target: Target) -> Tensor:
        weight = target.parameter.detach()
        score = self.method.criterion.score(Evidence(weight.float()), self.grids[target.name])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(score)
            score /= dist.get_world_size()
        if not torch.isfinite(score).all():
            raise ValueError(
                f"the weights of `{target.name}` are not finite at step {self.step_count}: lower the "
                "learning rate, or clip gradients"
            )
        is_kept = self._masks[target.name].keep.to(score.device)
        return score.masked_fill(~is_kept, -1.0)  # what is dropped comes after all zeros that are not

    def _set_masks(self, keep: Mapping[str, Tensor]) -> None:
        self._masks = {name: BlockMask(keep[name], grid) for name, grid in self.grids.items()}
        self._kept_bits = {
            target.name: self._bits_of(target)
            for target in self.targets
            if self._masks[target.name].n_kept < self.grids[target.name].n_blocks
        }

    def _bits_of(self, target: Target) -> Tensor:
        weights = bits(target.parameter)
        return kept_bits(self._masks[target.name].dropped_weights()).to(weights.device, weights.dtype)

    def _set_zeros(self) -> None:
        for target in self.targets:
            if target.name in self._kept_bits:
                bits(target.parameter).bitwise_and_(self._kept_bits[target.name])

    def _share(self, targets: Sequence[Target]) -> float:
        n_weights = sum(target.parameter.numel() for target in targets)
        n_dropped = sum(self._masks[target.name].n_dropped_weights for target in targets)
        return n_dropped / n_weights if n_weights else 0.0


def _keeping(kept: Tensor) -> Callable[[Tensor], None]:
    """A hook that takes from a parameter the gradient of its dropped weights."""

    def keep(parameter: Tensor) -> None:
        assert parameter.grad is not None
        bits(parameter.grad).bitwise_and_(kept)

    return keep


def _require_blocks(target: Target, block: BlockShape) -> None:
    """Raises ValueError if a block is larger than a gate of the matrix."""
    rows, columns = target.parameter.shape
    if block.rows > rows // target.gates or block.columns > columns:
        of_gates = f" of {target.gates} gates" if target.gates > 1 else ""
        raise ValueError(
            f"a block of {block} is larger than `{target.name}`, {rows} x {columns}{of_gates}: take smaller "
            "blocks, or exclude the matrix"
        )


AnySparsity: TypeAlias = DynamicSparsity | Pruning
