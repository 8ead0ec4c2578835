"""The configuration of pruning for good."""

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sparrot.nn.half_shrink import shrink_half
from sparrot.sparsity import (
    AtOnce,
    BlockShape,
    ExactPruning,
    Gradual,
    Method,
    PruningOptions,
    Regulariser,
    Rounds,
    ThresholdPruning,
    ThresholdTimes,
    ZeroPruning,
)
from sparrot.train.section import Section

Slopes = Callable[[ThresholdTimes], dict[str, float]]


class PruningConfig(Section):
    """Pruning for good: training ends with one sparse model. Not together with `sparsity`."""

    method: Literal["gradual", "at_once", "rounds", "threshold", "penalty"] = Field(
        description="`gradual`: along a cubic, to an exact sparsity. `at_once`: once, at `begin`. `rounds`: "
        "`share` of what remains in every round, from `begin` to `end`. `threshold`: what lies under a "
        "growing threshold. `penalty`: what the penalty has brought to zero."
    )
    sparsity: dict[str, float] = Field(
        description="Layer type → sparsity; with `threshold`, the share of a dense model's weights that lie "
        "under the last threshold; with `penalty`, which reaches what it reaches, 0."
    )
    block: str = "1x1"
    begin: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps before the first are dropped."
    )
    ramp: float = Field(
        default=0.2, gt=0, lt=1, description="Share from which a threshold grows with the steeper slope."
    )
    end: float = Field(default=0.4, gt=0, le=1, description="Share at which the last are dropped.")
    every: int = Field(default=100, ge=1, description="Steps between two mask updates.")
    share: float = Field(default=0.2, gt=0, lt=1, description="Of what remains, dropped in every round.")
    scope: Literal["matrix", "type", "global"] = Field(
        default="matrix", description="Where blocks compete, except under a threshold."
    )
    ramp_factor: float = Field(default=1.5, ge=1, description="Of the slope of a threshold, from `ramp` on.")
    dense: str | None = Field(
        default=None,
        description="Run folder or checkpoint of the dense model that slopes are derived from; null, "
        "training.init_from.",
    )
    penalty: Literal["group_lasso", "l1", "l_half"] | None = None
    strength: float | None = Field(default=None, gt=0, description="λ of the penalty.")
    step: Literal["proximal", "gradient"] = Field(
        default="proximal", description="How a penalty is minimised: by a step of its own, or by its slope."
    )
    penalise: Literal["always", "until_end"] = Field(
        default="always", description="`until_end`: the penalty guides the method, and ends with it."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Patterns of parameters that are not pruned.")

    @field_validator("block")
    @classmethod
    def _is_a_block(cls, block: str) -> str:
        BlockShape.parse(block)
        return block

    @model_validator(mode="after")
    def _fits_together(self) -> "PruningConfig":
        if not self.sparsity:
            raise ValueError("`sparsity` names the layer types that are pruned; it names none")
        if (self.penalty is None) != (self.strength is None):
            raise ValueError("a `penalty` goes with its `strength`, and only with it")
        if self.method == "penalty" and self.penalty is None:
            raise ValueError("the method `penalty` needs a `penalty`: group_lasso, l1 or l_half")
        if self.penalise == "until_end" and (self.penalty is None or self.method == "penalty"):
            raise ValueError("`penalise: until_end` is for a penalty beside another method")
        self._require_order()
        self._refuse_unused()
        wrong = [
            kind for kind, share in self.sparsity.items() if (share == 0.0) != (self.method == "penalty")
        ]
        if wrong or not all(0.0 <= share < 1.0 for share in self.sparsity.values()):
            raise ValueError(
                "a sparsity is above 0 and below 1, which would leave nothing, and 0 with the method "
                f"`penalty`; got {self.sparsity}"
            )
        return self

    def make(self, n_steps: int, slopes: Slopes) -> Method:
        """The method in a run of `n_steps` updates; `slopes` derives those of a threshold."""
        begin, ramp, end = (round(share * n_steps) for share in (self.begin, self.ramp, self.end))
        match self.method:
            case "gradual":
                return self._exact(Gradual(begin, max(end, begin + 1), self.every))
            case "at_once":
                return self._exact(AtOnce(max(begin, 1)))
            case "rounds":
                n_rounds = max(Rounds(1, 1, self.share).n_rounds(target) for target in self.sparsity.values())
                every = max((end - begin) // max(n_rounds - 1, 1), 1)
                return self._exact(Rounds(max(begin, 1), every, self.share))
            case "threshold":
                times = ThresholdTimes(begin, ramp, end, self.every)
                return ThresholdPruning(times, slopes(times), self.ramp_factor)
            case "penalty":
                return ZeroPruning(tuple(self.sparsity), self.every, n_steps)

    def options(self, method: Method, exclude: Sequence[str] = ()) -> PruningOptions:
        """What goes on beside the method; exclude: more patterns of what is not pruned."""
        regulariser = None
        if self.penalty is not None and self.strength is not None:
            until = method.end if self.penalise == "until_end" else None
            regulariser = Regulariser(self.penalty, self.strength, self.step, until, shrink_half=shrink_half)
        return PruningOptions(regulariser, (*self.exclude, *exclude))

    def _exact(self, growth: AtOnce | Rounds | Gradual) -> ExactPruning:
        return ExactPruning(self.sparsity, growth, self.scope)

    def _require_order(self) -> None:
        ordered = self.begin <= self.ramp <= self.end if self.method == "threshold" else self.begin < self.end
        if self.method not in ("at_once", "penalty") and not ordered:
            ramp = f", ramp {self.ramp}" if self.method == "threshold" else ""
            raise ValueError(
                f"pruning begins, and ends later; got begin {self.begin}{ramp} and end {self.end}"
            )

    def _refuse_unused(self) -> None:
        """Raises ValueError for what the method makes no use of."""
        users = {
            "ramp": ("threshold",),
            "ramp_factor": ("threshold",),
            "dense": ("threshold",),
            "share": ("rounds",),
            "scope": ("gradual", "at_once", "rounds"),
            "end": ("gradual", "rounds", "threshold"),
            "begin": ("gradual", "at_once", "rounds", "threshold"),
        }
        fields = type(self).model_fields
        unused = [
            f"`{name}`"
            for name, methods in users.items()
            if self.method not in methods and getattr(self, name) != fields[name].default
        ]
        if self.penalty is None and self.step != "proximal":
            unused.append("`step`")
        if unused:
            raise ValueError(
                f"the method `{self.method}` makes no use of {', '.join(unused)}; leave that out"
            )
