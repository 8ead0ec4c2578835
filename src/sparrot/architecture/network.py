"""A network: its layers in order, checked, and as JSON."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

from sparrot.architecture.layers import Embedding, Layer, Recurrent, SharedRnn
from sparrot.architecture.parts import Matrix, Shape, Vector

_KINDS: dict[str, type[Layer]] = {layer.kind: layer for layer in get_args(Layer)}


@dataclass(frozen=True)
class Architecture:
    """Layers from features (n_frames, input_width) to token logits (n_output_frames, n_tokens).

    As a part of a transducer its last layer puts out the joint's values, and `n_tokens` counts those.
    """

    input_width: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        layers = [layer.name for layer in self.layers]
        if not layers or self.input_width < 1:
            raise ValueError(f"need an input value and a layer at least; got {self.input_width} and {layers}")
        for layer in self.layers[1:]:
            if isinstance(layer, Embedding):
                raise ValueError(f"layer `{layer.name}` looks tokens up, which only a first layer can do")
        parameters = [matrix.name for matrix in self.matrices()] + [vector.name for vector in self.vectors()]
        for what, names in (("layers", layers), ("parameters", parameters)):
            for name, n_times in Counter(names).items():
                if n_times > 1:
                    raise ValueError(f"an architecture has two {what} named `{name}`; rename a layer")

    def shapes(self) -> list[Shape]:
        """What enters each layer, then what leaves the last: len(layers) + 1 shapes."""
        shapes = [Shape(self.input_width)]
        for layer in self.layers:
            shapes.append(layer.output(shapes[-1]))
        return shapes

    @property
    def encoder(self) -> "Architecture":
        """What runs once a frame, whatever is said: all of it, as `Transducer.encoder` is a part."""
        return self

    @property
    def n_indices(self) -> int | None:
        """Tokens that a frame may name, if it is the index of one; None if frames are values."""
        first = self.layers[0]
        return first.tokens if isinstance(first, Embedding) else None

    @property
    def n_tokens(self) -> int:
        """Width of the logits."""
        return self.shapes()[-1].width

    @property
    def streaming(self) -> bool:
        """False if a layer runs backwards in time, so that only whole utterances can be decoded."""
        return not any(
            isinstance(layer, SharedRnn) or (isinstance(layer, Recurrent) and layer.bidirectional)
            for layer in self.layers
        )

    @property
    def reduction(self) -> int:
        """Feature frames an output frame: R, the product of all strides."""
        return prod(layer.reach().stride for layer in self.layers)

    @property
    def lookahead(self) -> int:
        """Feature frames after j·R that output frame j needs, itself not counted."""
        right, stride = 0, 1
        for layer in self.layers:
            right += layer.reach().right * stride
            stride *= layer.reach().stride
        return right

    def output_frames(self, n_frames: int) -> int:
        """Output frames of a segment of `n_frames` feature frames."""
        for layer in self.layers:
            n_frames = layer.reach().output_frames(n_frames)
        return n_frames

    def matrices(self) -> list[Matrix]:
        """Every weight matrix, in the order it is used."""
        pairs = zip(self.layers, self.shapes(), strict=False)
        return [matrix for layer, given in pairs for matrix in layer.matrices(given)]

    def vectors(self) -> list[Vector]:
        """Every bias, scale and shift, in the order it is used."""
        pairs = zip(self.layers, self.shapes(), strict=False)
        return [vector for layer, given in pairs for vector in layer.vectors(given)]

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same architecture."""
        return {"input_width": self.input_width, "layers": [layer_to_json(layer) for layer in self.layers]}

    @classmethod
    def from_json(cls, described: Any) -> "Architecture":
        """The architecture of `to_json`. Raises ValueError on an unknown layer, field or type."""
        if not isinstance(described, Mapping) or set(described) != {"input_width", "layers"}:
            raise ValueError("an architecture is an object with `input_width` and `layers`")
        width, layers = described["input_width"], described["layers"]
        if type(width) is not int or not isinstance(layers, Sequence) or isinstance(layers, str):
            raise ValueError("`input_width` must be a whole number and `layers` a list")
        return cls(width, tuple(layer_from_json(layer) for layer in layers))


def layer_to_json(layer: Layer) -> dict[str, Any]:
    """A JSON object from which `layer_from_json` makes the same layer."""
    return {"kind": layer.kind, **dataclasses.asdict(layer)}


def layer_from_json(described: Any) -> Layer:
    """The layer of `layer_to_json`. Raises ValueError on an unknown kind, field or type."""
    kind = described.get("kind") if isinstance(described, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"a layer's `kind` must be one of {', '.join(_KINDS)}; got {described!r}")
    layer = _KINDS[kind]
    given = {key: value for key, value in described.items() if key != "kind"}
    expected = {field.name: field for field in dataclasses.fields(layer)}
    required = {name for name, field in expected.items() if field.default is dataclasses.MISSING}
    if not required <= set(given) <= set(expected):
        raise ValueError(f"a {layer.kind} layer has the fields {sorted(expected)}; got {sorted(given)}")
    for name, value in given.items():
        if not _fits(expected[name].type, value):
            raise ValueError(f"field `{name}` of a {layer.kind} layer cannot be {value!r}")
    return layer(**given)


def _fits(annotation: Any, value: Any) -> bool:
    """Whether a JSON value may stand in a layer's field; names of cells are checked by the layer."""
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return type(value) is int  # a bool is none
    if annotation == int | None:
        return value is None or type(value) is int
    return isinstance(value, str)
