"""The network of a model file in the C++ engine, and the streams that go through it.

A `Network` serves all levels: a level is the number of segments that a chunk uses. A `NetworkStream` is
what a stream remembers, which no level owns.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from sparrot import _core
from sparrot.architecture import (
    AnyArchitecture,
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
    Transducer,
    Window,
)
from sparrot.engine.frames import Float32
from sparrot.model_file import PieceData, StopData
from sparrot.model_file.layout import base_name, piece_names
from sparrot.model_file.stops import check_base, checked_vectors

_NO_VALUES = np.zeros(0, np.float32)
_NO_STARTS, _NO_COLUMNS = np.zeros(0, np.uint32), np.zeros(0, np.uint16)


class Network:
    """A network whose weights lie in memory as they lie in the file; threads may share it.

    Of a transducer it is the encoder, and `transducer` is the rest: predictor and joint network, to which a
    level is the number of its stop.

    architecture: that of the file.
    first:        the file's first stop, sparsest; its memory stays in use, like that of later ones.
    verify:       whether weights are searched for values that are not finite.
    isa:          what computes; None is SPARROT_ISA, or the best that the processor has.
    Raises FormatError, naming the tensor, if an index is out of range, padding is not zero or a weight is
    not finite.
    """

    def __init__(
        self, architecture: AnyArchitecture, first: StopData, *, verify: bool = True, isa: str | None = None
    ) -> None:
        self.architecture = architecture.encoder
        self._verify = verify
        check_base(first, verify=verify)
        self._matrices = {
            name: _new_matrix(piece, first.scales.get(name)) for name, piece in first.pieces.items()
        }
        self._affines: dict[str, _core.Affines] = {}
        self._n_stops = 0
        self.core = self._built(self.architecture, first.vectors, isa)
        self.transducer = self._joined(architecture, first.vectors, isa)
        self.add_stop(first)

    @property
    def isa(self) -> str:
        """The instruction set that computes: `scalar`, `avx2`, `avx512`, `avx512vnni`, `neon`, `neondot`."""
        return self.core.isa

    @property
    def n_stops(self) -> int:
        """Stops that can be run."""
        return self._n_stops

    def add_stop(self, stop: StopData) -> None:
        """Adds the segment of the next stop, while others may run the network at the stops before.

        Raises FormatError as above; the network is then of no use.
        """
        if self._affines:
            checked_vectors(stop, verify=self._verify)
        for name, affines in self._affines.items():
            affines.add(*(stop.vectors[f"{name}.{part}"].reshape(-1) for part in ("scale", "shift")))
        for name, piece in stop.pieces.items():
            with _refusing(stop, piece):
                self._matrices[name].add(
                    piece.stored.layout,
                    _NO_STARTS if piece.starts is None else piece.starts,
                    _NO_COLUMNS if piece.columns is None else piece.columns,
                    piece.values,
                    check_finite=self._verify,
                )
        self._n_stops += 1

    def run(self, features: ArrayLike, stop: int) -> Float32:
        """Logits (⌈n/R⌉, n_tokens) of a whole utterance, features (n, input_width), at a stop.

        Of a transducer they are the values of its encoder. Bidirectional layers see all of it. Raises
        ValueError if the features have another width or a value is not finite.
        """
        _require_stop(self, stop)
        whole = _core.NetworkStream(self.core, 0)
        whole.push(checked_frames(self.architecture, features))
        whole.finish()
        if not whole.n_ready:
            return np.zeros((0, self.architecture.n_tokens), np.float32)
        return _core.advance([whole], [stop])[0]

    def _joined(
        self, architecture: AnyArchitecture, vectors: Mapping[str, Float32], isa: str | None
    ) -> _core.TransducerModel | None:
        if not isinstance(architecture, Transducer):
            return None
        predictor = self._built(architecture.predictor, vectors, isa)
        output = architecture.output.name
        bias = vectors[f"{output}.bias"].reshape(-1)
        return _core.network_transducer(predictor, self._matrices[f"{output}.weight"], bias)

    def _built(
        self, architecture: Architecture, vectors: Mapping[str, Float32], isa: str | None
    ) -> _core.Network:
        core = _core.Network(architecture.input_width, isa)
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
            self._add_layer(core, layer, given, vectors)
        return core

    def _add_layer(
        self, core: _core.Network, layer: Layer, given: Shape, vectors: Mapping[str, Float32]
    ) -> None:
        matrices = self._matrices

        def vector(part: str) -> Float32:
            return vectors[f"{layer.name}.{part}"].reshape(-1)

        match layer:
            case Window():
                core.add_window(layer.left, layer.right, layer.stride)
            case Linear():
                core.add_linear(matrices[f"{layer.name}.weight"], vector("bias"), layer.activation)
            case SharedRnn():
                self._add_shared_rnn(core, layer, given, vectors)
            case Embedding():
                core.add_embedding(matrices[f"{layer.name}.table"])
            case BatchNorm():
                core.add_batch_norm(self._new_affines(layer.name, layer.groups(given)))
            case LayerNorm():
                core.add_layer_norm(vector("scale"), vector("shift"), layer.epsilon)
            case Recurrent():
                directions = [_direction(prefix, self._matrices, vectors) for prefix in layer.prefixes]
                core.add_recurrent(layer.cell, directions)
            case Convolution():
                shape, reach = _convolution(layer, given)
                core.add_convolution(
                    matrices[f"{layer.name}.kernel"], vector("bias"), layer.activation, shape, reach
                )

    def _add_shared_rnn(
        self, core: _core.Network, layer: SharedRnn, given: Shape, vectors: Mapping[str, Float32]
    ) -> None:
        matrices = [self._matrices[matrix.name] for matrix in layer.matrices(given)]
        if layer.batch_norm:
            affines = self._new_affines(layer.name, Shape(1, layer.cells))
            core.add_shared_rnn(matrices, _NO_VALUES, affines, layer.activation)
        else:
            bias = vectors[f"{layer.name}.bias"].reshape(-1)
            core.add_shared_rnn(matrices, bias, None, layer.activation)

    def _new_affines(self, layer: str, groups: Shape) -> _core.Affines:
        """The scales and shifts of a layer, to which every stop adds its own."""
        self._affines[layer] = _core.Affines(groups.channels, groups.bins)
        return self._affines[layer]


class NetworkStream:
    """One stream on its way through a network, `chunk_frames` output frames at a time.

    The chunks lie on a grid that starts with the segment, and every product is computed over the
    frames of a chunk, so the bits of the logits do not depend on how the frames were cut. Memory is
    constant if the chunks are taken as they become ready.
    Raises ValueError if the architecture has a bidirectional layer or `chunk_frames` is under 1.
    """

    def __init__(self, network: Network, chunk_frames: int) -> None:
        if not network.architecture.streaming:
            raise ValueError(
                "cannot stream: a layer of this network runs backwards in time and needs the end of the "
                "utterance first; transcribe whole files with it, or train a unidirectional one"
            )
        if chunk_frames < 1:
            raise ValueError(f"a chunk needs at least 1 output frame; got {chunk_frames}")
        self.network = network
        self.core = _core.NetworkStream(network.core, chunk_frames)

    def reset(self) -> None:
        """Starts a new segment: states zero, frames not yet decoded given up, grid at the next frame."""
        self.core.reset()

    def push(self, features: ArrayLike) -> None:
        """Adds feature frames (n, input_width), any number of them.

        Raises ValueError after `finish`, on another width or a value that is not finite.
        """
        self.core.push(checked_frames(self.network.architecture, features))

    def finish(self) -> None:
        """Says that the segment ends here: the right context of its last frames is zeros."""
        self.core.finish()

    @property
    def n_ready(self) -> int:
        """Chunks that `advance` can compute now; after `finish` the last may be partial."""
        return self.core.n_ready


def advance(streams: Sequence[NetworkStream], stops: Sequence[int]) -> list[Float32]:
    """Logits (chunk_frames, n_tokens) of the next chunk of every stream, each at its own stop.

    They are stepped together, without the GIL; the last chunk of a segment may have fewer rows. The
    states stay with the streams, so each chunk may be at another stop.
    Raises ValueError if a stream is not ready or named twice, if they do not share their network, or if that
    has no such stop.
    """
    for stream, stop in zip(streams, stops, strict=True):
        _require_stop(stream.network, stop)
    return _core.advance([stream.core for stream in streams], list(stops))


def checked_frames(architecture: Architecture, features: ArrayLike) -> Float32:
    """Feature frames as the engine takes them, float32 (n, input_width), contiguous.

    Raises ValueError if they have another width, a value is not finite, or the network looks tokens up and
    a value is the index of none.
    """
    with np.errstate(over="ignore"):  # what is too large for float32 is refused below, as infinite
        frames = np.ascontiguousarray(features, np.float32)
    if frames.ndim != 2 or frames.shape[1] != architecture.input_width:
        raise ValueError(
            f"this network takes frames of {architecture.input_width} values, an array "
            f"(n_frames, {architecture.input_width}); got one of shape {np.shape(features)}"
        )
    if architecture.n_indices is not None:
        _require_indices(features, frames, architecture.n_indices)
    if not np.isfinite(frames).all():
        raise ValueError("a feature frame holds a value that is not finite; check the audio it was made of")
    return frames


def _require_indices(given: ArrayLike, frames: Float32, n_indices: int) -> None:
    is_index = (np.floor(frames) == given) & (frames >= 0) & (frames < n_indices)
    if not is_index.all():
        wrong = np.asarray(given)[~is_index][0]
        raise ValueError(
            f"this network takes indices of tokens, whole numbers from 0 to {n_indices - 1}; got {wrong}"
        )


def _require_stop(network: Network, stop: int) -> None:
    if not 0 <= stop < network.n_stops:
        raise ValueError(f"the network has {network.n_stops} stops, and stop {stop} was asked for")


def _new_matrix(piece: PieceData, scales: Float32 | None) -> _core.Matrix:
    matrix, flat = piece.stored.matrix, None if scales is None else scales.reshape(-1)
    return _core.Matrix(matrix.rows, matrix.columns, matrix.gates, piece.stored.dtype, flat)


@contextmanager
def _refusing(stop: StopData, piece: PieceData) -> Iterator[None]:
    """Says of which tensor an error is."""
    try:
        yield
    except ValueError as error:
        raise stop.refuse(_tensor(stop, piece, str(error)), f"is refused: {error}") from error


def _tensor(stop: StopData, piece: PieceData, sentence: str) -> str:
    """The tensor of a piece that a sentence is about."""
    name = piece.stored.matrix.name
    if piece.starts is None:
        return base_name(name)
    names = piece_names(stop.stop, name)
    return next((one for one in names if f"`{one.rpartition('/')[2]}`" in sentence), names[-1])


def _direction(
    prefix: str, matrices: Mapping[str, _core.Matrix], vectors: Mapping[str, Float32]
) -> tuple[_core.Matrix, _core.Matrix, _core.Matrix | None, Float32, Float32]:
    """Input, recurrent and projection matrix, bias and candidate bias of one direction."""
    return (
        matrices[f"{prefix}.input"],
        matrices[f"{prefix}.recurrent"],
        matrices.get(f"{prefix}.projection"),
        vectors[f"{prefix}.bias"].reshape(-1),
        vectors.get(f"{prefix}.candidate_bias", _NO_VALUES).reshape(-1),
    )


def _convolution(layer: Convolution, given: Shape) -> tuple[list[int], list[int]]:
    """The numbers of csrc/network/layers.h: those of `ConvolutionShape`, then left, right and stride."""
    span = layer.kernel_bins or given.bins
    padding = 0 if layer.kernel_bins is None else (span - 1) // 2
    bins = layer.output(given).bins
    reach = layer.reach()
    shape = [given.channels, given.bins, layer.kernel, span, padding, layer.stride_bins, bins]
    return shape, [reach.left, reach.right, reach.stride]
