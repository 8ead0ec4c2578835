"""An architecture with its parameters, run over whole utterances or over streams, in NumPy.

A `Network` is the weights of one level; a `NetworkStream` is what a stream remembers, which no
level owns. Any network of the same architecture may compute the next chunk of any stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from numpy_runner.frames import Float32, FrameQueue
from numpy_runner.layers import (
    FrameLayer,
    RunningBatchNorm,
    RunningConvolution,
    RunningEmbedding,
    RunningLayerNorm,
    RunningLinear,
    RunningWindow,
)
from numpy_runner.recurrent import CellState, RunningRecurrent, RunningSharedRnn
from sparrot.architecture import (
    Architecture,
    BatchNorm,
    Convolution,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Reach,
    Recurrent,
    Shape,
    SharedRnn,
)


class Network:
    """The parameters of one level, checked and laid out for speed; never changes, threads may share it.

    parameters: float32 arrays with exactly the names and shapes of `architecture.matrices()` and
                `.vectors()`; they are copied.
    Raises ValueError if a name, shape or type is wrong or a value is not finite.
    """

    def __init__(self, architecture: Architecture, parameters: Mapping[str, Float32]) -> None:
        _check_parameters(architecture, parameters)
        self.architecture = architecture
        pairs = zip(architecture.layers, architecture.shapes(), strict=False)
        self._layers = tuple(_running(layer, given, parameters) for layer, given in pairs)

    def run(self, features: ArrayLike) -> Float32:
        """Logits (⌈n/R⌉, n_tokens) of a whole utterance, features (n, input_width).

        Bidirectional layers see all of it. A `NetworkStream` whose first chunk holds the whole
        utterance gives the same bits; shorter chunks the same within rounding.
        Raises ValueError if the features have another width or a value is not finite.
        """
        frames = _checked_frames(self.architecture, features)
        counts = _Grid(self.architecture).of_segment(len(frames))
        return self._advance(frames, _fresh_states(self.architecture), counts[1:])

    def _advance(self, rows: Float32, states: Sequence["_State"], counts: Sequence[int]) -> Float32:
        """What leaves the last layer when `rows` enter the first and layer i makes up to counts[i] rows."""
        for layer, state, count in zip(self._layers, states, counts, strict=True):
            frames = state.surroundings.take(rows, count) if state.surroundings else rows[:, None]
            rows = layer(frames, state.cells) if isinstance(layer, RunningRecurrent) else layer(frames)
        return rows


class NetworkStream:
    """One stream on its way through a network, `chunk_frames` output frames at a time.

    The chunks lie on a grid that starts with the segment, and every product is computed over the
    frames of a chunk, so the bits of the logits do not depend on how the frames were cut. Memory is
    constant if the chunks are taken as they become ready.
    Raises ValueError if the architecture has a bidirectional layer or `chunk_frames` is under 1.
    """

    def __init__(self, architecture: Architecture, chunk_frames: int) -> None:
        if not architecture.streaming:
            raise ValueError(
                "cannot stream: a layer of this network runs backwards in time and needs the end of the "
                "utterance first; transcribe whole files with it, or train a unidirectional one"
            )
        if chunk_frames < 1:
            raise ValueError(f"a chunk needs at least 1 output frame; got {chunk_frames}")
        self.architecture = architecture
        self.chunk_frames = chunk_frames
        self._grid = _Grid(architecture)
        self.reset()

    def reset(self) -> None:
        """Starts a new segment: states zero, frames not yet decoded given up, grid at the next frame."""
        self._frames = FrameQueue(self.architecture.input_width)
        self._states = _fresh_states(self.architecture)
        self._n_frames: int | None = None
        self._n_chunks = 0
        self._entered = 0

    def push(self, features: ArrayLike) -> None:
        """Adds feature frames (n, input_width), any number of them.

        Raises ValueError after `finish`, on another width or a value that is not finite.
        """
        if self._n_frames is not None:
            raise ValueError("frames came after `finish`: `reset` starts the next segment")
        self._frames.push(_checked_frames(self.architecture, features).copy())

    def finish(self) -> None:
        """Says that the segment ends here: the right context of its last frames is zeros."""
        self._n_frames = self._frames.received

    @property
    def n_ready(self) -> int:
        """Chunks that `advance` can compute now; after `finish` the last may be partial."""
        if self._n_frames is None:
            outputs = self._grid.outputs_of(self._frames.received)
            return outputs // self.chunk_frames - self._n_chunks
        return -(-self.architecture.output_frames(self._n_frames) // self.chunk_frames) - self._n_chunks

    def advance(self, network: Network) -> Float32 | None:
        """Logits (chunk_frames, n_tokens) of the next chunk by `network`; None if it is not ready.

        The last chunk of a segment may have fewer rows. The states stay with the stream, so each
        chunk may go through the network of another level.
        Raises ValueError if the network has another architecture.
        """
        if network.architecture != self.architecture:
            raise ValueError(
                "cannot go on with this network: its architecture is not that of the stream; "
                "levels of one model file share theirs"
            )
        if self.n_ready == 0:
            return None
        self._n_chunks += 1
        counts = self._grid.up_to(self._n_chunks * self.chunk_frames, self._n_frames)
        rows = self._frames.between(self._entered, counts[0])
        self._entered += len(rows)
        self._frames.forget(self._entered)
        return network._advance(rows, self._states, counts[1:])


class _Grid:
    """How many frames have entered the first layer and left each, when so many left the last."""

    def __init__(self, architecture: Architecture) -> None:
        self._reaches = [layer.reach() for layer in architecture.layers]
        self._first = 1 + architecture.lookahead
        self._reduction = architecture.reduction

    def outputs_of(self, n_frames: int) -> int:
        """Output frames that `n_frames` frames determine, whatever comes after them."""
        return max(0, (n_frames - self._first) // self._reduction + 1)

    def of_segment(self, n_frames: int) -> list[int]:
        """The counts of a whole segment of `n_frames` frames."""
        counts = [n_frames]
        for reach in self._reaches:
            counts.append(reach.output_frames(counts[-1]))
        return counts

    def up_to(self, n_outputs: int, n_frames: int | None) -> list[int]:
        """The counts at which `n_outputs` frames have left, none above those of the whole segment."""
        counts = [n_outputs]
        for reach in reversed(self._reaches):
            counts.insert(0, (counts[0] - 1) * reach.stride + reach.right + 1)
        if n_frames is None:
            return counts
        return [min(pair) for pair in zip(counts, self.of_segment(n_frames), strict=True)]


class _Surroundings:
    """The input frames around a layer's next output frames, those of earlier chunks included."""

    def __init__(self, reach: Reach, width: int) -> None:
        self._reach = reach
        self._queue = FrameQueue(width)
        self._n_made = 0

    def take(self, rows: Float32, n_made: int) -> Float32:
        """Inputs (n, left + 1 + right, width) of the outputs before `n_made` not yet taken, after `rows`."""
        self._queue.push(rows)
        reach, n = self._reach, n_made - self._n_made
        context = reach.left + 1 + reach.right
        begin = self._n_made * reach.stride - reach.left
        frames = self._queue.between(begin, begin + max(n - 1, 0) * reach.stride + context)
        self._n_made += n
        self._queue.forget(self._n_made * reach.stride - reach.left)
        views = sliding_window_view(frames, context, axis=0)[:: reach.stride][:n]
        return views.transpose(0, 2, 1)


