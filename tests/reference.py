"""What every layer and CTC compute, in float64, element by element: the truth of the other tests.

Nothing here is fast or clever. Frames are rows; parameters are those of `sparrot.architecture`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import exp, inf, log, sqrt, tanh

import numpy as np

from sparrot.architecture import (
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

Frames = list[list[float]]
Parameters = Mapping[str, np.ndarray]


# Layers


def run(architecture: Architecture, parameters: Parameters, features: Sequence) -> np.ndarray:
    """Logits (n_outputs, n_tokens) of a whole utterance, float64."""
    frames = as_lists(features)
    for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
        frames = apply(layer, given, parameters, frames)
    return np.array(frames, np.float64).reshape(-1, architecture.n_tokens)


def apply(layer: Layer, given: Shape, parameters: Parameters, frames: Frames) -> Frames:
    """What leaves one layer."""
    own = {
        name.removeprefix(f"{layer.name}."): np.asarray(value, np.float64).tolist()
        for name, value in parameters.items()
        if name.startswith(f"{layer.name}.")
    }
    match layer:
        case Window():
            return window(layer, frames, given.width)
        case Convolution():
            return convolution(layer, given, own["kernel"], own["bias"], frames)
        case LayerNorm():
            return layer_norm(layer, own["scale"], own["shift"], frames)
        case BatchNorm():
            return batch_norm(given, own["scale"], own["shift"], frames)
        case Embedding():
            return [own["table"][int(index)] for (index,) in frames]
        case Linear():
            return linear(layer, own["weight"], own["bias"], frames)
        case Recurrent():
            return recurrent(layer, own, frames)
        case SharedRnn():
            return shared_rnn(layer, own, frames)


def window(layer: Window, frames: Frames, width: int) -> Frames:
    """y[j] = [x[j·stride − left], …, x[j·stride + right]], zeros outside."""
    outputs = []
    for centre in range(0, len(frames), layer.stride):
        output = []
        for index in range(centre - layer.left, centre + layer.right + 1):
            output += frames[index] if 0 <= index < len(frames) else [0.0] * width
        outputs.append(output)
    return outputs


def convolution(
    layer: Convolution, given: Shape, kernel: Frames, bias: list[float], frames: Frames
) -> Frames:
    """y[j, o, b] = act(bias[o] + Σ w[o, i, t, k] x[j·stride + t − left, i, b·stride_bins + k − pad])."""
    left = (layer.kernel - 1) // 2
    span = given.bins if layer.kernel_bins is None else layer.kernel_bins
    pad = 0 if layer.kernel_bins is None else (span - 1) // 2
    stride_bins = 1 if layer.kernel_bins is None else layer.stride_bins
    n_bins = (given.bins + 2 * pad - span) // stride_bins + 1

    def x(frame: int, channel: int, one_bin: int) -> float:
        inside = 0 <= frame < len(frames) and 0 <= one_bin < given.bins
        return frames[frame][channel * given.bins + one_bin] if inside else 0.0

    outputs = []
    for centre in range(0, len(frames), layer.stride):
        output = []
        for o, b in product(range(layer.channels), range(n_bins)):
            total = bias[o]
            for i, t, k in product(range(given.channels), range(layer.kernel), range(span)):
                weight = kernel[o][(i * layer.kernel + t) * span + k]
                total += weight * x(centre + t - left, i, b * stride_bins + k - pad)
            output.append(activation(layer.activation, total))
        outputs.append(output)
    return outputs


def layer_norm(layer: LayerNorm, scale: list[float], shift: list[float], frames: Frames) -> Frames:
    """(x − mean) / √(variance + ε) · scale + shift."""
    outputs = []
    for frame in frames:
        mean = sum(frame) / len(frame)
        variance = sum((x - mean) ** 2 for x in frame) / len(frame)
        deviation = sqrt(variance + layer.epsilon)
        outputs.append([(x - mean) / deviation * g + b for x, g, b in zip(frame, scale, shift, strict=True)])
    return outputs


def batch_norm(given: Shape, scale: list[float], shift: list[float], frames: Frames) -> Frames:
    """x · scale + shift, of the channel of a value, or of the value if there is one channel."""
    bins = given.bins if given.channels > 1 else 1
    return [[x * scale[i // bins] + shift[i // bins] for i, x in enumerate(frame)] for frame in frames]


def linear(layer: Linear, weight: Frames, bias: list[float], frames: Frames) -> Frames:
    """act(W x + bias)."""
    return [[activation(layer.activation, y) for y in add(times(weight, frame), bias)] for frame in frames]


def recurrent(layer: Recurrent, own: Mapping[str, list], frames: Frames) -> Frames:
    """h of the forward direction, then of the reverse one."""
    forward = one_direction(layer, own, frames)
    if not layer.bidirectional:
        return forward
    reverse = {name.removeprefix("reverse."): value for name, value in own.items() if "reverse." in name}
    backward = one_direction(layer, reverse, frames[::-1])[::-1]
    return [f + b for f, b in zip(forward, backward, strict=True)]


def shared_rnn(layer: SharedRnn, own: Mapping[str, list], frames: Frames) -> Frames:
    """f + g of every frame, from drives that both directions share."""
    drives = [times(own["input"], x) for x in frames]
    if layer.batch_norm:
        drives = batch_norm(Shape(layer.cells), own["scale"], own["shift"], drives)
    else:
        drives = [add(drive, own["bias"]) for drive in drives]

    def direction(matrix: Frames, ordered: Frames) -> Frames:
        h, outputs = [0.0] * layer.cells, []
        for drive in ordered:
            h = [activation(layer.activation, a) for a in add(drive, times(matrix, h))]
            outputs.append(h)
        return outputs

    forward = direction(own["recurrent"], drives)
    backward = direction(own["reverse.recurrent"], drives[::-1])[::-1]
    return [add(f, g) for f, g in zip(forward, backward, strict=True)]


def one_direction(layer: Recurrent, own: Mapping[str, list], frames: Frames) -> Frames:
    """h of every frame, from a state of zeros."""
    h, c = [0.0] * layer.hidden, [0.0] * layer.cells
    outputs = []
    for x in frames:
        h, c = cell(layer, own, x, (h, c))
        outputs.append(h)
    return outputs


def cell(
    layer: Recurrent, own: Mapping[str, list], x: list[float], state: tuple[list[float], list[float]]
) -> tuple[list[float], list[float]]:
    """(h, c) after one frame."""
    h, c = state
    given = add(times(own["input"], x), own["bias"])
    back = times(own["recurrent"], h)
    if layer.cell == "lstm":
        i, f, g, o = parts(add(given, back), layer.cells)
        c = [sigmoid(f[k]) * c[k] + sigmoid(i[k]) * tanh(g[k]) for k in range(layer.cells)]
        h = [sigmoid(o[k]) * tanh(c[k]) for k in range(layer.cells)]
        return (h if layer.projection is None else times(own["projection"], h)), c
    if layer.cell == "rnn":
        return [tanh(a) for a in add(given, back)], c
    (given_r, given_z, given_n), (back_r, back_z, back_n) = (
        parts(given, layer.cells),
        parts(back, layer.cells),
    )
    r, z = [sigmoid(a) for a in add(given_r, back_r)], [sigmoid(a) for a in add(given_z, back_z)]
    inside = add(back_n, own["candidate_bias"])
    n = [tanh(given_n[k] + r[k] * inside[k]) for k in range(layer.cells)]
    return [(1 - z[k]) * n[k] + z[k] * h[k] for k in range(layer.cells)], c


def activation(name: str, x: float) -> float:
    """One of the activations of `sparrot.architecture`."""
    if name == "tanh":
        return tanh(x)
    if name == "relu":
        return max(x, 0.0)
    if name == "clipped_relu":
        return min(max(x, 0.0), 20.0)
    assert name == "identity"
    return x


def sigmoid(x: float) -> float:
    """1 / (1 + exp(−x))."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def times(matrix: Frames, x: list[float]) -> list[float]:
    """W x."""
    return [sum(w * value for w, value in zip(row, x, strict=True)) for row in matrix]


