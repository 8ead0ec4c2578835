"""Networks against float64, and streams against whole utterances."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
import rounding
from architectures import architectures, features, parameters
from numpy_runner.network import Network, NetworkStream
from sparrot.architecture import Architecture, Convolution, LayerNorm, Linear, Recurrent, Window

LENGTHS = st.integers(0, 14)
CHUNKS = st.integers(1, 5)

SPEECH = Architecture(  # one layer of every kind, reduction 6, with context on both sides
    4,
    (
        Convolution("conv0", 2, kernel=3, stride=2, kernel_bins=3),
        Convolution("conv1", 5, kernel=3),
        LayerNorm("norm"),
        Recurrent("lstm", "lstm", 5, projection=3),
        Window("stack", 1, 2, 3),
        Recurrent("gru", "gru", 4),
        Recurrent("rnn", "rnn", 3),
        Linear("output", 4),
    ),
)


def stream_logits(stream: NetworkStream, *networks: Network) -> list[np.ndarray]:
    """The chunks that are ready, by the networks in turn."""
    chunks = []
    while (logits := stream.advance(networks[len(chunks) % len(networks)])) is not None:
        chunks.append(logits)
    return chunks


def decode(frames, chunk_frames: int, *networks: Network, cuts=()) -> list[np.ndarray]:
    """The chunks of a segment that is pushed in pieces, each decoded as far as it goes at the end."""
    stream = NetworkStream(networks[0].architecture, chunk_frames)
    for piece in np.split(frames, sorted(cuts)):
        stream.push(piece)
    stream.finish()
    return stream_logits(stream, *networks)


def joined(chunks: list[np.ndarray], architecture: Architecture) -> np.ndarray:
    return np.concatenate([np.zeros((0, architecture.n_tokens), np.float32), *chunks])


# against float64


@given(architectures(streaming=False), LENGTHS, st.integers(0, 99))
def test_run_is_within_rounding_of_float64(architecture, n_frames, seed):
    weights, frames = parameters(architecture, seed), features(architecture, n_frames, seed)
    exact, bounded = reference.run(architecture, weights, frames), rounding.run(architecture, weights, frames)
    np.testing.assert_allclose(bounded.value, exact, rtol=1e-9, atol=1e-9)
    logits = Network(architecture, weights).run(frames)
    assert logits.dtype == np.float32
    assert np.all(abs(logits - exact) <= bounded.error + 1e-9)


@given(architectures(streaming=True), CHUNKS, LENGTHS)
def test_stream_is_within_rounding_of_float64(architecture, chunk_frames, n_frames):
    weights, frames = parameters(architecture, 1), features(architecture, n_frames)
    bounded = rounding.run(architecture, weights, frames)
    logits = joined(decode(frames, chunk_frames, Network(architecture, weights)), architecture)
    assert logits.shape == bounded.value.shape
    assert np.all(abs(logits - bounded.value) <= bounded.error + 1e-9)


def test_the_bound_is_a_tight_one():
    error = rounding.run(SPEECH, parameters(SPEECH, 3), features(SPEECH, 40)).error
    assert error.max() < 1e-5


def test_saturated_gates_stay_finite_and_silent():
    architecture = Architecture(1, (Recurrent("lstm", "lstm", 1), Recurrent("gru", "gru", 1), Linear("o", 2)))
    weights = {name: np.full_like(value, 1e4) for name, value in parameters(architecture, 0).items()}
    frames = np.array([[1e6], [-1e6], [3e4]], np.float32)
    exact = reference.run(architecture, weights, frames)
    np.testing.assert_allclose(Network(architecture, weights).run(frames), exact, rtol=1e-6)


@pytest.mark.parametrize("activation", ["identity", "relu", "clipped_relu", "tanh"])
@pytest.mark.parametrize("layer", [Linear, Convolution])
def test_activations_beyond_both_limits(layer, activation):
    options = {Linear: {"size": 1}, Convolution: {"channels": 1, "kernel": 1}}[layer]
    architecture = Architecture(1, (layer("only", activation=activation, **options),))
    weights = {name: np.full_like(value, 0.5) for name, value in parameters(architecture, 0).items()}
    frames = np.array([[-90], [-2], [0], [38], [39], [90]], np.float32)
    exact = reference.run(architecture, weights, frames)
    np.testing.assert_allclose(Network(architecture, weights).run(frames), exact, rtol=2**-21)


def test_long_utterances_are_worked_off_in_blocks():
    architecture = Architecture(2, (Recurrent("gru", "gru", 3, bidirectional=True), Linear("output", 2)))
    weights, frames = parameters(architecture, 0, 0.2), features(architecture, 600)
    bounded = rounding.run(architecture, weights, frames)
    assert np.all(abs(Network(architecture, weights).run(frames) - bounded.value) <= bounded.error)


def test_large_convolutions_are_worked_off_in_blocks(monkeypatch):
    weights, frames = parameters(SPEECH, 0), features(SPEECH, 31)
    whole = Network(SPEECH, weights).run(frames)
    monkeypatch.setattr("numpy_runner.layers._UNFOLDED_VALUES", 100)
    bounded = rounding.run(SPEECH, weights, frames)
    in_blocks = Network(SPEECH, weights).run(frames)
    assert np.all(abs(in_blocks - bounded.value) <= bounded.error)
    assert np.all(abs(whole - bounded.value) <= bounded.error)


# streaming


@given(architectures(streaming=True), CHUNKS, st.data())
def test_any_cut_gives_the_same_bits(architecture, chunk_frames, data):
    network = Network(architecture, parameters(architecture, 2))
    frames = features(architecture, data.draw(LENGTHS))
    whole = decode(frames, chunk_frames, network)
    stream, chunks = NetworkStream(architecture, chunk_frames), []
    for piece in np.split(frames, sorted(data.draw(st.lists(st.integers(0, len(frames)), max_size=6)))):
        stream.push(piece)
        if data.draw(st.booleans()):
            chunks += stream_logits(stream, network)
    stream.finish()
    chunks += stream_logits(stream, network)
    assert [chunk.tobytes() for chunk in chunks] == [chunk.tobytes() for chunk in whole]


def test_single_frames_give_the_same_bits_at_the_size_of_vector_registers():
    architecture = Architecture(
        40, (Window("context", 2, 2), Recurrent("lstm", "lstm", 96, projection=50), Linear("output", 30))
    )
    network, frames = Network(architecture, parameters(architecture, 0, 0.1)), features(architecture, 101)
    whole, cut = decode(frames, 8, network), decode(frames, 8, network, cuts=range(1, 101))
    assert [chunk.tobytes() for chunk in cut] == [chunk.tobytes() for chunk in whole]


@given(architectures(streaming=True), LENGTHS)
def test_one_chunk_for_all_gives_the_bits_of_run(architecture, n_frames):
    network = Network(architecture, parameters(architecture, 4))
    frames = features(architecture, n_frames)
    chunks = decode(frames, max(1, architecture.output_frames(n_frames)), network)
    np.testing.assert_array_equal(joined(chunks, architecture), network.run(frames))


@given(architectures(streaming=True), CHUNKS, LENGTHS)
def test_chunks_are_whole_but_for_the_last(architecture, chunk_frames, n_frames):
    network = Network(architecture, parameters(architecture, 4))
    sizes = [len(chunk) for chunk in decode(features(architecture, n_frames), chunk_frames, network)]
    assert sum(sizes) == architecture.output_frames(n_frames)
    assert all(size == chunk_frames for size in sizes[:-1])
    assert all(0 < size <= chunk_frames for size in sizes[-1:])


@given(architectures(streaming=True), CHUNKS)
def test_a_chunk_is_ready_with_the_last_frame_it_sees(architecture, chunk_frames):
    stream = NetworkStream(architecture, chunk_frames)
    needed = (chunk_frames - 1) * architecture.reduction + architecture.lookahead + 1
    stream.push(features(architecture, needed - 1))
    assert stream.n_ready == 0
    assert stream.advance(Network(architecture, parameters(architecture, 0))) is None
    stream.push(features(architecture, 1))
    assert stream.n_ready == 1


def test_finish_makes_the_rest_ready_with_zeros_to_the_right():
    architecture = Architecture(1, (Window("context", 0, 3), Linear("sum", 1)))
    network = Network(
        architecture, {"sum.weight": np.ones((1, 4), np.float32), "sum.bias": np.zeros(1, np.float32)}
    )
    stream = NetworkStream(architecture, chunk_frames=2)
    stream.push(np.array([[1], [2], [4], [8]], np.float32))
    assert stream.n_ready == 0
    stream.finish()
    assert stream.n_ready == 2
    chunks = stream_logits(stream, network)
    assert [chunk.ravel().tolist() for chunk in chunks] == [[15, 14], [12, 8]]
    assert stream.n_ready == 0


def test_nothing_at_all_gives_nothing():
    network = Network(SPEECH, parameters(SPEECH, 0))
    assert network.run(np.zeros((0, 4), np.float32)).shape == (0, 4)
    stream = NetworkStream(SPEECH, 2)
    stream.finish()
    assert stream.n_ready == 0
    assert stream.advance(network) is None


@pytest.mark.parametrize("finished", [False, True])
def test_reset_leaves_nothing_of_the_segment_before(finished):
    network, frames = Network(SPEECH, parameters(SPEECH, 0)), features(SPEECH, 50)
    stream = NetworkStream(SPEECH, 2)
    stream.push(features(SPEECH, 47, seed=9))
    stream_logits(stream, network)
    if finished:
        stream.finish()
    stream.reset()
    stream.push(frames)
    stream.finish()
    again = stream_logits(stream, network)
    assert [c.tobytes() for c in again] == [c.tobytes() for c in decode(frames, 2, network)]


def test_memory_does_not_grow_with_the_stream():
    layers = (Convolution("conv", 100, 3, 2), Window("stack", 1, 2, 3), Recurrent("gru", "gru", 4))
    architecture = Architecture(200, layers)
    network, frames = Network(architecture, parameters(architecture, 0)), features(architecture, 17)
    stream, sizes = NetworkStream(architecture, 3), []
    tracemalloc.start()
    for turn in range(80):
        stream.push(frames)
        stream_logits(stream, network)
        if turn % 20 == 19:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(sizes) - sizes[0] < 40_000  # of 816 kB that came in since, and 408 kB between the layers


def test_what_came_in_and_went_out_may_be_overwritten():
    network, frames = Network(SPEECH, parameters(SPEECH, 0)), features(SPEECH, 60)
    expected = [chunk.tobytes() for chunk in decode(frames, 2, network)]
    stream, chunks, buffer = NetworkStream(SPEECH, 2), [], np.empty((20, 4), np.float32)
    for begin in (0, 20, 40):
        buffer[:] = frames[begin : begin + 20]
        stream.push(buffer)
        buffer[:] = np.nan
        while (logits := stream.advance(network)) is not None:
            chunks.append(logits.tobytes())
            logits[:] = np.nan
    stream.finish()
    assert chunks + [chunk.tobytes() for chunk in stream_logits(stream, network)] == expected


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_logits_of_a_last_recurrent_layer_are_not_its_state(cell):
    architecture = Architecture(2, (Recurrent("last", cell, 3),))
    network, frames = Network(architecture, parameters(architecture, 0)), features(architecture, 4)
    stream = NetworkStream(architecture, 2)
    stream.push(frames)
    stream.advance(network)[:] = np.nan
    np.testing.assert_array_equal(stream.advance(network), decode(frames, 2, network)[1])


# levels


@given(architectures(streaming=True), CHUNKS, LENGTHS)
def test_switching_between_equal_networks_changes_nothing(architecture, chunk_frames, n_frames):
    weights, frames = parameters(architecture, 5), features(architecture, n_frames)
    one, other = Network(architecture, weights), Network(architecture, weights)
    switched = decode(frames, chunk_frames, one, other)
    assert [c.tobytes() for c in switched] == [c.tobytes() for c in decode(frames, chunk_frames, one)]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_switch_keeps_the_state(cell):
    architecture = Architecture(
        2,
        (
            Window("context", 1, 1),
            Recurrent("deep0", cell, 4, 2 if cell == "lstm" else None),
            Recurrent("deep1", cell, 3),
            Linear("output", 2),
        ),
    )
    levels = [parameters(architecture, seed) for seed in (6, 7)]
    frames, chunk_frames = features(architecture, 11), 2
    logits = joined(
        decode(frames, chunk_frames, *(Network(architecture, level) for level in levels)), architecture
    )
    exact = swapped_every_chunk(architecture, levels, frames, chunk_frames)
    bound = max(rounding.run(architecture, level, frames).error.max() for level in levels)
    np.testing.assert_allclose(logits, exact, rtol=0, atol=bound)
    assert abs(logits[2:] - Network(architecture, levels[0]).run(frames)[2:]).max() > 0.01


def swapped_every_chunk(architecture, levels, frames, chunk_frames: int) -> np.ndarray:
    """Float64 loops that take the weights of frame t from level (t // chunk_frames) % len(levels)."""
    context, *recurrent, output = architecture.layers
    rows = reference.window(context, reference.as_lists(frames), architecture.input_width)
    states = [([0.0] * layer.hidden, [0.0] * layer.cells) for layer in recurrent]
    logits = []
    for number, row in enumerate(rows):
        level, frame = levels[number // chunk_frames % len(levels)], row
        own = [
            {n.split(".")[1]: v.tolist() for n, v in level.items() if n.startswith(layer.name)}
            for layer in recurrent
        ]
        for index, layer in enumerate(recurrent):
            states[index] = reference.cell(layer, own[index], frame, states[index])
            frame = states[index][0]
        logits += reference.linear(
            output, level["output.weight"].tolist(), level["output.bias"].tolist(), [frame]
        )
    return np.array(logits)


# refusals


def refusal(change) -> str:
    weights = parameters(SPEECH, 0)
    change(weights)
    with pytest.raises(ValueError) as refused:
        Network(SPEECH, weights)
    return str(refused.value)


def test_a_missing_parameter_is_named():
    assert "missing lstm.bias; unknown none" in refusal(lambda weights: weights.pop("lstm.bias"))


def test_an_unknown_parameter_is_named():
    message = refusal(lambda weights: weights.update({"lstm.extra": weights["lstm.bias"]}))
    assert "missing none; unknown lstm.extra" in message


def test_a_parameter_of_another_shape_is_named():
    message = refusal(lambda weights: weights.update({"output.weight": weights["output.weight"].T}))
    assert "`output.weight` must be float32 (4, 3); got float32 (3, 4)" in message


def test_float64_parameters_are_refused():
    message = refusal(lambda weights: weights.update({"output.bias": np.zeros(4)}))
    assert "`output.bias` must be float32 (4,); got float64 (4,)" in message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_refused(value):
    def damage(weights):
        weights["lstm.recurrent"][1, 2] = value

    assert "`lstm.recurrent` holds a value that is not finite" in refusal(damage)


def test_a_network_does_not_change_with_the_arrays_it_was_made_of():
    weights, frames = parameters(SPEECH, 0), features(SPEECH, 20)
    network = Network(SPEECH, weights)
    before = network.run(frames)
    for array in weights.values():
        array[:] = 0
    np.testing.assert_array_equal(network.run(frames), before)


@pytest.mark.parametrize("shape", [(3, 5), (4,), (1, 3, 4)])
def test_frames_of_another_width_are_refused(shape):
    with pytest.raises(ValueError, match=r"takes frames of 4 values.*got one of shape"):
        Network(SPEECH, parameters(SPEECH, 0)).run(np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_frames_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        NetworkStream(SPEECH, 1).push(np.full((2, 4), value))


def test_a_stream_refuses_a_layer_that_runs_backwards():
    architecture = Architecture(2, (Recurrent("lstm", "lstm", 2, bidirectional=True),))
    with pytest.raises(ValueError, match="runs backwards in time"):
        NetworkStream(architecture, 4)


def test_a_stream_refuses_an_empty_chunk():
    with pytest.raises(ValueError, match="at least 1 output frame; got 0"):
        NetworkStream(SPEECH, 0)


def test_a_stream_refuses_frames_after_its_end():
    stream = NetworkStream(SPEECH, 1)
    stream.finish()
    with pytest.raises(ValueError, match="after `finish`"):
        stream.push(features(SPEECH, 1))


def test_a_stream_refuses_the_network_of_another_architecture():
    other = Architecture(4, (Linear("output", 4),))
    with pytest.raises(ValueError, match="its architecture is not that of the stream"):
        NetworkStream(SPEECH, 1).advance(Network(other, parameters(other, 0)))
