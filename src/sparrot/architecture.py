"""What a recogniser computes: a list of layers, the same for training and for running.

Frames are rows: every layer turns (n_frames, width) into (n_frames', width'). Training builds torch modules
from an `Architecture`, the engine executes it, the model file stores it; none knows more of a network.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal, TypeAlias, get_args

Cell: TypeAlias = Literal["lstm", "gru", "rnn"]
Activation: TypeAlias = Literal["identity", "relu", "clipped_relu", "tanh"]

GATES: dict[str, int] = {"lstm": 4, "gru": 3, "rnn": 1}
CLIP = 20.0  # ceiling of the clipped ReLU, min(max(x, 0), 20) (Hannun et al. 2014, sec. 2)


@dataclass(frozen=True)
class Matrix:
    """One weight matrix, stored (rows, columns) = (outputs, inputs).

    name:  `layer.part`, for example `lstm0.recurrent`.
    gates: row groups of equal size, in torch's order: 4 in an LSTM, 3 in a GRU, otherwise 1.
    type:  what `Levels` calls it: lstm, gru, rnn, fc or conv.
    """

    name: str
    rows: int
    columns: int
    gates: int
    type: str

    @property
    def size(self) -> int:
        """Weights in the matrix."""
        return self.rows * self.columns

    @property
    def prunable(self) -> bool:
        """Whether a level may drop blocks of it: every recurrent and fully connected matrix."""
        return self.type != "conv"


@dataclass(frozen=True)
class Vector:
    """One bias, scale or shift of `size` values in `gates` equal groups."""

    name: str
    size: int
    gates: int = 1


@dataclass(frozen=True)
class Shape:
    """What flows between two layers: `channels` planes of `bins` values a frame, channels first."""

    bins: int
    channels: int = 1

    @property
    def width(self) -> int:
        """Values a frame."""
        return self.bins * self.channels


@dataclass(frozen=True)
class Reach:
    """The input frames that one output frame sees: j·stride − left … j·stride + right."""

    left: int = 0
    right: int = 0
    stride: int = 1

    def output_frames(self, n_frames: int) -> int:
        """Output frames of `n_frames` input frames; a partial last stride is completed with zeros."""
        return -(-n_frames // self.stride)


@dataclass(frozen=True)
class Window:
    """Concatenates neighbouring frames; zeros stand in for those outside the segment.

        y[j] = [x[j·stride − left], …, x[j·stride + right]]

    A context window is (n, n, 1), stacking f frames is (0, f − 1, f), and a time reduction by r
    between two recurrent layers is (0, r − 1, r).
    """

    kind: ClassVar[str] = "window"
    name: str
    left: int
    right: int
    stride: int = 1

    def __post_init__(self) -> None:
        _require(self, "left", self.left >= 0)
        _require(self, "right", self.right >= 0)
        _require(self, "stride", self.stride >= 1)

    def reach(self) -> Reach:
        """The frames it sees."""
        return Reach(self.left, self.right, self.stride)

    def output(self, given: Shape) -> Shape:
        """Its frames side by side."""
        return Shape(given.width * (self.left + 1 + self.right))

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """None."""
        yield from ()

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """None."""
        yield from ()


@dataclass(frozen=True)
class Convolution:
    """A convolution over time and, unless `kernel_bins` is None, over the bins of each channel.

        y[j, o, b] = act(b_o + Σ_{i, t, k} w[o, i, t, k] · x[j·stride + t − left, i, b·stride_bins + k − p])

    left = (kernel − 1) // 2 and p = (kernel_bins − 1) // 2, zeros outside. `kernel_bins = None`
    spans all bins without padding: a 1-D convolution over time. The matrix `kernel` is stored
    (channels, in_channels · kernel · kernel_bins), the time index before the bin.
    """

    kind: ClassVar[str] = "convolution"
    name: str
    channels: int
    kernel: int
    stride: int = 1
    kernel_bins: int | None = None
    stride_bins: int = 1
    activation: Activation = "clipped_relu"

    def __post_init__(self) -> None:
        for field in ("channels", "kernel", "stride", "stride_bins"):
            _require(self, field, getattr(self, field) >= 1)
        _require(self, "kernel_bins", self.kernel_bins is None or self.kernel_bins >= 1)
        _require(self, "activation", self.activation in _ACTIVATIONS)

    def reach(self) -> Reach:
        """The frames it sees, centred on j·stride."""
        left = (self.kernel - 1) // 2
        return Reach(left, self.kernel - 1 - left, self.stride)

    def output(self, given: Shape) -> Shape:
        """`channels` planes; ⌈bins / stride_bins⌉ bins when it also runs over bins (odd kernels)."""
        if self.kernel_bins is None:
            return Shape(1, self.channels)
        padded = given.bins + 2 * ((self.kernel_bins - 1) // 2)
        if padded < self.kernel_bins:
            raise ValueError(f"layer `{self.name}` makes an empty matrix of 1 bin; choose an odd kernel_bins")
        return Shape((padded - self.kernel_bins) // self.stride_bins + 1, self.channels)

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """`kernel`, which no level prunes."""
        columns = given.channels * self.kernel * (self.kernel_bins or given.bins)
        yield Matrix(f"{self.name}.kernel", self.channels, columns, 1, "conv")

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """`bias`."""
        yield Vector(f"{self.name}.bias", self.channels)


@dataclass(frozen=True)
class Recurrent:
    """One recurrent layer; two directions are concatenated, forward first.

    LSTM gates are input, forget, candidate, output; GRU gates reset, update, candidate (torch's
    orders and equations). `projection` (LSTM only; Sak et al. 2014) multiplies h by a (projection,
    cells) matrix before it leaves the cell. The two biases of torch are stored as their sum, save
    for the GRU's candidate, whose recurrent bias sits inside the reset product.
    """

    kind: ClassVar[str] = "recurrent"
    name: str
    cell: Cell
    cells: int
    projection: int | None = None
    bidirectional: bool = False

    def __post_init__(self) -> None:
        _require(self, "cell", self.cell in GATES)
        _require(self, "cells", self.cells >= 1)
        _require(self, "projection", self.projection is None or 1 <= self.projection < self.cells)
        _require(self, "projection", self.projection is None or self.cell == "lstm")

    @property
    def hidden(self) -> int:
        """Width of the recurrent state that is fed back."""
        return self.projection or self.cells

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Names of its directions: the parameters of the second are `<name>.reverse.<part>`."""
        return (self.name, f"{self.name}.reverse") if self.bidirectional else (self.name,)

    def reach(self) -> Reach:
        """One frame; what a recurrent layer remembers is its state."""
        return Reach()

    def output(self, given: Shape) -> Shape:
        """The h of each direction."""
        return Shape(self.hidden * len(self.prefixes))

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """`input`, `recurrent` and `projection` of each direction, in the order they are used."""
        gates, rows = GATES[self.cell], GATES[self.cell] * self.cells
        for prefix in self.prefixes:
            yield Matrix(f"{prefix}.input", rows, given.width, gates, self.cell)
            yield Matrix(f"{prefix}.recurrent", rows, self.hidden, gates, self.cell)
            if self.projection is not None:
                yield Matrix(f"{prefix}.projection", self.projection, self.cells, 1, self.cell)

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """`bias`, and `candidate_bias` in a GRU."""
        for prefix in self.prefixes:
            yield Vector(f"{prefix}.bias", GATES[self.cell] * self.cells, GATES[self.cell])
            if self.cell == "gru":
                yield Vector(f"{prefix}.candidate_bias", self.cells)


