"""Predictor and joint network of a model file against float64, at every level, in every type and layout."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rounding
from architectures import parameters, transducers
from engine_networks import model_of, network_of
from model_file.written import three_levels
from reference_transducer import ExactNetwork
from rounding import Rounded
from sparrot import _core
from sparrot.architecture import Architecture, Embedding, LayerNorm, Linear, Recurrent, Transducer, Window
from sparrot.engine.network import Network
from sparrot.engine.transducer import ModelLevel, TransducerBeamDecoder
from sparrot.model_file import ModelFile

ENCODER = Architecture(
    6, (Window("stack", 0, 1, 2), Recurrent("lstm0", "lstm", 40, 20), Linear("encoder_output", 37))
)
LSTM = Architecture(
    1,
    (
        Embedding("predictor_embedding", 20, 18),
        Recurrent("predictor_lstm0", "lstm", 33, 17),
        LayerNorm("predictor_norm0"),
        Recurrent("predictor_lstm1", "lstm", 20),
        Linear("predictor_output", 37),
    ),
)
STATELESS = Architecture(
    1,
    (
        Embedding("predictor_embedding", 20, 18),
        Window("predictor_context", 1, 0),
        Linear("predictor_output", 37, "relu"),
    ),
)
KINDS = {
    "lstm": Transducer(ENCODER, LSTM, Linear("output", 20)),
    "stateless": Transducer(ENCODER, STATELESS, Linear("output", 20)),
}
BLOCKS = [(4, 1), (16, 1), (4, 4), (8, 8), (1, 1)]  # strip16, tile4, tile8, csr
ISAS = _core.available_kernels()


def written(transducer: Transducer, block=(4, 1), dtype="F32", *, seed=1, scale=0.3) -> ModelFile:
    """A file of three levels, at stops 0 to 2."""
    weights = parameters(transducer, seed, scale)
    return model_of(transducer, weights, three_levels(transducer, block), block, dtype)


def exact_of(model: ModelFile) -> ExactNetwork:
    """The same in float64, of the weights as they are stored; a level is its stop."""
    levels = [dict(model.parameters(level.name)) for level in reversed(model.levels)]
    return ExactNetwork(model.description.architecture, levels)


def frames_of(transducer: Transducer, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, transducer.joint_width)).astype(np.float32)


def states_of(predictor: Architecture, row: np.ndarray) -> list:
    """What each layer remembers: the inputs that a window looks back to, h and c of a recurrent layer."""
    states, begin = [], 0

    def taken(size: int, stride: int) -> Rounded:
        nonlocal begin
        begin += stride
        return Rounded.exact(row[begin - stride : begin - stride + size])

    for layer, shape in zip(predictor.layers, predictor.shapes(), strict=False):
        if isinstance(layer, Window):
            states.append([taken(shape.width, shape.width) for _ in range(layer.left)])
        elif isinstance(layer, Recurrent):
            states.append(tuple(taken(size, -(-size // 16) * 16) for size in (layer.hidden, layer.cells)))
        else:
            states.append(None)
    assert begin == len(row)
    return states


def assert_within(found: np.ndarray, expected: Rounded) -> None:
    assert np.all(abs(found - expected.value) <= expected.error)


def check_token(model, transducer: Transducer, weights: dict, level: int, token: int, state: np.ndarray):
    """One step of the predictor, layer by layer from what the engine itself had and made; what it made."""
    if state is None:
        after, output = model.start(level)
        state = np.zeros_like(after)
    else:
        after, output = model.predict([level], [token], state)
    predictor, x = transducer.predictor, Rounded.exact([token])
    before_and_after = zip(*(states_of(predictor, row[0]) for row in (state, after)), strict=True)
    for layer, shape, (old, new) in zip(predictor.layers, predictor.shapes(), before_and_after, strict=False):
        if isinstance(layer, Recurrent):
            for found, expected in zip(new, rounding.step(layer, weights, x, old), strict=True):
                assert_within(found.value, expected)
            x = new[0]
        elif isinstance(layer, Window):
            own = [*old, *new[-1:]] if layer.left else [x]
            assert_within(own[-1].value, x)
            for found, expected in zip(new, own[1:], strict=False):
                np.testing.assert_array_equal(found.value, expected.value)
            x = rounding.concatenated(own)
        else:
            x = rounding.apply(layer, shape, weights, [x])[0]
    assert_within(output[0], x)
    return after, output


def check_walk(model: ModelFile, network: Network, steps: list[tuple[int, int]]) -> float:
    """Follows one hypothesis, each token at a level of its own; the largest bound of a logit on its way."""
    transducer, exact, largest, state = model.description.architecture, exact_of(model), 0.0, None
    frames = frames_of(transducer, len(steps))
    for (token, level), frame in zip([(0, steps[0][1]), *steps], frames, strict=False):
        weights = exact.levels[level]
        state, output = check_token(network.transducer, transducer, weights, level, token, state)
        joined = exact.joined(level, frame, (None, Rounded.exact(output[0])))
        assert_within(network.transducer.join([level], frame[None], output)[0], joined)
        largest = max(largest, joined.error.max())
    return largest


@settings(max_examples=60)
@given(transducers(), st.sampled_from(BLOCKS), st.data())
def test_any_predictor_is_within_rounding_of_float64(transducer, block, data):
    model = written(transducer, block)
    steps = st.tuples(st.integers(1, transducer.n_tokens - 1), st.integers(0, 2))
    check_walk(model, network_of(model), data.draw(st.lists(steps, min_size=1, max_size=8)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_and_layout_is_within_rounding_of_float64(kind, block, dtype, isa):
    """From states that came of another level, too."""
    model = written(KINDS[kind], block, dtype)
    network, tokens = network_of(model, isa), np.random.default_rng(3).integers(1, 20, size=6).tolist()
    with rounding.products_of(dtype):
        for levels in ([0] * 6, [1] * 6, [2] * 6, [0, 2, 1, 0, 1, 2]):
            largest = check_walk(model, network, list(zip(tokens, levels, strict=True)))
            assert largest < {"F32": 3e-5, "BF16": 0.05, "I8": 0.1}[dtype]


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("n", [2, 15, 16, 17, 70])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_a_batch_of_mixed_levels_is_what_it_is_alone(kind, n, dtype):
    network = network_of(written(KINDS[kind], dtype=dtype))
    model, rng = network.transducer, np.random.default_rng(n)
    levels, tokens = rng.integers(0, 3, n).tolist(), rng.integers(1, 20, n).tolist()
    start, _ = model.start(1)
    states = start + 0.1 * rng.standard_normal((n, start.shape[1])).astype(np.float32)
    frames = frames_of(KINDS[kind], n)
    next_states, outputs = model.predict(levels, tokens, states)
    logits = model.join(levels, frames, outputs)
    for i, level in enumerate(levels):
        alone = model.predict([level], tokens[i : i + 1], states[i : i + 1])
        pairs = [(next_states[i], alone[0][0]), (outputs[i], alone[1][0])]
        pairs.append((logits[i], model.join([level], frames[i : i + 1], outputs[i : i + 1])[0]))
        for found, expected in pairs:
            if dtype == "I8" or n < 16:
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_allclose(found, expected, atol=2e-5 if dtype == "F32" else 2e-2)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_float64(kind, dtype):
    """At every frame the engine's choice is the best of float64 after the same tokens, where rounding leaves
    no doubt; float32 hardly ever leaves one, and the others at less than half of the frames.
    """
    layers = [layer for layer in KINDS[kind].predictor.layers if not isinstance(layer, LayerNorm)]
    transducer = replace(KINDS[kind], predictor=Architecture(1, tuple(layers)))  # norms make bounds useless
    weights, n_doubtful, n_frames = parameters(transducer, 8, 0.4), 0, 0
    for name in weights:
        weights[name] *= 0.02 if name.endswith("recurrent") else 5 if name == "output.weight" else 1
    model = model_of(transducer, weights, three_levels(transducer, (4, 1)), (4, 1), dtype)
    network, exact = network_of(model), exact_of(model)
    for level in model.levels:
        frames = 2 * frames_of(transducer, 60, seed=level.stop)
        decoder = TransducerBeamDecoder(network.transducer, beam=1)
        decoder.accept(frames, ModelLevel(level.name, level.stop))
        emitted, known = {hit.frame: hit.id for hit in decoder.hypothesis().tokens}, exact.start(level.stop)
        assert len(emitted) > 20
        with rounding.products_of(dtype):
            for number, frame in enumerate(frames):
                logits, token = exact.joined(level.stop, frame, known), emitted.get(number, 0)
                least = (logits.value - logits.error).max()
                possible = np.flatnonzero(logits.value + logits.error >= least)
                assert token in possible
                n_doubtful += len(possible) > 1
                n_frames += 1
                known = exact.predict(level.stop, token, known) if token else known
    assert n_doubtful < {"F32": 0.02, "BF16": 0.5, "I8": 0.5}[dtype] * n_frames


def test_parts_that_do_not_fit_are_refused():
    network = network_of(written(KINDS["lstm"]))
    weight, bias = _core.Matrix(20, 36, 1, "F32", None), np.zeros(32, np.float32)
    predictor = _core.Network(1)
    predictor.add_embedding(_core.Matrix(20, 37, 1, "F32", None))
    with pytest.raises(ValueError, match="parts of a transducer do not fit together"):
        _core.network_transducer(predictor, weight, bias)
    with pytest.raises(ValueError, match="takes one value a frame and looks back only"):
        _core.network_transducer(network.core, weight, bias)
    with pytest.raises(ValueError, match="do not fit together"):
        _core.network_transducer(predictor, _core.Matrix(20, 37, 1, "F32", None), bias[:16])
    for level in (-1, 32):
        with pytest.raises(ValueError, match=f"no level {level}"):
            network.transducer.start(level)
    with pytest.raises(ValueError, match=r"takes frames \(1, 37\); got \(1, 36\)"):
        network.transducer.join([0], np.zeros((1, 36), np.float32), np.zeros((1, 37), np.float32))
