"""The configuration of a training run: validated values, every key documented here."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sparrot.features import FeatureConfig
from sparrot.nn import Encoder, Front, Predictor, build_architecture
from sparrot.train.pruning_config import PruningConfig
from sparrot.train.section import Section, refuse_unused
from sparrot.train.sparsity_config import SparsityConfig


class DataConfig(Section):
    """Which utterances are trained on and how they are batched."""

    train: list[str] = Field(min_length=1, description="Manifests; `packaged:train` is the packaged one.")
    dev: list[str] = Field(min_length=1, description="Manifests that choose the best checkpoint.")
    test: dict[str, str] = Field(default={}, description="Name → manifest; decoded by `sparrot eval` only.")
    strings: int | None = Field(
        default=None,
        ge=1,
        description="Join the recordings to this many connected strings, drawn anew each epoch.",
    )
    batch_seconds: float = Field(
        default=60.0, gt=0, description="Longest batch, padding included, before speed is changed."
    )
    max_seconds: float | None = Field(
        default=None, gt=0, description="Longer training utterances are left out."
    )
    allow_empty: bool = Field(
        default=False, description="Train on utterances without text too: noise, in which nothing is said."
    )
    skip_too_short: bool = Field(default=False, description="Leave out utterances too short for their text.")


class TokensConfig(Section):
    """What the network writes."""

    kind: Literal["characters", "sentencepiece"] = "characters"
    size: int | None = Field(
        default=None, ge=2, description="Tokens of a sentencepiece model, blank included."
    )
    texts: list[str] = Field(
        default=[],
        description="Text files that pieces are found in besides the transcripts, a sentence a line; they "
        "are normalised, and characters that no transcript has are left out.",
    )

    @model_validator(mode="after")
    def _size_fits_kind(self) -> "TokensConfig":
        if (self.size is None) == (self.kind == "sentencepiece"):
            raise ValueError("`size` is given for sentencepiece tokens, and only for them")
        if self.texts and self.kind != "sentencepiece":
            raise ValueError("`texts` are for sentencepiece tokens: characters are those of transcripts")
        return self


class SpecAugment(Section):
    """Masks bands of values and spans of frames (Park et al. 2019), to the mean."""

    frequency_masks: int = Field(default=2, ge=0)
    frequency_width: int = Field(default=5, ge=1, description="Widest band, in feature values.")
    time_masks: int = Field(default=2, ge=0)
    time_width: int = Field(default=25, ge=1, description="Longest span, in feature frames.")
    time_share: float = Field(
        default=0.2, gt=0, le=1, description="Longest span, as a share of the utterance."
    )


class Noise(Section):
    """Mixes recordings of noise into speech."""

    manifest: str
    probability: float = Field(default=0.5, gt=0, le=1)
    snr_db: tuple[float, float] = Field(default=(5.0, 25.0), description="Drawn evenly between the two.")

    @field_validator("snr_db")
    @classmethod
    def _rises(cls, given: tuple[float, float]) -> tuple[float, float]:
        return _rising(given)


class AugmentConfig(Section):
    """What is done to training utterances; anew each epoch, from the seed."""

    speed: tuple[float, ...] = Field(default=(), description="Factors drawn evenly, such as [0.9, 1.0, 1.1].")
    gain_db: tuple[float, float] | None = Field(
        default=None, description="Level change drawn between the two."
    )
    trim: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="Cut up to this share off half of all starts and ends; needs data.strings.",
    )
    rotate: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of recordings heard from a random point, then from the start; needs data.strings.",
    )
    noise: Noise | None = None
    spec: SpecAugment | None = None

    @field_validator("speed")
    @classmethod
    def _within_reason(cls, speed: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.5 <= factor <= 2.0 for factor in speed):
            raise ValueError("speed factors lie between 0.5 and 2")
        return speed

    @field_validator("gain_db")
    @classmethod
    def _rises(cls, given: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if given is None else _rising(given)


class OptimiserConfig(Section):
    """How weights are updated."""

    kind: Literal["sgd", "nesterov", "adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, description="The peak of the schedule.")
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.99, ge=0, lt=1, description="Of nesterov.")
    clip_norm: float | None = Field(default=5.0, gt=0, description="Largest norm of the whole gradient.")

    @model_validator(mode="after")
    def _only_nesterov_has_momentum(self) -> "OptimiserConfig":
        if self.kind == "nesterov" and self.momentum == 0.0:
            raise ValueError("nesterov needs a `momentum` above 0; without one choose sgd")
        refuse_unused(self, "nesterov", "momentum")
        return self


class ScheduleConfig(Section):
    """How the learning rate moves; shares are of all optimiser steps."""

    kind: Literal["constant", "step", "one_cycle"] = "one_cycle"
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share in which the rate rises linearly from 0."
    )
    decay: float = Field(default=0.5, gt=0, lt=1, description="Factor of `step`, applied …")
    every: float = Field(
        default=0.1, gt=0, le=1, description="… each time this share has passed after the warm-up."
    )

    @model_validator(mode="after")
    def _only_step_has_steps(self) -> "ScheduleConfig":
        refuse_unused(self, "step", "decay", "every")
        return self


class TrainingConfig(Section):
    """How long, and what is kept."""

    epochs: int = Field(ge=1)
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    eval_every: int = Field(default=1, ge=1, description="Epochs between evaluations on dev.")
    average: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Evaluate and export a moving average of the parameters, with this weight of the past.",
    )
    init_from: str | None = Field(
        default=None,
        description="Run folder or checkpoint whose weights training starts from. Its recurrent and fully "
        "connected layers may be narrower by a whole factor.",
    )
    ctc_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of CTC in the loss of a transducer's encoder."
    )
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; None = torch's choice.")


class Config(Section):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    seed: int = Field(default=1, ge=0, le=(1 << 63) - 1)
    licence: str = Field(
        default="unspecified", min_length=1, description="Of the weights; written into the model file."
    )
    data: DataConfig
    features: FeatureConfig
    tokens: TokensConfig = TokensConfig()
    front: Front = Front()
    encoder: Encoder = Encoder()
    predictor: Predictor | None = Field(
        default=None, description="Makes a transducer; without this section a CTC recogniser is trained."
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="After recurrent layers, and linear ones before them.",
    )
    chunk_frames: int = Field(default=8, ge=1, description="Output frames a streaming chunk.")
    augment: AugmentConfig = AugmentConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    sparsity: SparsityConfig | None = None
    pruning: PruningConfig | None = None
    training: TrainingConfig

    @field_validator("features", mode="before")
    @classmethod
    def _features(cls, given: Any) -> Any:
        return FeatureConfig.from_json(given) if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _options_fit_together(self) -> "Config":
        waves = {
            "augment.speed": bool(self.augment.speed),
            "augment.noise": self.augment.noise is not None,
            "augment.gain_db": self.augment.gain_db is not None,
            "data.strings": self.data.strings is not None,
        }
        wrong = [name for name, used in waves.items() if used]
        if self.features.kind == "given" and wrong:
            raise ValueError(f"given features have no waveform, which {', '.join(wrong)} would change")
        if self.sparsity is not None and self.pruning is not None:
            raise ValueError(
                "`sparsity` trains one model at many levels, and `pruning` makes it sparse for good: leave "
                "one out"
            )
        pruning = self.pruning
        needs_dense = pruning is not None and pruning.method == "threshold" and pruning.dense is None
        if needs_dense and self.training.init_from is None:
            raise ValueError(
                "a threshold takes its slopes from a dense model: name its run in `pruning.dense`, or start "
                "from it with `training.init_from`"
            )
        if self.training.ctc_share > 0.0 and self.predictor is None:
            raise ValueError(
                "training.ctc_share is CTC's share in the loss of a transducer; without a `predictor` "
                "section all of it is CTC, so leave it out"
            )
        for name in ("trim", "rotate"):
            if getattr(self.augment, name) > 0.0 and self.data.strings is None:
                raise ValueError(
                    f"augment.{name} cuts the recordings of strings; set data.strings, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _makes_a_network(self) -> "Config":
        any_tokens = 2
        width = self.features.input_width
        network = build_architecture(width, self.front, self.encoder, any_tokens, self.predictor)
        types = {matrix.type for matrix in network.matrices() if matrix.prunable}
        self._require_types("sparsity.levels prune", self._pruned_by_levels(), types)
        self._require_types(
            "pruning.sparsity prunes", set(self.pruning.sparsity) if self.pruning else set(), types
        )
        switches = self.sparsity is not None and self.sparsity.switching is not None
        if switches and (self.encoder.batch_norm or not network.streaming):
            raise ValueError(
                "a pass that switches needs an encoder that runs forwards in time alone, without batch norm; "
                "leave out sparsity.switching, or encoder.bidirectional and encoder.batch_norm"
            )
        return self

    def _pruned_by_levels(self) -> set[str]:
        levels = {} if self.sparsity is None else self.sparsity.levels
        return {kind for targets in levels.values() for kind in targets}

    def _require_types(self, who: str, pruned: set[str], types: set[str]) -> None:
        unknown = sorted(pruned - types)
        if unknown:
            raise ValueError(f"{who} {', '.join(unknown)} layers; the network has {', '.join(sorted(types))}")


def _rising(given: tuple[float, float]) -> tuple[float, float]:
    low, high = given
    if low > high:
        raise ValueError(f"a range is written low end first; got {low} to {high}")
    return given
