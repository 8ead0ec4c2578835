"""The bidirectional RNN whose directions share their input matrix, at every level and type, and its size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import reference
import rounding
from architectures import features, parameters
from engine_networks import dense_network, model_of, network_of
from model_file.written import three_levels
from numpy_runner.network import Network as NumpyNetwork
from sparrot import _core
from sparrot.architecture import Architecture, Convolution, Linear, SharedRnn
from sparrot.engine.network import Network, NetworkStream
from sparrot.model_file import ModelFile

TYPES = ["F32", "BF16", "I8"]
RNNS = [SharedRnn("rnn", 35), SharedRnn("rnn", 35, False), SharedRnn("rnn", 35, False, "tanh")]


def stacked(layer: SharedRnn) -> Architecture:
    second = replace(layer, name="second", cells=18)
    return Architecture(5, (layer, second, Linear("output", 4)))


def model_at_three_levels(architecture: Architecture, dtype: str) -> ModelFile:
    """Scales and shifts are others at each level."""
    levels = []
    for seed, level in enumerate(three_levels(architecture, (4, 1)), start=50):
        drawn = parameters(architecture, seed, 0.5)
        by_level = [vector.name for vector in architecture.vectors() if vector.by_level]
        levels.append(replace(level, vectors={name: drawn[name] for name in by_level}))
    return model_of(architecture, parameters(architecture, 3, 0.04), levels, (4, 1), dtype)


def together(network: Network, utterances: list[np.ndarray], stops: list[int]) -> list[np.ndarray]:
    """Whole utterances in one batch, each at its own stop."""
    streams = [_core.NetworkStream(network.core, 0) for _ in utterances]
    for stream, frames in zip(streams, utterances, strict=True):
        stream.push(frames)
        stream.finish()
    return _core.advance(streams, stops)


# against float64


def test_the_truth_by_hand():
    layer = SharedRnn("r", 1, True, "relu")
    own = {
        "input": [[2.0]],
        "recurrent": [[10.0]],
        "reverse.recurrent": [[100.0]],
        "scale": [3.0],
        "shift": [1.0],
    }
    a0, a1 = 7.0, 13.0  # 3 · 2x + 1
    expected = [[a0 + (a0 + 100 * a1)], [(a1 + 10 * a0) + a1]]
    assert reference.shared_rnn(layer, own, [[1.0], [2.0]]) == expected
    plain = {**own, "bias": [-4.0]}
    assert reference.shared_rnn(replace(layer, batch_norm=False), plain, [[1.0]]) == [[0.0]]
    clipped = reference.shared_rnn(replace(layer, activation="clipped_relu"), own, [[1.0], [2.0]])
    assert clipped == [[7.0 + 20.0], [20.0 + 13.0]]


def test_without_batch_norm_and_with_tanh_it_is_the_sum_of_torchs_directions():
    architecture = Architecture(4, (SharedRnn("rnn", 6, False, "tanh"),))
    weights, frames = parameters(architecture, 0), features(architecture, 9)
    module = torch.nn.RNN(4, 6, batch_first=True, bidirectional=True).double()
    state = {}
    for suffix, matrix in (("", "recurrent"), ("_reverse", "reverse.recurrent")):
        state |= {
            f"weight_ih_l0{suffix}": weights["rnn.input"],
            f"weight_hh_l0{suffix}": weights[f"rnn.{matrix}"],
            f"bias_ih_l0{suffix}": weights["rnn.bias"],
            f"bias_hh_l0{suffix}": np.zeros(6),
        }
    module.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    with torch.no_grad():
        both = module(torch.tensor(frames, dtype=torch.float64)[None])[0][0].numpy()
    expected = both[:, :6] + both[:, 6:]
    np.testing.assert_allclose(reference.run(architecture, weights, frames), expected, rtol=1e-12, atol=1e-12)
    bound = rounding.run(architecture, weights, frames).error + 1e-12
    assert np.all(abs(NumpyNetwork(architecture, weights).run(frames) - expected) <= bound)
    assert np.all(abs(dense_network(architecture, weights).run(frames, 0) - expected) <= bound)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layer", RNNS, ids=["normed", "clipped", "tanh"])
@pytest.mark.parametrize("isa", _core.available_kernels())
def test_every_level_is_within_rounding_of_float64(isa, layer, dtype):
    architecture = stacked(layer)
    model = model_at_three_levels(architecture, dtype)
    network, frames = network_of(model, isa), features(architecture, 11)
    for stop, level in enumerate(reversed(model.levels)):
        with rounding.products_of(dtype):
            bounded = rounding.run(architecture, model.parameters(level.name), frames)
        logits = network.run(frames, stop)
        assert np.all(abs(logits - bounded.value) <= bounded.error)
        assert bounded.error.max() < {"F32": 1e-5, "BF16": 5e-3, "I8": 0.05}[dtype]


@pytest.mark.parametrize("layer", RNNS, ids=["normed", "clipped", "tanh"])
@pytest.mark.parametrize("n_streams", [2, 15, 16, 37])
def test_a_batch_of_mixed_levels_is_every_utterance_by_itself(layer, n_streams):
    architecture = stacked(layer)
    model = model_at_three_levels(architecture, "F32")
    weights = [model.parameters(level.name) for level in reversed(model.levels)]
    random = np.random.default_rng(n_streams)
    stops = random.integers(0, 3, n_streams).tolist()
    utterances = [features(architecture, 9, seed) for seed in range(n_streams)]
    for logits, frames, stop in zip(
        together(network_of(model), utterances, stops), utterances, stops, strict=True
    ):
        bounded = rounding.run(architecture, weights[stop], frames)
        assert np.all(abs(logits - bounded.value) <= bounded.error)


@pytest.mark.parametrize("layer", RNNS, ids=["normed", "clipped", "tanh"])
def test_int8_gives_the_same_bits_in_every_batch(layer):
    architecture = stacked(layer)
    model = model_at_three_levels(architecture, "I8")
    network, stops = network_of(model), [number % 3 for number in range(20)]
    utterances = [features(architecture, 9, seed) for seed in range(20)]
    alone = [network.run(frames, stop) for frames, stop in zip(utterances, stops, strict=True)]
    for logits, expected in zip(together(network, utterances, stops), alone, strict=True):
        np.testing.assert_array_equal(logits, expected)


def test_int8_states_beyond_one_are_not_clipped():
    """Recurrent inputs of a clipped ReLU reach 20, of which a fixed scale of 1/127 would make 1."""
    architecture = Architecture(1, (SharedRnn("rnn", 1, False),))
    weights = {
        "rnn.input": [[4.0]],
        "rnn.recurrent": [[1.0]],
        "rnn.reverse.recurrent": [[0.0]],
        "rnn.bias": [0.0],
    }
    weights = {name: np.array(value, np.float32) for name, value in weights.items()}
    ends_in_token = Architecture(1, (*architecture.layers, Linear("output", 2)))
    weights |= {"output.weight": np.ones((2, 1), np.float32), "output.bias": np.zeros(2, np.float32)}
    network = network_of(model_of(ends_in_token, weights, dtype="I8"))
    logits = network.run(np.ones((3, 1), np.float32), 0)[:, 0]
    np.testing.assert_allclose(logits, [8, 12, 16], rtol=1e-5)


# what it is


def test_it_cannot_stream():
    architecture = stacked(RNNS[0])
    assert not architecture.streaming
    with pytest.raises(ValueError, match="runs backwards in time"):
        NetworkStream(dense_network(architecture, parameters(architecture, 0)), 2)


def test_an_utterance_of_no_frame_gives_nothing():
    architecture = stacked(RNNS[0])
    network = dense_network(architecture, parameters(architecture, 0))
    assert network.run(np.zeros((0, 5), np.float32), 0).shape == (0, 4)


def test_matrices_that_do_not_fit_are_refused():
    five, square = (_core.Matrix(6, columns, 1, "F32", None) for columns in (5, 6))
    network, bias = _core.Network(5), np.zeros(16, np.float32)
    for matrices, own, affines in (
        ([five, square, five], bias, None),
        ([five, five, square], bias, None),
        ([five, square, square], bias[:6], None),
        ([five, square, square], bias, _core.Affines(6, 1)),
        ([five, square, square], bias[:0], _core.Affines(7, 1)),
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            network.add_shared_rnn(matrices, own, affines, "tanh")


def test_the_published_network_has_its_number_of_weights():
    """67 million that are pruned (Narang et al. 2017, table 1): all but those of convolutions and output."""
    rnns = [SharedRnn(f"rnn{i}", 1760) for i in range(7)]
    front = (
        Convolution("conv0", 32, kernel=11, stride=2, kernel_bins=41, stride_bins=2),
        Convolution("conv1", 32, kernel=11, stride=1, kernel_bins=21, stride_bins=2),
    )
    hidden = Linear("fc", 1760, "clipped_relu")
    architecture = Architecture(161, (*front, *rnns, hidden, Linear("output", 29)))
    assert architecture.shapes()[2].width == 1312
    pruned = [m for m in architecture.matrices() if m.prunable and m.name != "output.weight"]
    assert sum(matrix.size for matrix in pruned) == 1760 * 1312 + 20 * 1760**2 + 1760**2 == 67_358_720
    assert {matrix.type for matrix in pruned} == {"rnn", "fc"}