@dataclass(frozen=True)
class LayerNorm:
    """Normalises each frame (Ba et al. 2016): (x − mean) / √(variance + 1e-5) · scale + shift."""

    kind: ClassVar[str] = "layer_norm"
    name: str
    epsilon: ClassVar[float] = 1e-5

    def reach(self) -> Reach:
        """One frame."""
        return Reach()

    def output(self, given: Shape) -> Shape:
        """As it came."""
        return given

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """None."""
        yield from ()

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """`scale` and `shift`."""
        yield Vector(f"{self.name}.scale", given.width)
        yield Vector(f"{self.name}.shift", given.width)


@dataclass(frozen=True)
class Linear:
    """A fully connected layer, y = act(W x + bias)."""

    kind: ClassVar[str] = "linear"
    name: str
    size: int
    activation: Activation = "identity"

    def __post_init__(self) -> None:
        _require(self, "size", self.size >= 1)
        _require(self, "activation", self.activation in _ACTIVATIONS)

    def reach(self) -> Reach:
        """One frame."""
        return Reach()

    def output(self, given: Shape) -> Shape:
        """`size` values."""
        return Shape(self.size)

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """`weight`."""
        yield Matrix(f"{self.name}.weight", self.size, given.width, 1, "fc")

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """`bias`."""
        yield Vector(f"{self.name}.bias", self.size)


Layer: TypeAlias = Window | Convolution | Recurrent | LayerNorm | Linear

_ACTIVATIONS = get_args(Activation)
_KINDS: dict[str, type[Layer]] = {layer.kind: layer for layer in get_args(Layer)}


@dataclass(frozen=True)
class Architecture:
    """Layers from features (n_frames, input_width) to token logits (n_output_frames, n_tokens)."""

    input_width: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        layers = [layer.name for layer in self.layers]
        if not layers or self.input_width < 1:
            raise ValueError(f"need an input value and a layer at least; got {self.input_width} and {layers}")
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
    def n_tokens(self) -> int:
        """Width of the logits."""
        return self.shapes()[-1].width

    @property
    def streaming(self) -> bool:
        """False if a layer runs backwards in time, so that only whole utterances can be decoded."""
        return not any(isinstance(layer, Recurrent) and layer.bidirectional for layer in self.layers)

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
        layers = [{"kind": layer.kind, **dataclasses.asdict(layer)} for layer in self.layers]
        return {"input_width": self.input_width, "layers": layers}

    @classmethod
    def from_json(cls, described: Any) -> "Architecture":
        """The architecture of `to_json`. Raises ValueError on an unknown layer, field or type."""
        if not isinstance(described, Mapping) or set(described) != {"input_width", "layers"}:
            raise ValueError("an architecture is an object with `input_width` and `layers`")
        width, layers = described["input_width"], described["layers"]
        if type(width) is not int or not isinstance(layers, Sequence) or isinstance(layers, str):
            raise ValueError("`input_width` must be a whole number and `layers` a list")
        return cls(width, tuple(_layer_from_json(layer) for layer in layers))


def _layer_from_json(described: Any) -> Layer:
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


def _require(layer: Any, field: str, holds: object) -> None:
    if not holds:
        raise ValueError(f"layer `{layer.name}`: {field} cannot be {getattr(layer, field)!r}")