def add(a: list[float], b: list[float]) -> list[float]:
    """a + b."""
    return [x + y for x, y in zip(a, b, strict=True)]


def parts(values: list[float], size: int) -> list[list[float]]:
    """Gates of `size` values each."""
    return [values[begin : begin + size] for begin in range(0, len(values), size)]


def as_lists(frames: Sequence) -> Frames:
    """Frames as lists of Python's float64."""
    return np.asarray(frames, np.float64).tolist()


# CTC, token 0 is the blank


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    """The labelling of an alignment: repeats become one token, then blanks vanish."""
    labelling = []
    for index, token in enumerate(path):
        if token != 0 and (index == 0 or path[index - 1] != token):
            labelling.append(token)
    return tuple(labelling)


def alignments(log_probs: Sequence) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every path of one token a frame (n_tokens ** n_frames of them) and its log-probability."""
    rows = as_lists(log_probs)
    for path in product(range(len(rows[0]) if rows else 0), repeat=len(rows)):
        yield path, sum((row[token] for row, token in zip(rows, path, strict=True)), 0.0)


def labellings(log_probs: Sequence) -> dict[tuple[int, ...], float]:
    """Log-probability of every labelling: that of all its alignments."""
    probabilities: dict[tuple[int, ...], float] = {}
    for path, score in alignments(log_probs):
        labelling = collapse(path)
        probabilities[labelling] = probabilities.get(labelling, 0.0) + exp(score)
    return {labelling: log(p) if p > 0 else -inf for labelling, p in probabilities.items()}


def best_alignments(log_probs: Sequence) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The most probable alignment of every labelling, the first of equals."""
    best: dict[tuple[int, ...], tuple[tuple[int, ...], float]] = {}
    for path, score in alignments(log_probs):
        labelling = collapse(path)
        if labelling not in best or score > best[labelling][1]:
            best[labelling] = (path, score)
    return {labelling: path for labelling, (path, _) in best.items()}


def runs(path: Sequence[int]) -> list[tuple[int, range]]:
    """The tokens of an alignment, each with the frames of its run."""
    found: list[tuple[int, range]] = []
    for frame, token in enumerate(path):
        if token != 0 and frame > 0 and path[frame - 1] == token:
            found[-1] = (token, range(found[-1][1].start, frame + 1))
        elif token != 0:
            found.append((token, range(frame, frame + 1)))
    return found
