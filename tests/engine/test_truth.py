"""The engine against NumPy on packaged recordings: every level, every instruction set of this processor.

A bound on the error of a whole recording would be worthless, since that of a recurrent network grows with
every step. So each step is checked by itself: from the engine's own state before it, the state after it
must lie within rounding of float64. By induction the engine computes the network, and nothing but rounding
is between them.
"""

from collections.abc import Iterator

import numpy as np
import pytest

import rounding
from engine_networks import network_of
from numpy_runner.network import Network as NumpyNetwork
from rounding import Rounded
from sparrot import _core
from sparrot.architecture import Recurrent, Window
from sparrot.corpora.loading import load_features
from sparrot.corpora.manifest import Utterance
from sparrot.corpora.sources import read_sources
from sparrot.engine.network import Network, NetworkStream, advance
from sparrot.engine.recognizer import PACKAGED_MODEL
from sparrot.model_file import LevelToWrite, ModelFile, write_model
from sparrot.model_file.storage import Storage, dtypes_of

LEVELS = ["large", "medium", "small"]
ISAS = _core.available_kernels()


@pytest.fixture(scope="module", params=["F32", "BF16", "I8"])
def model(request, tmp_path_factory) -> ModelFile:
    """The packaged model, its weights in every type."""
    packaged = ModelFile.open(PACKAGED_MODEL)
    dense = packaged.parameters("large")
    blocks = {entry.matrix.name: entry.block for entry in packaged.matrices if entry.block is not None}
    levels = [
        LevelToWrite(
            name=level.name, kept={name: packaged.parameters(level.name)[name] != 0 for name in blocks}
        )
        for level in packaged.levels
    ]
    path = tmp_path_factory.mktemp("types") / f"{request.param}.sparrot"
    dtypes = dtypes_of(packaged.description.architecture.matrices(), request.param)
    write_model(path, packaged.description, dense, levels, Storage(blocks, dtypes))
    return ModelFile.open(path)


def type_of(model: ModelFile) -> str:
    return model.matrices[0].dtype


def one_a_speaker() -> list[Utterance]:
    """The shortest string of every speaker."""
    shortest: dict[str, Utterance] = {}
    for string in sorted(read_sources(["packaged:strings/dev"]), key=lambda string: -string.duration):
        shortest[string.speaker] = string
    return list(shortest.values())


def engine_steps(network: Network, features: np.ndarray, stop: int) -> Iterator[tuple[dict, np.ndarray]]:
    """The states of recurrent layers after every output frame, by layer, and its logits."""
    stream = NetworkStream(network, chunk_frames=1)
    stream.push(features)
    stream.finish()
    recurrent = {
        layer.name: i for i, layer in enumerate(network.architecture.layers) if isinstance(layer, Recurrent)
    }
    while stream.n_ready:
        logits = advance([stream], [stop])[0]
        yield {name: stream.core.cells(i)[0] for name, i in recurrent.items()}, logits[0]


def check_every_step(network: Network, weights: dict, features: np.ndarray, stop: int) -> None:
    """Compares the packaged model's layers, of which only the first looks at more than one frame."""
    stack, *layers = network.architecture.layers
    assert isinstance(stack, Window)
    frames = rounding._around(stack, [Rounded.exact(frame) for frame in features], features.shape[1])
    before = {
        layer.name: (np.zeros(layer.hidden), np.zeros(layer.cells))
        for layer in layers
        if isinstance(layer, Recurrent)
    }
    for frame, (after, logits) in zip(frames, engine_steps(network, features, stop), strict=True):
        x = frame
        for layer in layers:
            if not isinstance(layer, Recurrent):
                x = rounding.apply(layer, None, weights, [x])[0]
                continue
            h, c = after[layer.name][0][: layer.hidden], after[layer.name][1][: layer.cells]
            expected = rounding.step(layer, weights, x, tuple(map(Rounded.exact, before[layer.name])))
            for found, rounded in zip((h, c), expected, strict=True):
                assert np.all(abs(np.array(found) - rounded.value) <= rounded.error), layer.name
            before[layer.name] = (np.array(h), np.array(c))
            x = Rounded.exact(h)
        assert np.all(abs(logits - x.value) <= x.error)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_step_is_within_rounding_of_float64(model, isa, level):
    network, weights = network_of(model, isa), model.parameters(level)
    for string in one_a_speaker()[:2]:
        features = load_features(string, model.description.features)
        with rounding.products_of(type_of(model)):
            check_every_step(network, weights, features, model.level(level).stop)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_step_of_all_packaged_recordings(model, isa, level):
    network, weights = network_of(model, isa), model.parameters(level)
    for string in read_sources(["packaged:strings/dev"]):
        features = load_features(string, model.description.features)
        with rounding.products_of(type_of(model)):
            check_every_step(network, weights, features, model.level(level).stop)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("level", LEVELS)
def test_logits_of_whole_strings_are_those_of_the_numpy_runner(model, isa, level):
    """Nothing follows from bounds here: these are twice the largest differences that were measured."""
    network, stop = network_of(model, isa), model.level(level).stop
    truth = NumpyNetwork(model.description.architecture, model.parameters(level))
    most = {"F32": 2e-4, "BF16": 1.0, "I8": 2.0}[type_of(model)]
    for string in read_sources(["packaged:strings/dev"])[::60]:
        features = load_features(string, model.description.features)
        logits, expected = network.run(features, stop), truth.run(features)
        assert abs(logits - expected).max() < most


@pytest.mark.parametrize("model", ["I8"], indirect=True)  # whose sums of integers are the same in any order
@pytest.mark.parametrize("isa", ISAS)
def test_int8_gives_the_same_bits_in_every_batch(model, isa):
    strings, network = one_a_speaker() * 12, network_of(model, isa)
    stops = [i % 3 for i in range(len(strings))]
    streams = [NetworkStream(network, 8) for _ in strings]

    def refill() -> None:
        for stream, string in zip(streams, strings, strict=True):
            stream.reset()
            stream.push(load_features(string, model.description.features)[:60])

    refill()
    together = [logits.tobytes() for logits in advance(streams, stops)]
    refill()
    alone = [advance([stream], [stop])[0].tobytes() for stream, stop in zip(streams, stops, strict=True)]
    assert together == alone
