"""A race of one model's levels, in every type of weights, against dense chains of its matrix products.

Contestants take turns, each runs a few times a turn, and the least of all counts: what a machine does when
nobody disturbs it. The rivals have no gates, no state and no convolution to compute. Of a transducer they
compute the encoder and the output of the joint network once a frame, and we decode a recording in which
nothing is said; what a token costs, a step of the predictor, is left out.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparrot.architecture import AnyArchitecture, Transducer
from sparrot.engine.frames import Float32
from sparrot.engine.network import Network, NetworkStream, advance
from sparrot.engine.prepared import PreparedModel
from sparrot.engine.transducer import ModelLevel, Piece, TransducerGreedyDecoder, accept_all
from sparrot.model_file import ModelFile
from sparrot.model_file.conversion import convert
from sparrot.model_file.storage import dtypes_of
from sparrot.model_file.weight_types import WeightType

if TYPE_CHECKING:
    from sparrot.bench.rivals.contestant import Contestant

TYPES: dict[WeightType, str] = {"F32": "fp32", "BF16": "bf16", "I8": "int8"}
RIVALS = ("onnxruntime", "torch")
REST_S = 0.01  # between contestants, whose threads may still spin
RUNS = 5  # a turn; the first of them warm the caches
NOTHING_IS_SAID = -1e6  # penalty of the blank


@dataclass
class Entry:
    """One contestant and what it took.

    kind:    `sparse`, or `dense` of a rival.
    level:   of ours; empty for rivals.
    bytes:   that our level reads, 0 for rivals.
    seconds: an output frame of one stream, of every turn.
    """

    method: str
    kind: Literal["sparse", "dense"]
    type: str
    level: str
    bytes: int
    seconds: list[float] = field(default_factory=list)

    @property
    def least(self) -> float:
        """The least of its figures."""
        return min(self.seconds)

    def to_json(self, frame_s: float) -> dict[str, Any]:
        """A row of `sparrot bench --json`; `frame_s` is the audio that an output frame stands for."""
        return {
            "method": self.method,
            "kind": self.kind,
            "type": self.type,
            "level": self.level,
            "bytes": self.bytes,
            "ms_per_frame": 1e3 * self.least,
            "ms_per_frame_median": 1e3 * float(np.median(self.seconds)),
            "rtf": self.least / frame_s,
        }


@dataclass(frozen=True)
class Race:
    """What is run.

    n_streams: that are stepped together.
    rounds:    turns of every contestant.
    """

    n_streams: int = 1
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.n_streams < 1 or self.rounds < 1:
            raise ValueError(
                f"a race has at least 1 stream and 1 round; got {self.n_streams} and {self.rounds}"
            )

    def run(
        self,
        models: Mapping[str, ModelFile],
        against: Sequence[str],
        tell: Callable[[str], None] = lambda _: None,
    ) -> list[Entry]:
        """Every level of every file (by type of weights), and the rivals named, in turn.

        `tell` is told what is going on.

        Raises: ValueError if a model cannot stream or a rival is unknown or wrong; ImportError if it is not
        installed.
        """
        runners: list[tuple[Entry, Callable[[], float]]] = []
        for kind, model in models.items():
            tell(f"loading {kind}")
            runners += self._levels(model, kind)
        architecture = next(iter(models.values())).description.architecture
        for rival in self._rivals(architecture, against, tell):
            entry = Entry(rival.name, "dense", rival.type, "", 0)
            runners.append((entry, self._passes(rival)))
        for turn in range(self.rounds):
            tell(f"round {turn + 1} of {self.rounds}")
            for entry, runner in runners:
                time.sleep(REST_S)
                entry.seconds.append(runner())
        return [entry for entry, _ in runners]

    def _levels(self, model: ModelFile, kind: str) -> Iterator[tuple[Entry, Callable[[], float]]]:
        prepared = PreparedModel(model)
        for level in model.levels:
            entry = Entry("sparrot", "sparse", kind, level.name, model.level_bytes(level.name))
            yield entry, self._chunks(prepared, level.name)

    def _chunks(self, prepared: PreparedModel, level: str) -> Callable[[], float]:
        """What runs a few steady chunks of all streams and gives the least seconds a frame and stream."""
        network, stop = prepared[level].network, prepared[level].stop
        chunk, architecture = prepared.description.chunk_frames, network.architecture
        streams = [NetworkStream(network, chunk) for _ in range(self.n_streams)]
        rng = np.random.default_rng(0)
        shape = (chunk * architecture.reduction, architecture.input_width)
        frames = rng.standard_normal(shape).astype(np.float32)

        def push() -> None:
            for stream in streams:
                stream.push(frames)

        while not streams[0].n_ready:
            push()
        search = _search(network, stop, len(streams))

        def run() -> float:
            least = float("inf")
            for _ in range(RUNS):
                begin = time.perf_counter()
                search(advance(streams, [stop] * len(streams)))
                least = min(least, time.perf_counter() - begin)
                push()
            return least / chunk / len(streams)

        return run

    def _passes(self, rival: "Contestant") -> Callable[[], float]:
        return lambda: min(map(sum, rival.run(RUNS))) / self.n_streams

    def _rivals(
        self, architecture: AnyArchitecture, against: Sequence[str], tell: Callable[[str], None]
    ) -> "Iterator[Contestant]":
        if not against:
            return
        from sparrot.bench.rivals.contestant import Problem

        matrices = products_of_a_frame(architecture)
        rng = np.random.default_rng(0)
        inputs = [
            rng.standard_normal((self.n_streams, matrix.shape[1])).astype(np.float32) for matrix in matrices
        ]
        problem = Problem(matrices, inputs)
        for module in _modules(against):
            for contestant in module.prepare(problem):
                tell(f"checking {contestant.name}, {contestant.type}")
                contestant.check(problem)
                yield contestant


def _search(network: Network, stop: int, n_streams: int) -> Callable[[list[Float32]], object]:
    """What decodes the chunks of all streams by a transducer as if nothing were said; nothing of CTC."""
    transducer = network.transducer
    if transducer is None:
        return lambda chunks: None
    decoders = [TransducerGreedyDecoder(transducer) for _ in range(n_streams)]
    level = ModelLevel("", stop)
    return lambda chunks: accept_all(
        [Piece(*taken, level, NOTHING_IS_SAID) for taken in zip(decoders, chunks, strict=True)]
    )


def products_of_a_frame(architecture: AnyArchitecture) -> list[Float32]:
    """Dense matrices, one for every product that an output frame needs, but for those of convolutions."""
    rng = np.random.default_rng(0)
    encoder, products = architecture.encoder, list[Float32]()
    uses = encoder.reduction
    for layer, given in zip(encoder.layers, encoder.shapes(), strict=False):
        uses //= layer.reach().stride
        for matrix in layer.matrices(given):
            if matrix.prunable and matrix.is_multiplied:
                drawn = rng.standard_normal((matrix.rows, matrix.columns)).astype(np.float32)
                products += [drawn] * uses
    if isinstance(architecture, Transducer):
        shape = (architecture.n_tokens, architecture.joint_width)
        products.append(rng.standard_normal(shape).astype(np.float32))
    return products


def in_every_type(model: ModelFile, folder: Path) -> dict[str, ModelFile]:
    """The model with float32, bfloat16 and int8 weights, files in `folder`; as it is if it is not float32."""
    matrices = [entry.matrix for entry in model.matrices]
    stored = {entry.dtype for entry in model.matrices if entry.matrix.prunable}
    if stored != {"F32"}:
        return {" and ".join(sorted(TYPES[dtype] for dtype in stored)): model}
    models = {TYPES["F32"]: model}
    for dtype in ("BF16", "I8"):
        path = folder / f"{dtype}.sparrot"
        convert(model, path, dtypes_of(matrices, dtype))
        models[TYPES[dtype]] = ModelFile.open(path)
    return models


def check_rivals(against: Sequence[str]) -> None:
    """Nothing; raises ValueError if there is no such rival."""
    for name in against:
        if name not in RIVALS:
            raise ValueError(f"no rival `{name}`: choose from {', '.join(RIVALS)}")


def _modules(against: Sequence[str]) -> Iterator[Any]:
    check_rivals(against)
    if "onnxruntime" in against:
        from sparrot.bench.rivals import onnx_runtime

        yield onnx_runtime
    if "torch" in against:
        from sparrot.bench.rivals import torch_int8, torch_linear

        yield from (torch_linear, torch_int8)
