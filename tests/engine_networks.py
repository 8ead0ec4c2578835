"""Networks of the engine, made of weights through a model file, as users make them."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from model_file.written import describe
from sparrot.architecture import AnyArchitecture
from sparrot.engine.network import Network, NetworkStream, advance
from sparrot.model_file import LevelToWrite, ModelFile, Storage, WeightType, layout_of_block, write_model
from sparrot.model_file.layout import Layout

DENSE = (LevelToWrite(name="large", kept={}),)


def model_of(
    architecture: AnyArchitecture,
    weights: Mapping[str, np.ndarray],
    levels: Sequence[LevelToWrite] = DENSE,
    block: tuple[int, int] = (16, 1),
    dtype: WeightType = "F32",
    layout_of: Callable[[tuple[int, int]], Layout] = layout_of_block,
    n_stops: int | None = None,
) -> ModelFile:
    """An open model file; nothing of it is left on the disk."""
    blocks = {name: block for level in levels for name in level.kept}
    dtypes = {matrix.name: dtype for matrix in architecture.matrices()}
    storage = Storage(blocks, dtypes, n_stops, layout_of=layout_of)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.sparrot"
        write_model(path, describe(architecture), weights, levels, storage)
        return ModelFile.open(path)


def network_of(model: ModelFile, isa: str | None = None) -> Network:
    """Its network, with all stops."""
    network = Network(model.description.architecture, model.read_stop(0), isa=isa)
    for stop in range(1, len(model.stops)):
        network.add_stop(model.read_stop(stop))
    return network


def dense_network(architecture: AnyArchitecture, weights: Mapping[str, np.ndarray]) -> Network:
    """A network of one level, at stop 0."""
    return network_of(model_of(architecture, weights))


def advance_all(stream: NetworkStream, stops: Sequence[int] = (0,)) -> list[np.ndarray]:
    """The chunks that are ready, at the stops in turn."""
    chunks: list[np.ndarray] = []
    while stream.n_ready:
        chunks += advance([stream], [stops[len(chunks) % len(stops)]])
    return chunks


def decode(
    frames: np.ndarray,
    chunk_frames: int,
    network: Network,
    *,
    cuts: Sequence[int] = (),
    stops: Sequence[int] = (0,),
) -> list[np.ndarray]:
    """The chunks of a segment that is pushed in pieces, decoded at the end."""
    stream = NetworkStream(network, chunk_frames)
    for piece in np.split(frames, sorted(cuts)):
        stream.push(piece)
    stream.finish()
    return advance_all(stream, stops)
