"""What a model file says of itself, as values; `schema` writes and reads them as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sparrot.architecture import AnyArchitecture
from sparrot.features import FeatureConfig
from sparrot.model_file.layout import MatrixLayout
from sparrot.text import SentencePieceTokens, Tokens

Measured: TypeAlias = Mapping[str, Mapping[str, float]]  # set → wer, cer, words


@dataclass(frozen=True)
class ModelDescription:
    """What a model is, whatever its level.

    chunk_frames:  output frames that a stream computes at once.
    licence:       of the weights, as an SPDX expression or a sentence.
    provenance:    where the weights come from: corpora, commit, command; any JSON object.
    configuration: of the training, resolved; any JSON object.

    Raises ValueError if features or tokens do not fit the architecture.
    """

    architecture: AnyArchitecture
    features: FeatureConfig
    tokens: Tokens
    chunk_frames: int
    licence: str
    provenance: Mapping[str, Any]
    configuration: Mapping[str, Any]
    name: str

    def __post_init__(self) -> None:
        if self.features.input_width != self.architecture.input_width:
            raise ValueError(
                f"the features have {self.features.input_width} values a frame, and the architecture reads "
                f"{self.architecture.input_width}"
            )
        if self.tokens.n_tokens != self.architecture.n_tokens:
            raise ValueError(
                f"there are {self.tokens.n_tokens} tokens, and the architecture puts out "
                f"{self.architecture.n_tokens}"
            )
        if self.chunk_frames < 1 or not self.licence or not self.name:
            raise ValueError("a model needs a name, a licence and chunks of at least one frame")

    @property
    def sentencepiece(self) -> bytes:
        """The sentencepiece model of its tokens; empty if they are characters."""
        return self.tokens.model if isinstance(self.tokens, SentencePieceTokens) else b""


@dataclass(frozen=True, kw_only=True)
class LevelDescription:
    """One level of a model: a sparsity that can be chosen while it runs.

    stop:             index of the stop at which its weights end; 0 is the sparsest.
    targets:          sparsity asked of each layer type.
    sparsity:         share of the weights of each layer type that it drops.
    overall_sparsity: share of all parameters that it drops, biases counted.
    parameters:       weights that it keeps, biases counted.
    measured:         accuracy by data set: `wer` and `cer` (1 = 100 %) over `words` words.
    blank_penalty:    subtracted from the blank's log-probability before the search.
    emission_delay_s: subtracted from the times of tokens.
    confidence_temperature: see `sparrot.engine.words.confidence`.
    """

    name: str
    stop: int
    targets: Mapping[str, float]
    sparsity: Mapping[str, float]
    overall_sparsity: float
    parameters: int
    measured: Measured = field(default_factory=dict)
    blank_penalty: float = 0.0
    emission_delay_s: float = 0.0
    confidence_temperature: float = 1.0


@dataclass(frozen=True)
class Calibration:
    """What a level decodes with beside its weights, and how accurate that is; see `LevelDescription`."""

    blank_penalty: float
    confidence_temperature: float
    measured: Measured


@dataclass(frozen=True)
class Stop:
    """A byte of the data section at which a level may end.

    end:              that byte.
    crc32:            of the stop's own range, from the end of the stop before it.
    overall_sparsity: share of all parameters dropped there.
    blocks:           blocks kept there of each matrix that a level prunes.
    groups:           groups (tiles, weights: what its layout counts) that the stop's own segment adds to it.
    """

    end: int
    crc32: int
    overall_sparsity: float
    blocks: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True)
class FileDescription:
    """The whole description.

    matrices: how each is stored, in the order of the architecture.
    stops:    sparsest first; levels: densest first.
    """

    model: ModelDescription
    matrices: tuple[MatrixLayout, ...]
    stops: tuple[Stop, ...]
    levels: tuple[LevelDescription, ...]
