"""A transducer: an encoder of speech, a predictor of text, and what joins them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sparrot.architecture.layers import Embedding, Layer, LayerNorm, Linear, Recurrent, Window
from sparrot.architecture.network import Architecture, layer_from_json, layer_to_json
from sparrot.architecture.parts import Matrix, Vector

_PREDICTOR_LAYERS = (Embedding, Recurrent, LayerNorm, Linear, Window)
_FIELDS = {"encoder", "predictor", "output"}


@dataclass(frozen=True)
class Transducer:
    """A recurrent transducer (Graves 2012, arXiv 1211.3711) over output frames t and tokens u.

        logits(t, u) = output · tanh(encoder_t + predictor_u) + bias

    encoder:   from features to the joint's values.
    predictor: from the tokens so far to as many values: an embedding of every token, then layers that look
               back only. It is given the blank, 0, and then the text: predictor_u has seen u tokens. With a
               window in the place of recurrent layers it is stateless: only the last few tokens count
               (Ghodsi et al. 2020).
    output:    from the joint's values to a logit for every token, the blank first.

    Raises ValueError if the parts do not fit together.
    """

    encoder: Architecture
    predictor: Architecture
    output: Linear

    def __post_init__(self) -> None:
        given, looked_up = self.encoder.n_tokens, self.predictor.n_tokens
        if given != looked_up:
            raise ValueError(
                f"the encoder puts out {given} values a frame and the predictor {looked_up} a token, and a "
                "transducer adds them: give both a last layer of the same width"
            )
        if self.predictor.n_indices != self.output.size:
            raise ValueError(
                f"the predictor of a transducer begins with an embedding of its {self.output.size} tokens; "
                f"got {self.predictor.n_indices or 'none'}"
            )
        if self.output.activation != "identity":
            raise ValueError(f"a transducer puts out its logits; got `{self.output.activation}` of them")
        for layer in self.predictor.layers:
            _require_looking_back(layer)
        for name, n_times in Counter(layer.name for layer in self.layers).items():
            if n_times > 1:
                raise ValueError(f"a transducer has two layers named `{name}`; rename one")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Those of the encoder, of the predictor, and the output."""
        return (*self.encoder.layers, *self.predictor.layers, self.output)

    @property
    def input_width(self) -> int:
        """Values of a feature frame."""
        return self.encoder.input_width

    @property
    def n_tokens(self) -> int:
        """Width of the logits."""
        return self.output.size

    @property
    def joint_width(self) -> int:
        """Values that encoder and predictor have in common."""
        return self.encoder.n_tokens

    @property
    def streaming(self) -> bool:
        """False if a layer of the encoder runs backwards in time."""
        return self.encoder.streaming

    @property
    def reduction(self) -> int:
        """Feature frames an output frame of the encoder."""
        return self.encoder.reduction

    @property
    def lookahead(self) -> int:
        """Feature frames that the encoder looks ahead, as `Architecture.lookahead`."""
        return self.encoder.lookahead

    def output_frames(self, n_frames: int) -> int:
        """Output frames of a segment of `n_frames` feature frames."""
        return self.encoder.output_frames(n_frames)

    def matrices(self) -> list[Matrix]:
        """Every weight matrix: the encoder's, the predictor's, the output's."""
        return [*self.encoder.matrices(), *self.predictor.matrices(), *self._joint().matrices()]

    def vectors(self) -> list[Vector]:
        """Every bias, scale and shift, in the same order."""
        return [*self.encoder.vectors(), *self.predictor.vectors(), *self._joint().vectors()]

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `architecture_from_json` makes the same transducer."""
        return {
            "encoder": self.encoder.to_json(),
            "predictor": self.predictor.to_json(),
            "output": layer_to_json(self.output),
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> "Transducer":
        """The transducer of `to_json`. Raises ValueError on an unknown part, layer, field or type."""
        if set(described) != _FIELDS:
            raise ValueError("a transducer is an object with `encoder`, `predictor` and `output`")
        output = layer_from_json(described["output"])
        if not isinstance(output, Linear):
            raise ValueError(f"the output of a transducer is a linear layer, not a {output.kind} layer")
        encoder = Architecture.from_json(described["encoder"])
        return cls(encoder, Architecture.from_json(described["predictor"]), output)

    def _joint(self) -> Architecture:
        return Architecture(self.joint_width, (self.output,))


AnyArchitecture: TypeAlias = Architecture | Transducer


def architecture_from_json(described: Any) -> AnyArchitecture:
    """The architecture of a `to_json`. Raises ValueError on anything else."""
    if isinstance(described, Mapping) and "encoder" in described:
        return Transducer.from_json(described)
    return Architecture.from_json(described)


def _require_looking_back(layer: Layer) -> None:
    """Raises ValueError unless a predictor can have a layer: it sees one more token at each step."""
    backwards = isinstance(layer, Recurrent) and layer.bidirectional
    ahead = layer.reach().right > 0 or layer.reach().stride > 1
    if not isinstance(layer, _PREDICTOR_LAYERS) or backwards or ahead:
        raise ValueError(
            f"layer `{layer.name}` cannot be in a predictor, which goes from one token to the next: it "
            "has an embedding, then recurrent (one way) or linear layers, layer norms, windows to the left"
        )
