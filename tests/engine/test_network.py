"""The engine's networks against float64, at every level, alone and in batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
import rounding
from architectures import architectures, features, parameters
from engine_networks import advance_all, decode, dense_network, model_of, network_of
from model_file.written import three_levels
from sparrot import _core
from sparrot.architecture import Architecture, Convolution, LayerNorm, Linear, Recurrent, Window
from sparrot.engine.network import Network, NetworkStream, advance

LENGTHS = st.integers(0, 14)
CHUNKS = st.integers(1, 5)

SPEECH = Architecture(  # one layer of every kind, reduction 6, with context on both sides
    4,
    (
        Convolution("conv0", 2, kernel=3, stride=2, kernel_bins=3),
        Convolution("conv1", 5, kernel=3),
        LayerNorm("norm"),
        Recurrent("lstm", "lstm", 35, projection=18),
        Window("stack", 1, 2, 3),
        Recurrent("gru", "gru", 17),
        Recurrent("rnn", "rnn", 33),
        Linear("output", 4),
    ),
)


def joined(chunks: list[np.ndarray], architecture: Architecture) -> np.ndarray:
    return np.concatenate([np.zeros((0, architecture.n_tokens), np.float32), *chunks])


def bits(chunks: list[np.ndarray]) -> list[bytes]:
    return [chunk.tobytes() for chunk in chunks]


# against float64


@given(architectures(streaming=False), LENGTHS, st.integers(0, 99))
def test_run_is_within_rounding_of_float64(architecture, n_frames, seed):
    weights, frames = parameters(architecture, seed), features(architecture, n_frames, seed)
    exact, bounded = reference.run(architecture, weights, frames), rounding.run(architecture, weights, frames)
    logits = dense_network(architecture, weights).run(frames, 0)
    assert logits.dtype == np.float32
    assert np.all(abs(logits - exact) <= bounded.error + 1e-9)


@given(architectures(streaming=True), CHUNKS, LENGTHS)
def test_stream_is_within_rounding_of_float64(architecture, chunk_frames, n_frames):
    weights, frames = parameters(architecture, 1), features(architecture, n_frames)
    bounded = rounding.run(architecture, weights, frames)
    logits = joined(decode(frames, chunk_frames, dense_network(architecture, weights)), architecture)
    assert logits.shape == bounded.value.shape
    assert np.all(abs(logits - bounded.value) <= bounded.error + 1e-9)


def test_saturated_gates_stay_finite_and_silent():
    architecture = Architecture(1, (Recurrent("lstm", "lstm", 1), Recurrent("gru", "gru", 1), Linear("o", 2)))
    weights = {name: np.full_like(value, 1e4) for name, value in parameters(architecture, 0).items()}
    frames = np.array([[1e6], [-1e6], [3e4]], np.float32)
    exact = reference.run(architecture, weights, frames)
    np.testing.assert_allclose(dense_network(architecture, weights).run(frames, 0), exact, rtol=1e-6)


@pytest.mark.parametrize("activation", ["identity", "relu", "clipped_relu", "tanh"])
@pytest.mark.parametrize("layer", [Linear, Convolution])
def test_activations_beyond_both_limits(layer, activation):
    options = {Linear: {"size": 2}, Convolution: {"channels": 2, "kernel": 1}}[layer]
    architecture = Architecture(1, (layer("only", activation=activation, **options),))
    weights = {name: np.full_like(value, 0.5) for name, value in parameters(architecture, 0).items()}
    frames = np.array([[-90], [-2], [0], [38], [39], [90]], np.float32)
    exact = reference.run(architecture, weights, frames)
    np.testing.assert_allclose(dense_network(architecture, weights).run(frames, 0), exact, rtol=2**-21)


def test_long_utterances_are_worked_off_in_blocks():
    architecture = Architecture(2, (Recurrent("gru", "gru", 3, bidirectional=True), Linear("output", 2)))
    weights, frames = parameters(architecture, 0, 0.2), features(architecture, 600)
    bounded = rounding.run(architecture, weights, frames)
    assert np.all(abs(dense_network(architecture, weights).run(frames, 0) - bounded.value) <= bounded.error)


def test_large_convolutions_are_worked_off_in_blocks():
    layers = (Convolution("conv", 2, kernel=3, kernel_bins=3), Linear("output", 2))
    architecture = Architecture(260, layers)  # 260 rows of inputs a frame, 512 held at a time
    weights, frames = parameters(architecture, 0), features(architecture, 7)
    bounded = rounding.run(architecture, weights, frames)
    assert np.all(abs(dense_network(architecture, weights).run(frames, 0) - bounded.value) <= bounded.error)


# levels


@pytest.fixture(scope="module")
def three() -> tuple[Network, list[dict[str, np.ndarray]]]:
    """A network at three stops, and its parameters at each."""
    model = model_of(SPEECH, parameters(SPEECH, 3, 0.06), three_levels(SPEECH, (4, 1)), (4, 1))
    return network_of(model), [dict(model.parameters(level.name)) for level in reversed(model.levels)]


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_every_level_is_within_rounding_of_float64(three, stop):
    network, levels = three
    frames = features(SPEECH, 67)
    bounded = rounding.run(SPEECH, levels[stop], frames)
    assert bounded.error.max() < 2e-5
    logits = joined(decode(frames, 3, network, stops=[stop]), SPEECH)
    assert np.all(abs(logits - bounded.value) <= bounded.error)


@pytest.mark.parametrize("n_streams", [2, 15, 16, 17, 33, 70])
def test_a_batch_of_mixed_levels_is_every_stream_by_itself(three, n_streams):
    """Streams of one, two and three segments together, in any order, and some of them at their ends."""
    network, levels = three
    random = np.random.default_rng(n_streams)
    stops = random.integers(0, 3, n_streams).tolist()
    utterances = [features(SPEECH, int(n), seed) for seed, n in enumerate(random.integers(30, 60, n_streams))]
    streams = [NetworkStream(network, 2) for _ in utterances]
    for stream, frames in zip(streams, utterances, strict=True):
        stream.push(frames)
        stream.finish()
    chunks: list[list[np.ndarray]] = [[] for _ in streams]
    while ready := [i for i, stream in enumerate(streams) if stream.n_ready]:
        for i, logits in zip(
            ready, advance([streams[i] for i in ready], [stops[i] for i in ready]), strict=True
        ):
            chunks[i].append(logits)
    for i, frames in enumerate(utterances):
        bounded = rounding.run(SPEECH, levels[stops[i]], frames)
        assert np.all(abs(joined(chunks[i], SPEECH) - bounded.value) <= bounded.error), i


@pytest.mark.parametrize("isa", _core.available_kernels())
@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize(
    ("n_large", "n_medium", "n_streams"), [(1, 3, 16), (3, 20, 40), (18, 19, 64), (0, 1, 17)]
)
def test_batches_of_large_matrices(dtype, isa, n_large, n_medium, n_streams):
    """More strips than are multiplied at a time, frames whose input products are made together, and few
    streams at a level: brought together, they are 16 or more, or not. Every stream is what it is alone.
    """
    layers = (
        Recurrent("lstm", "lstm", 70, projection=20),
        Recurrent("gru", "gru", 90),
        Linear("fc", 210),
        Linear("output", 5),
    )
    architecture = Architecture(24, layers)
    levels = three_levels(architecture, (4, 1))
    network = network_of(model_of(architecture, parameters(architecture, 1, 0.1), levels, (4, 1), dtype), isa)
    stops = [2] * n_large + [1] * n_medium + [0] * (n_streams - n_large - n_medium)
    streams = [NetworkStream(network, 7) for _ in stops]
    utterances = [features(architecture, 14, seed) for seed in range(n_streams)]
    for stream, frames in zip(streams, utterances, strict=True):
        stream.push(frames)
    together = [
        np.concatenate(chunks) for chunks in zip(*(advance(streams, stops) for _ in "12"), strict=True)
    ]
    for stop, frames, logits in zip(stops, utterances, together, strict=True):
        alone = np.concatenate(decode(frames, 7, network, stops=[stop]))
        if dtype == "I8":
            np.testing.assert_array_equal(logits, alone)
        else:  # sums of at most 90 products, whose inputs are rounded to bfloat16
            np.testing.assert_allclose(logits, alone, atol=2e-5 if dtype == "F32" else 1e-2)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("n_streams", [1, 20])
def test_a_switch_keeps_the_state(cell, n_streams):
    architecture = Architecture(
        2,
        (
            Recurrent("deep0", cell, 20, 9 if cell == "lstm" else None),
            Recurrent("deep1", cell, 19),
            Linear("output", 2),
        ),
    )
    model = model_of(
        architecture, parameters(architecture, 6, 0.5), three_levels(architecture, (4, 1)), (4, 1)
    )
    network, chunk_frames, stops = network_of(model), 2, [0, 2, 1]
    levels = [model.parameters(level.name) for level in reversed(model.levels)]
    frames = features(architecture, 12)
    held = [levels[stops[t // chunk_frames % 3]] for t in range(12)]
    bounded = rounding.run_switching(architecture, held, frames)
    streams = [NetworkStream(network, chunk_frames) for _ in range(n_streams)]
    chunks = []
    for stream in streams:
        stream.push(frames)
    for turn in range(6):
        logits = advance(streams, [stops[turn % 3]] * n_streams)
        assert all(np.array_equal(one, logits[0]) for one in logits)
        chunks.append(logits[0])
    assert np.all(abs(joined(chunks, architecture) - bounded.value) <= bounded.error)
    assert abs(joined(chunks, architecture) - network.run(frames, 0)).max() > 0.01


def test_levels_may_be_added_while_others_run(three):
    network, _ = three
    model = model_of(SPEECH, parameters(SPEECH, 3, 0.06), three_levels(SPEECH, (4, 1)), (4, 1))
    growing, frames = Network(SPEECH, model.read_stop(0)), features(SPEECH, 40)
    for stop in range(3):
        assert growing.n_stops == stop + 1
        for sparser in range(stop + 1):
            np.testing.assert_array_equal(growing.run(frames, sparser), network.run(frames, sparser))
        if stop < 2:
            growing.add_stop(model.read_stop(stop + 1))


# streaming


@given(architectures(streaming=True), CHUNKS, st.data())
def test_any_cut_gives_the_same_bits(architecture, chunk_frames, data):
    network = dense_network(architecture, parameters(architecture, 2))
    frames = features(architecture, data.draw(LENGTHS))
    whole = decode(frames, chunk_frames, network)
    stream, chunks = NetworkStream(network, chunk_frames), []
    for piece in np.split(frames, sorted(data.draw(st.lists(st.integers(0, len(frames)), max_size=6)))):
        stream.push(piece)
        if data.draw(st.booleans()):
            chunks += advance_all(stream)
    stream.finish()
    assert bits(chunks + advance_all(stream)) == bits(whole)


def test_single_frames_give_the_same_bits_at_the_size_of_vector_registers():
    architecture = Architecture(
        40, (Window("context", 2, 2), Recurrent("lstm", "lstm", 96, projection=50), Linear("output", 26))
    )
    network, frames = (
        dense_network(architecture, parameters(architecture, 0, 0.1)),
        features(architecture, 101),
    )
    assert bits(decode(frames, 8, network, cuts=range(1, 101))) == bits(decode(frames, 8, network))


@given(architectures(streaming=True), CHUNKS, LENGTHS)
def test_chunks_are_whole_but_for_the_last(architecture, chunk_frames, n_frames):
    network = dense_network(architecture, parameters(architecture, 4))
    sizes = [len(chunk) for chunk in decode(features(architecture, n_frames), chunk_frames, network)]
    assert sum(sizes) == architecture.output_frames(n_frames)
    assert all(size == chunk_frames for size in sizes[:-1])
    assert all(0 < size <= chunk_frames for size in sizes[-1:])


@given(architectures(streaming=True), CHUNKS)
def test_a_chunk_is_ready_with_the_last_frame_it_sees(architecture, chunk_frames):
    stream = NetworkStream(dense_network(architecture, parameters(architecture, 0)), chunk_frames)
    needed = (chunk_frames - 1) * architecture.reduction + architecture.lookahead + 1
    stream.push(features(architecture, needed - 1))
    assert stream.n_ready == 0
    with pytest.raises(ValueError, match="no chunk that is ready"):
        advance([stream], [0])
    stream.push(features(architecture, 1))
    assert stream.n_ready == 1


def test_finish_makes_the_rest_ready_with_zeros_to_the_right():
    architecture = Architecture(1, (Window("context", 0, 3), Linear("sum", 2)))
    weights = {"sum.weight": np.ones((2, 4), np.float32), "sum.bias": np.zeros(2, np.float32)}
    stream = NetworkStream(dense_network(architecture, weights), chunk_frames=2)
    stream.push(np.array([[1], [2], [4], [8]], np.float32))
    assert stream.n_ready == 0
    stream.finish()
    assert stream.n_ready == 2
    assert [chunk[:, 0].tolist() for chunk in advance_all(stream)] == [[15, 14], [12, 8]]
    assert stream.n_ready == 0


def test_nothing_at_all_gives_nothing():
    network = dense_network(SPEECH, parameters(SPEECH, 0))
    assert network.run(np.zeros((0, 4), np.float32), 0).shape == (0, 4)
    stream = NetworkStream(network, 2)
    stream.finish()
    assert stream.n_ready == 0
    assert advance([], []) == []


@pytest.mark.parametrize("finished", [False, True])
def test_reset_leaves_nothing_of_the_segment_before(finished):
    network, frames = dense_network(SPEECH, parameters(SPEECH, 0)), features(SPEECH, 50)
    stream = NetworkStream(network, 2)
    stream.push(features(SPEECH, 47, seed=9))
    advance_all(stream)
    if finished:
        stream.finish()
    stream.reset()
    stream.push(frames)
    stream.finish()
    assert bits(advance_all(stream)) == bits(decode(frames, 2, network))


def test_what_came_in_and_went_out_may_be_overwritten():
    network, frames = dense_network(SPEECH, parameters(SPEECH, 0)), features(SPEECH, 60)
    expected = bits(decode(frames, 2, network))
    stream, chunks, buffer = NetworkStream(network, 2), [], np.empty((20, 4), np.float32)
    for begin in (0, 20, 40):
        buffer[:] = frames[begin : begin + 20]
        stream.push(buffer)
        buffer[:] = np.nan
        for logits in advance_all(stream):
            chunks.append(logits.tobytes())
            logits[:] = np.nan
    stream.finish()
    assert chunks + bits(advance_all(stream)) == expected


# refusals


def test_a_bidirectional_network_cannot_stream():
    architecture = Architecture(2, (Recurrent("both", "rnn", 3, bidirectional=True), Linear("output", 2)))
    with pytest.raises(ValueError, match="runs backwards in time"):
        NetworkStream(dense_network(architecture, parameters(architecture, 0)), 2)


def test_a_chunk_has_a_frame():
    with pytest.raises(ValueError, match="at least 1 output frame; got 0"):
        NetworkStream(dense_network(SPEECH, parameters(SPEECH, 0)), 0)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.zeros((2, 3), np.float32), r"takes frames of 4 values.*got one of shape \(2, 3\)"),
        (np.zeros(4, np.float32), r"got one of shape \(4,\)"),
        (np.full((1, 4), np.nan), "not finite"),
        (np.full((1, 4), 1e300), "not finite"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frames, said):
    stream = NetworkStream(dense_network(SPEECH, parameters(SPEECH, 0)), 2)
    with pytest.raises(ValueError, match=said):
        stream.push(frames)


def test_frames_after_the_end_are_refused():
    stream = NetworkStream(dense_network(SPEECH, parameters(SPEECH, 0)), 2)
    stream.finish()
    with pytest.raises(ValueError, match="frames came after `finish`"):
        stream.push(features(SPEECH, 1))


def test_streams_of_two_networks_are_not_stepped_together(three):
    streams = [NetworkStream(three[0], 2), NetworkStream(dense_network(SPEECH, parameters(SPEECH, 0)), 2)]
    for stream in streams:
        stream.push(features(SPEECH, 40))
    with pytest.raises(ValueError, match="must share their network"):
        advance(streams, [0, 0])


def test_a_stream_is_not_stepped_twice_at_once(three):
    one, other = NetworkStream(three[0], 2), NetworkStream(three[0], 2)
    for stream in (one, other):
        stream.push(features(SPEECH, 40))
    before = one.n_ready
    with pytest.raises(ValueError, match="a stream is in a batch twice"):
        advance([one, other, one], [0, 0, 0])
    assert one.n_ready == other.n_ready == before
