"""The configuration of dynamic sparsity."""

import re
from dataclasses import replace
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sparrot.model_file.layout import MAX_STOPS
from sparrot.sparsity import (
    BlockShape,
    Criterion,
    CubicSchedule,
    DynamicOptions,
    Levels,
    Magnitude,
    Ramps,
    WeightChange,
    WeightGradient,
    WeightGradientSum,
)
from sparrot.train.section import Section

_LEVEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MANY_STEPS = 1_000_000  # of a run that no rounding of shares to steps disturbs


class SparsityConfig(Section):
    """Dynamic sparsity; without this section a dense model is trained."""

    levels: dict[str, dict[str, float]] = Field(description="Name → layer type → sparsity, densest first.")
    block: str = "16x1"
    begin: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the steps before sparsity grows: the full model alone."
    )
    initial: float = Field(default=0.0, ge=0, le=1, description="Share of the target it grows from.")
    end: float = Field(default=0.4, gt=0, le=1, description="Share at which it reaches its target.")
    freeze: float | None = Field(
        default=0.7, gt=0, le=1, description="Share from which masks no longer change."
    )
    freeze_order: Literal["together", "sparsest_first"] = Field(
        default="together",
        description="`sparsest_first`: each level has a ramp of its own and freezes where that ends, the "
        "sparsest at `end`, the densest at `freeze`.",
    )
    freeze_weights: dict[str, float] = Field(
        default={},
        description="Level → share from which the weights of its blocks stand still, sparsest level first, "
        "none before its masks.",
    )
    mask_every: int = Field(default=100, ge=1, description="Steps between mask updates.")
    criterion: Literal["weight_gradient", "weight_gradient_sum", "weight_change", "max", "l1", "l2"] = (
        "weight_gradient"
    )
    gradient: Literal["full", "accumulated", "straight_through"] = Field(
        default="full",
        description="That scores a block: the full model's; the sum that the optimiser gets; or the sum over "
        "all passes of the gradients at every weight, dropped ones too.",
    )
    scope: Literal["matrix", "type", "global"] = Field(
        default="matrix",
        description="Where blocks compete: within a matrix, a layer type, or the whole model, where only a "
        "level's total over all its layer types is kept.",
    )
    smoothing: float = Field(
        default=0.99, ge=0, lt=1, description="Weight of the past in the average of scores, a step."
    )
    nested: bool = Field(
        default=True, description="False trains independent masks; export needs nested ones."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Patterns of parameters that no level prunes.")
    distillation: float = Field(
        default=0.5, ge=0, le=1, description="Share of the full model's output in the loss."
    )
    dropout: dict[str, float] = Field(
        default={},
        description="Level → probability of dropout in its passes, in place of the model's `dropout`: a "
        "sparse level has fewer weights to overfit with.",
    )
    sample: Literal["levels", "path"] | None = Field(
        default=None,
        description="Passes of an update beside the full model's and the sparsest level's: null, all levels; "
        "`levels`, one of the others, drawn anew; `path`, any sparsity between them.",
    )
    switching: tuple[float, float] | None = Field(
        default=None,
        description="Shortest and longest seconds at a level, of one more pass of every update, in which the "
        "level changes inside the utterances.",
    )
    products: Literal["blocks", "dense"] = Field(
        default="blocks",
        description="`blocks`: an LSTM layer skips what a level drops, if that is 30 % of it or more, blocks "
        "have 16, 32, … rows, and the level's own pass is not scored. `dense`: it multiplies by zeros.",
    )

    @field_validator("levels")
    @classmethod
    def _can_be_named(cls, levels: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        wrong = [name for name in levels if name == "all" or not _LEVEL_NAME.fullmatch(name)]
        if wrong:
            raise ValueError(
                "a level's name begins with a letter or digit, goes on with these, `.`, `_` and `-`, and is "
                f"not `all`, so that commands can name it; got {', '.join(map(repr, wrong))}"
            )
        if len(levels) > MAX_STOPS:
            raise ValueError(f"a model file holds {MAX_STOPS} levels; got {len(levels)}, so leave some out")
        return levels

    @field_validator("block")
    @classmethod
    def _is_a_block(cls, block: str) -> str:
        BlockShape.parse(block)
        return block

    @field_validator("dropout")
    @classmethod
    def _are_probabilities(cls, dropout: dict[str, float]) -> dict[str, float]:
        wrong = {level: p for level, p in dropout.items() if not 0.0 <= p < 1.0}
        if wrong:
            raise ValueError(f"a probability of dropout is at least 0 and below 1; got {wrong}")
        return dropout

    @field_validator("switching")
    @classmethod
    def _are_dwell_times(cls, given: tuple[float, float] | None) -> tuple[float, float] | None:
        if given is not None and not 0.0 < given[0] <= given[1]:
            raise ValueError(
                "the level stays for a time from a shortest, above 0 s, to a longest; got "
                f"{given[0]} to {given[1]} s"
            )
        return given

    @model_validator(mode="after")
    def _reaches_its_levels(self) -> "SparsityConfig":
        levels = Levels(**self.levels)
        if self.nested:
            levels.require_nested()
        if not self.begin < self.end <= (self.freeze or 1.0):
            raise ValueError(
                f"sparsity grows from `begin` to `end` and freezes then or later; got begin {self.begin}, "
                f"end {self.end} and freeze {self.freeze}"
            )
        if self.initial > 0.0 and self.begin > 0.0:
            raise ValueError("`initial` drops blocks from the first steps on, so `begin` must be 0 with it")
        self._require_dropout(levels)
        self._require_freezing(levels)
        self._require_switching(levels)
        return self

    def schedule(self, n_steps: int) -> CubicSchedule:
        """The growth of sparsity in a run of `n_steps` updates."""
        begin = round(self.begin * n_steps)
        return CubicSchedule(begin, max(round(self.end * n_steps), begin + 1), self.initial)

    def options(self, n_steps: int, seed: int = 0, exclude: tuple[str, ...] = ()) -> DynamicOptions:
        """How blocks are scored and masks renewed in a run of `n_steps` updates.

        seed: of what is drawn; exclude: more patterns of what no level prunes.
        """
        end = self.schedule(n_steps).end
        return DynamicOptions(
            criterion=self._criterion(),
            gradient=self.gradient,
            scope=self.scope,
            nested=self.nested,
            mask_every=self.mask_every,
            freeze_at=None if self.freeze is None else max(round(self.freeze * n_steps), end),
            freeze_order=self.freeze_order,
            freeze_weights_at={
                level: max(round(share * n_steps), end) for level, share in self.freeze_weights.items()
            },
            sample=self.sample,
            seed=seed,
            smoothing=self.smoothing,
            exclude=(*self.exclude, *exclude),
            products=self.products,
        )

    def _criterion(self) -> Criterion:
        match self.criterion:
            case "weight_gradient":
                return WeightGradient()
            case "weight_gradient_sum":
                return WeightGradientSum()
            case "weight_change":
                return WeightChange()
            case norm:
                return Magnitude(norm)

    def _require_dropout(self, levels: Levels) -> None:
        """Raises ValueError for a dropout of what is no sparse level."""
        unknown = [level for level in self.dropout if level not in levels.sparse]
        if unknown:
            raise ValueError(
                f"`{unknown[0]}` is none of the sparse levels, {', '.join(levels.sparse)}, and only they "
                "have a dropout of their own; the full model's is `dropout` of the recipe"
            )

    def _require_freezing(self, levels: Levels) -> None:
        """Raises ValueError for masks or weights that cannot freeze when they are told to."""
        if self.freeze is None and (self.freeze_order != "together" or self.freeze_weights):
            raise ValueError("`freeze_order` and `freeze_weights` need `freeze`, where the last masks freeze")
        options = self.options(_MANY_STEPS)
        ramps = Ramps(levels, self.schedule(_MANY_STEPS), replace(options, freeze_weights_at={}))
        for level, share in self.freeze_weights.items():
            masks = (ramps.freezes_at(level) or 0) / _MANY_STEPS if level in levels.sparse else 0.0
            if not masks <= share <= 1.0:
                raise ValueError(
                    f"level `{level}` would freeze its weights at {share:g} of the steps, and its masks at "
                    f"{masks:g}; let the masks freeze before, and both within the run"
                )
        Ramps(levels, self.schedule(_MANY_STEPS), options)

    def _require_switching(self, levels: Levels) -> None:
        """Raises ValueError for what a pass that switches cannot go together with."""
        if self.switching is None:
            return
        if not levels.sparse or not self.nested:
            raise ValueError("`switching` needs two levels or more, nested as those of a model file are")
        if self.gradient != "full":
            raise ValueError(
                "a pass that switches is not scored, so `switching` needs `gradient: full`; got "
                f"{self.gradient}"
            )
