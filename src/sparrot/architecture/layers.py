"""The layers of a network: what each makes of its frames, and which parameters it has."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, get_args

from sparrot.architecture.parts import GATES, Activation, Cell, Matrix, Reach, Shape, Vector

_ACTIVATIONS = get_args(Activation)
_EXACT = 1 << 24  # whole numbers up to it are float32


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
class SharedRnn:
    """A recurrent layer in both directions, which share their input matrix and are summed.

        f_t = act(a_t + recurrent · f_{t−1}),  g_t = act(a_t + reverse.recurrent · g_{t+1}),  y_t = f_t + g_t

    a_t is input · x_t, normalised by a batch norm of its own, or plus a bias (Amodei et al. 2016, sec. 3.2;
    the network that Narang et al. 2017 prune).
    """

    kind: ClassVar[str] = "shared_rnn"
    name: str
    cells: int
    batch_norm: bool = True
    activation: Activation = "clipped_relu"

    def __post_init__(self) -> None:
        _require(self, "cells", self.cells >= 1)
        _require(self, "activation", self.activation in ("relu", "clipped_relu", "tanh"))

    def reach(self) -> Reach:
        """One frame; what a recurrent layer remembers is its state."""
        return Reach()

    def output(self, given: Shape) -> Shape:
        """The sum of both directions."""
        return Shape(self.cells)

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """`input`, `recurrent` and `reverse.recurrent`."""
        yield Matrix(f"{self.name}.input", self.cells, given.width, 1, "rnn")
        yield Matrix(f"{self.name}.recurrent", self.cells, self.cells, 1, "rnn")
        yield Matrix(f"{self.name}.reverse.recurrent", self.cells, self.cells, 1, "rnn")

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """`scale` and `shift` of every level; without batch norm `bias`."""
        if self.batch_norm:
            yield from BatchNorm(self.name).vectors(self.output(given))
        else:
            yield Vector(f"{self.name}.bias", self.cells)


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
class BatchNorm:
    """Scales and shifts every channel, or every value of a frame that is one channel: x · scale + shift.

        scale = γ / √(σ² + 1e-5),   shift = β − μ · scale      (Ioffe & Szegedy 2015, with fixed statistics)

    The mean μ and the variance σ² are those of a level, and so are scale and shift.
    """

    kind: ClassVar[str] = "batch_norm"
    name: str
    epsilon: ClassVar[float] = 1e-5

    def reach(self) -> Reach:
        """One frame."""
        return Reach()

    def output(self, given: Shape) -> Shape:
        """As it came."""
        return given

    def groups(self, given: Shape) -> Shape:
        """Values that have a scale of their own, as `channels`; neighbours that share one, as `bins`."""
        return given if given.channels > 1 else Shape(1, given.bins)

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """None."""
        yield from ()

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """`scale` and `shift`, of every level."""
        for part in ("scale", "shift"):
            yield Vector(f"{self.name}.{part}", self.groups(given).channels, by_level=True)


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


@dataclass(frozen=True)
class Embedding:
    """The row of a table that a token has. Its input is one value a frame, the index of the token.

    It is the first layer, so that what is looked up comes from outside, where it is checked. The matrix
    `table` is stored (tokens, size); a level that does not name the type `embedding` leaves it whole.
    """

    kind: ClassVar[str] = "embedding"
    name: str
    tokens: int
    size: int

    def __post_init__(self) -> None:
        _require(self, "tokens", 1 <= self.tokens <= _EXACT)
        _require(self, "size", self.size >= 1)

    def reach(self) -> Reach:
        """One frame."""
        return Reach()

    def output(self, given: Shape) -> Shape:
        """`size` values."""
        if given.width != 1:
            raise ValueError(
                f"layer `{self.name}` looks tokens up, and takes one index a frame; it is given "
                f"{given.width} values"
            )
        return Shape(self.size)

    def matrices(self, given: Shape) -> Iterator[Matrix]:
        """`table`."""
        yield Matrix(f"{self.name}.table", self.tokens, self.size, 1, "embedding")

    def vectors(self, given: Shape) -> Iterator[Vector]:
        """None."""
        yield from ()


Layer: TypeAlias = Window | Convolution | Recurrent | SharedRnn | LayerNorm | BatchNorm | Linear | Embedding


def _require(layer: Any, field: str, holds: object) -> None:
    if not holds:
        raise ValueError(f"layer `{layer.name}`: {field} cannot be {getattr(layer, field)!r}")