@dataclass
class _State:
    """What a stream remembers for one layer: the frames around, a cell for each direction, or nothing."""

    surroundings: _Surroundings | None = None
    cells: tuple[CellState, ...] = ()


def _fresh_states(architecture: Architecture) -> list[_State]:
    return [
        _fresh_state(layer, given)
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False)
    ]


def _fresh_state(layer: Layer, given: Shape) -> _State:
    if isinstance(layer, Recurrent):
        return _State(cells=tuple(CellState.fresh(layer) for _ in layer.prefixes))
    if layer.reach() != Reach():
        return _State(surroundings=_Surroundings(layer.reach(), given.width))
    return _State()


def _running(layer: Layer, given: Shape, parameters: Mapping[str, Float32]) -> FrameLayer | RunningRecurrent:
    match layer:
        case Recurrent():
            return RunningRecurrent(layer, parameters)
        case SharedRnn():
            return RunningSharedRnn(layer, parameters)
        case Linear():
            return RunningLinear(layer, parameters)
        case BatchNorm():
            return RunningBatchNorm(layer, given, parameters)
        case Embedding():
            return RunningEmbedding(layer, parameters)
        case LayerNorm():
            return RunningLayerNorm(layer, parameters)
        case Convolution():
            return RunningConvolution(layer, given, parameters)
        case _:
            return RunningWindow()


def _check_parameters(architecture: Architecture, parameters: Mapping[str, Float32]) -> None:
    shapes: dict[str, tuple[int, ...]] = {m.name: (m.rows, m.columns) for m in architecture.matrices()}
    shapes |= {vector.name: (vector.size,) for vector in architecture.vectors()}
    missing, unknown = sorted(set(shapes) - set(parameters)), sorted(set(parameters) - set(shapes))
    if missing or unknown:
        raise ValueError(
            f"the parameters are not those of this architecture: missing {', '.join(missing) or 'none'}; "
            f"unknown {', '.join(unknown) or 'none'}"
        )
    for name, shape in shapes.items():
        array = parameters[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise ValueError(f"parameter `{name}` must be float32 {shape}; got {array.dtype} {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"parameter `{name}` holds a value that is not finite; the weights are damaged")


def _checked_frames(architecture: Architecture, features: ArrayLike) -> Float32:
    with np.errstate(over="ignore"):  # what is too large for float32 is refused below, as infinite
        frames = np.ascontiguousarray(features, np.float32)
    if frames.ndim != 2 or frames.shape[1] != architecture.input_width:
        raise ValueError(
            f"this network takes frames of {architecture.input_width} values, an array "
            f"(n_frames, {architecture.input_width}); got one of shape {np.shape(features)}"
        )
    if not np.isfinite(frames).all():
        raise ValueError("a feature frame holds a value that is not finite; check the audio it was made of")
    return frames
