"""How far float32 may be from exact: values that carry a proven bound on their rounding error.

u = 2^-24. A float32 sum of n products is within n·u / (1 − n·u) · Σ|w||x| of exact, in any order
(Higham 2002, sec. 3.1); every other operation adds u of its result; tanh and the sigmoid are trusted to
2^-22, which is what csrc/kernels/kernels.h promises, and to 4 units in the last place of a small tanh,
which is what NumPy promises. Errors of the operands are carried through exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sparrot.architecture import (
    CLIP,
    Architecture,
    BatchNorm,
    Convolution,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    Shape,
    SharedRnn,
    Window,
)

UNIT = 2.0**-24
UNDERFLOW = 2.0**-149
TANH_UNITS = 8  # 4 units in the last place, each at most 2 u of the value
TANH_ERROR = 2.0**-22


_WEIGHTS: ContextVar[str] = ContextVar("weights", default="F32")


@contextmanager
def products_of(weights: Literal["F32", "BF16", "I8"]) -> Iterator[None]:
    """Matrices of this type from here on: the error of what their inputs are converted to counts as well."""
    token = _WEIGHTS.set(weights)
    try:
        yield
    finally:
        _WEIGHTS.reset(token)


def _input_error(x: "Rounded") -> np.ndarray:
    """bfloat16 keeps 8 bits; int8 has steps of max|x| / 127, or of 1 / 127 if |x| is known to be below 1."""
    if _WEIGHTS.get() == "F32":
        return np.zeros_like(x.value)
    if _WEIGHTS.get() == "BF16":
        return 2.0**-8 * x.magnitude
    step = max(1.0, float(x.magnitude.max(initial=0.0))) / 127
    return np.full_like(x.value, step / 2 * (1 + 2.0**-20))


def gamma(n: int) -> float:
    """n·u / (1 − n·u)."""
    return n * UNIT / (1 - n * UNIT)


@dataclass(frozen=True)
class Rounded:
    """float64 values and, of each, how far what float32 makes of it may be."""

    value: np.ndarray
    error: np.ndarray

    @classmethod
    def exact(cls, values) -> "Rounded":
        values = np.asarray(values, np.float64)
        return cls(values, np.zeros_like(values))

    @property
    def magnitude(self) -> np.ndarray:
        return abs(self.value) + self.error

    def __getitem__(self, index) -> "Rounded":
        return Rounded(self.value[index], self.error[index])

    def __add__(self, other: "Rounded") -> "Rounded":
        return _stored(self.value + other.value, self.error + other.error)

    def __sub__(self, other: "Rounded") -> "Rounded":
        return _stored(self.value - other.value, self.error + other.error)

    def __mul__(self, other: "Rounded") -> "Rounded":
        error = self.magnitude * other.error + self.error * abs(other.value)
        return _stored(self.value * other.value, error)

    def __truediv__(self, other: "Rounded") -> "Rounded":
        smallest = abs(other.value) - other.error
        assert (smallest > 0).all()
        quotient = self.value / other.value
        return _stored(quotient, (self.error + abs(quotient) * other.error) / smallest)

    def matvec(self, matrix: np.ndarray, start: "Rounded | None" = None) -> "Rounded":
        """start + W x for exact float32 weights, as one sum in any order."""
        weights, n = np.asarray(matrix, np.float64), len(self.value) + (start is not None)
        start = start or Rounded.exact(np.zeros(len(weights)))
        error = start.error + abs(weights) @ (self.error + _input_error(self))
        error += gamma(n) * (start.magnitude + abs(weights) @ self.magnitude)
        return Rounded(start.value + weights @ self.value, error + n * UNDERFLOW)

    def mean(self) -> "Rounded":
        error = self.error.mean() + gamma(len(self.value)) * self.magnitude.mean()
        return _stored(np.array([self.value.mean()]), np.array([error]))

    def sqrt(self) -> "Rounded":
        low, high = np.sqrt(np.maximum(self.value - self.error, 0)), np.sqrt(self.value + self.error)
        value = np.sqrt(self.value)
        return _stored(value, np.maximum(value - low, high - value))

    def tanh(self) -> "Rounded":
        value = np.tanh(self.value)
        units = TANH_UNITS * UNIT * (abs(value) + self.error) + UNDERFLOW
        return Rounded(value, self.error + np.maximum(units, TANH_ERROR))

    def sigmoid(self) -> "Rounded":
        """(1 + tanh(x / 2)) / 2: halving is exact, the sum is rounded once."""
        half = Rounded(self.value / 2, self.error / 2 + UNDERFLOW).tanh()
        return _stored(0.5 + half.value / 2, half.error / 2 + TANH_ERROR / 2)

    def activated(self, name: str) -> "Rounded":
        """None of the activations is steeper than 1; only tanh rounds."""
        if name == "tanh":
            return self.tanh()
        low, high = {"identity": (-np.inf, np.inf), "relu": (0, np.inf), "clipped_relu": (0, CLIP)}[name]
        return Rounded(np.clip(self.value, low, high), self.error)


def run(architecture: Architecture, parameters: Mapping[str, np.ndarray], features: np.ndarray) -> Rounded:
    """Logits of a whole utterance and a bound on their error, in any order of summation."""
    frames = [Rounded.exact(frame) for frame in features]
    for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
        frames = apply(layer, given, parameters, frames)
    return _joined(frames, architecture.n_tokens)


def run_switching(
    architecture: Architecture, levels: Sequence[Mapping[str, np.ndarray]], features: np.ndarray
) -> Rounded:
    """As `run`, of layers that keep the number of frames; frame t is computed with the weights levels[t]."""
    states = {
        layer.name: (Rounded.exact(np.zeros(layer.hidden)), Rounded.exact(np.zeros(layer.cells)))
        for layer in architecture.layers
        if isinstance(layer, Recurrent)
    }
    logits = []
    for parameters, row in zip(levels, features, strict=True):
        frame = Rounded.exact(row)
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
            if isinstance(layer, Recurrent):
                states[layer.name] = step(layer, parameters, frame, states[layer.name])
                frame = states[layer.name][0]
            else:
                (frame,) = apply(layer, given, parameters, [frame])
        logits.append(frame)
    return _joined(logits, architecture.n_tokens)


def apply(layer: Layer, given: Shape, parameters: Mapping[str, np.ndarray], frames: list) -> list:
    own = {name.removeprefix(f"{layer.name}."): value for name, value in parameters.items()}
    match layer:
        case Window():
            return _around(layer, frames, given.width)
        case Convolution():
            return [_convolved(layer, given, own, x) for x in _around(layer, frames, given.width)]
        case LayerNorm():
            return [_normalised(layer, own, x) for x in frames]
        case BatchNorm():
            bins = layer.groups(given).bins
            scale, shift = (Rounded.exact(own[part].repeat(bins)) for part in ("scale", "shift"))
            return [x * scale + shift for x in frames]
        case Embedding():
            return [Rounded.exact(own["table"][int(x.value[0])]) for x in frames]
        case Linear():
            bias = Rounded.exact(own["bias"])
            return [x.matvec(own["weight"], bias).activated(layer.activation) for x in frames]
        case Recurrent():
            return _recurrent(layer, own, frames)
        case SharedRnn():
            return _shared_rnn(layer, own, frames)


def step(
    layer: Recurrent, parameters: Mapping[str, np.ndarray], x: Rounded, state: tuple[Rounded, Rounded]
) -> tuple[Rounded, Rounded]:
    """h and c after one frame."""
    own = {name.removeprefix(f"{layer.name}."): value for name, value in parameters.items()}
    return _CELLS[layer.cell](own, x.matvec(own["input"], Rounded.exact(own["bias"])), state)


def _around(layer: Window | Convolution, frames: list, width: int) -> list:
    reach, nothing = layer.reach(), Rounded.exact(np.zeros(width))
    indices = [
        range(centre - reach.left, centre + reach.right + 1) for centre in range(0, len(frames), reach.stride)
    ]
    inside = range(len(frames))
    return [concatenated([frames[k] if k in inside else nothing for k in around]) for around in indices]


def _convolved(layer: Convolution, given: Shape, own: Mapping[str, np.ndarray], x: Rounded) -> Rounded:
    made = layer.output(given)
    span = layer.kernel_bins or given.bins
    pad = 0 if layer.kernel_bins is None else (span - 1) // 2
    shape = (layer.kernel, given.channels, given.bins)
    padding = ((0, 0), (0, 0), (pad, pad))
    value, error = (np.pad(part.reshape(shape), padding) for part in (x.value, x.error))
    columns = []
    for b in range(made.bins):
        seen = np.s_[:, :, b * layer.stride_bins : b * layer.stride_bins + span]
        inputs = (part[seen].transpose(1, 0, 2).ravel() for part in (value, error))
        columns.append(Rounded(*inputs).matvec(own["kernel"], Rounded.exact(own["bias"])))
    stacked = Rounded(
        np.stack([column.value for column in columns], axis=1).ravel(),
        np.stack([column.error for column in columns], axis=1).ravel(),
    )
    return stacked.activated(layer.activation)


def _normalised(layer: LayerNorm, own: Mapping[str, np.ndarray], x: Rounded) -> Rounded:
    centred = x - x.mean()
    epsilon = Rounded(np.array([layer.epsilon]), np.array([UNIT * layer.epsilon]))
    deviation = ((centred * centred).mean() + epsilon).sqrt()
    return centred / deviation * Rounded.exact(own["scale"]) + Rounded.exact(own["shift"])


def _recurrent(layer: Recurrent, own: Mapping[str, np.ndarray], frames: list) -> list:
    forward = _one_direction(layer, own, frames)
    if not layer.bidirectional:
        return forward
    reverse = {name.removeprefix("reverse."): value for name, value in own.items() if "reverse." in name}
    backward = _one_direction(layer, reverse, frames[::-1])[::-1]
    return [concatenated(pair) for pair in zip(forward, backward, strict=True)]


def _shared_rnn(layer: SharedRnn, own: Mapping[str, np.ndarray], frames: list) -> list:
    if layer.batch_norm:
        scale, shift = Rounded.exact(own["scale"]), Rounded.exact(own["shift"])
        drives = [x.matvec(own["input"]) * scale + shift for x in frames]
    else:
        drives = [x.matvec(own["input"], Rounded.exact(own["bias"])) for x in frames]
    summed = []
    for name, ordered in (("recurrent", drives), ("reverse.recurrent", drives[::-1])):
        h, outputs = Rounded.exact(np.zeros(layer.cells)), []
        for drive in ordered:
            h = h.matvec(own[name], drive).activated(layer.activation)
            outputs.append(h)
        summed.append(outputs)
    forward, backward = summed
    return [f + g for f, g in zip(forward, backward[::-1], strict=True)]


def _one_direction(layer: Recurrent, own: Mapping[str, np.ndarray], frames: list) -> list:
    h, c = Rounded.exact(np.zeros(layer.hidden)), Rounded.exact(np.zeros(layer.cells))
    outputs = []
    for x in frames:
        h, c = _CELLS[layer.cell](own, x.matvec(own["input"], Rounded.exact(own["bias"])), (h, c))
        outputs.append(h)
    return outputs


def _lstm(own, given: Rounded, state):
    h, c = state
    i, f, g, o = _gates(h.matvec(own["recurrent"], given), len(c.value))
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h.matvec(own["projection"]) if "projection" in own else h), c


def _gru(own, given: Rounded, state):
    h, c = state
    start = np.concatenate([np.zeros(2 * len(c.value)), own["candidate_bias"]])
    back = h.matvec(own["recurrent"], Rounded.exact(start))
    (given_r, given_z, given_n), (back_r, back_z, back_n) = (
        _gates(given, len(c.value)),
        _gates(back, len(c.value)),
    )
    r, z = (given_r + back_r).sigmoid(), (given_z + back_z).sigmoid()
    n = (given_n + r * back_n).tanh()
    return _mixed(z, h, n), c


def _mixed(z: Rounded, h: Rounded, n: Rounded) -> Rounded:
    """n + z (h − n) for 0 ≤ z ≤ 1: the errors of h and n count z and 1 − z times, that of z |h − n| times."""
    gap = abs(h.value - n.value) + h.error + n.error
    error = (1 - z.value) * n.error + z.value * h.error + gap * z.error
    difference_and_product = (2 * UNIT + UNIT**2) * gap * z.magnitude + 2 * UNDERFLOW
    return _stored(n.value + z.value * (h.value - n.value), error + difference_and_product)


def _rnn(own, given: Rounded, state):
    return state[0].matvec(own["recurrent"], given).tanh(), state[1]


_CELLS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def _gates(values: Rounded, cells: int) -> list[Rounded]:
    return [values[begin : begin + cells] for begin in range(0, len(values.value), cells)]


def _stored(value: np.ndarray, error: np.ndarray) -> Rounded:
    """With the rounding of the result itself."""
    return Rounded(value, error + UNIT * (abs(value) + error) + UNDERFLOW)


def concatenated(parts) -> Rounded:
    return Rounded(
        np.concatenate([part.value for part in parts]), np.concatenate([part.error for part in parts])
    )


def _joined(frames: list, width: int) -> Rounded:
    return Rounded(
        np.array([frame.value for frame in frames]).reshape(-1, width),
        np.array([frame.error for frame in frames]).reshape(-1, width),
    )
