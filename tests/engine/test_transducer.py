"""Transducer search against the plain one and against all alignments, on small transducers."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_transducer
from reference_transducer import Compiled, ExactLstm, ExactStateless
from sparrot._core import dense_lstm_transducer, dense_stateless_transducer
from sparrot.engine.decoders import TokenHit
from sparrot.engine.transducer import (
    ModelLevel,
    Piece,
    TransducerBeamDecoder,
    TransducerDecoder,
    TransducerGreedyDecoder,
    accept_all,
)

ENCODER = 5
LEVELS = LARGE, SMALL = ModelLevel("large", 0), ModelLevel("small", 1)
KINDS = st.sampled_from(["lstm", "stateless"])
OPTIONS = st.fixed_dictionaries(
    {
        "beam": st.integers(1, 10) | st.just(40),
        "margin": st.sampled_from([10.0, 1.0, 0.0, inf]),
        "settle_frames": st.sampled_from([50, 0, 1, 5]),
    }
)


def weights_of(kind: str, n_tokens: int, seed: int, scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Weights of both levels; the blank is likely."""
    rng = np.random.default_rng(seed)
    width, cells, joint = 4, 6, 7

    def one_level() -> dict[str, np.ndarray]:
        shapes: dict[str, tuple[int, ...]] = {"embedding": (n_tokens, width), "taps": (2, width)}
        output = width
        if kind == "lstm":
            shapes = {"embedding": (n_tokens, width), "input": (4 * cells, width)}
            shapes |= {"recurrent": (4 * cells, cells), "bias": (4 * cells,)}
            output = cells
        shapes |= {"joint.encoder": (joint, ENCODER), "joint.predictor": (joint, output)}
        shapes |= {
            "joint.bias": (joint,),
            "joint.output": (n_tokens, joint),
            "joint.output_bias": (n_tokens,),
        }
        own = {name: scale * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        own["joint.output_bias"][0] += 1.5 * scale
        if kind == "lstm":
            own["recurrent"] *= 0.2  # what the predictor forgets keeps bounds of its error small
        return {name: values.astype(np.float32) for name, values in own.items()}

    return [one_level() for _ in LEVELS]


def model_of(kind: str, weights):
    return {"lstm": dense_lstm_transducer, "stateless": dense_stateless_transducer}[kind](weights)


def exact_of(kind: str, weights):
    return {"lstm": ExactLstm, "stateless": ExactStateless}[kind](weights)


def frames_of(n_frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).standard_normal((n_frames, ENCODER)).astype(np.float32)


def ids(hypothesis) -> tuple[int, ...]:
    return tuple(hit.id for hit in hypothesis.tokens)


def state(search) -> dict:
    return {
        "hypotheses": search.hypotheses(),
        "n_stable": search.n_stable,
        "trailing_blanks": search.trailing_blanks,
        "n_frames": search.n_frames,
        "finals": search.final_hypotheses(),
    }


# The search, on the same network


@settings(max_examples=150)
@given(
    KINDS,
    st.integers(2, 12),
    st.integers(0, 40),
    st.integers(0, 10_000),
    OPTIONS,
    st.lists(st.integers(0, 40), max_size=5),
    st.sampled_from([0.0, 0.7, -1.5]),
)
def test_beam_search_is_that_of_the_plain_one(kind, n_tokens, n_frames, seed, options, cuts, penalty):
    """To the last bit: the same operations on the same logits. Every piece is at the other level."""
    model = model_of(kind, weights_of(kind, n_tokens, seed, scale=[0.0, 0.5, 2.0][seed % 3]))
    plain = reference_transducer.BeamSearch(Compiled(model), **options)
    compiled = TransducerBeamDecoder(model, **options)
    pieces = np.split(frames_of(n_frames, seed), sorted(cut for cut in cuts if cut <= n_frames))
    for index, piece in enumerate(pieces):
        for search in (plain, compiled):
            search.accept(piece, LEVELS[index % 2], penalty)
        assert state(compiled) == state(plain)


@given(
    KINDS,
    st.integers(2, 12),
    st.integers(0, 30),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.7, 3.0]),
    st.integers(1, 4),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_greedy_search_is_that_of_the_plain_one(kind, n_tokens, n_frames, seed, penalty, max_symbols, cuts):
    """In any pieces; a frame that emits all it may is left without a blank."""
    model, frames = model_of(kind, weights_of(kind, n_tokens, seed)), frames_of(n_frames, seed)
    plain = reference_transducer.greedy(Compiled(model), frames, LARGE, penalty, max_symbols)
    compiled = TransducerGreedyDecoder(model, max_symbols)
    for piece in np.split(frames, sorted(cut for cut in cuts if cut <= n_frames)):
        compiled.accept(piece, LARGE, penalty)
    assert compiled.hypotheses() == (plain,) == (compiled.hypothesis(),)
    assert compiled.n_stable == compiled.n_tokens == len(plain.tokens)
    last = plain.tokens[-1].frame if plain.tokens else -1
    assert (compiled.n_frames, compiled.trailing_blanks) == (n_frames, n_frames - 1 - last)


@given(KINDS, st.integers(2, 12), st.integers(0, 40), st.integers(0, 10_000), st.sampled_from([0.0, 0.7]))
def test_a_beam_of_one_is_greedy(kind, n_tokens, n_frames, seed, penalty):
    """Over switches of level, too."""
    model, frames = model_of(kind, weights_of(kind, n_tokens, seed)), frames_of(n_frames, seed)
    beam, greedy = TransducerBeamDecoder(model, beam=1), TransducerGreedyDecoder(model)
    for number, piece in enumerate(np.split(frames, range(7, n_frames, 7))):
        for decoder in (beam, greedy):
            decoder.accept(piece, LEVELS[number % 2], penalty)
    assert state(beam) == state(greedy)


@settings(max_examples=40)
@given(KINDS, st.integers(2, 3), st.integers(0, 5), st.integers(0, 10_000))
def test_a_wide_beam_scores_every_sequence_exactly(kind, n_tokens, n_frames, seed):
    model, frames = model_of(kind, weights_of(kind, n_tokens, seed)), frames_of(n_frames, seed)
    compiled = TransducerBeamDecoder(model, beam=10**6, margin=inf, settle_frames=1000)
    compiled.accept(frames, LARGE)
    truth = reference_transducer.sequences(Compiled(model), frames, n_tokens)
    found = {ids(hypothesis): hypothesis.log_prob for hypothesis in compiled.hypotheses()}
    assert found == pytest.approx(truth, rel=1e-9, abs=1e-9)
    assert sum(np.exp(list(found.values()))) == pytest.approx(1)


@given(KINDS, st.integers(0, 10_000), st.integers(1, 6), st.floats(0.1, 12))
def test_the_stable_prefix_is_shared_and_never_taken_back(kind, seed, beam, margin):
    model, stable = model_of(kind, weights_of(kind, 5, seed)), ()
    decoder = TransducerBeamDecoder(model, beam, margin=margin, settle_frames=8)
    for number, frame in enumerate(frames_of(20, seed)):
        decoder.accept(frame[None], LEVELS[number % 2])
        n = decoder.n_stable
        live = [ids(hypothesis) for hypothesis in decoder.hypotheses()]
        assert {tokens[:n] for tokens in live} == {live[0][:n]}
        assert live[0][: len(stable)] == stable
        stable = live[0][:n]


# Several searches

PIECES = st.tuples(
    st.integers(1, 10), st.integers(0, 12), st.sampled_from(LEVELS), st.sampled_from([0.0, 0.7])
)


def decoder_of(model, number: int) -> TransducerDecoder:
    """Beams of 1 to 6, and greedy searches of 1 to 4 tokens a frame."""
    return TransducerBeamDecoder(model, number) if number < 7 else TransducerGreedyDecoder(model, number - 6)


@given(KINDS, st.integers(0, 10_000), st.lists(st.lists(PIECES, min_size=1, max_size=3), max_size=4))
def test_searches_that_step_together_decode_as_they_do_alone(kind, seed, plans):
    """Whatever their kinds, levels, penalties and frames: sums of these networks have one order."""
    model = model_of(kind, weights_of(kind, 8, seed))
    together, alone = ([decoder_of(model, plan[0][0]) for plan in plans] for _ in range(2))
    for turn in range(3):
        pieces = []
        for number, plan in enumerate(plans):
            if turn < len(plan):
                _, n_frames, level, penalty = plan[turn]
                frames = frames_of(n_frames, seed + 10 * number + turn)
                pieces.append(Piece(together[number], frames, level, penalty))
                alone[number].accept(frames, level, penalty)
        assert accept_all(pieces) == [None] * len(pieces)
        assert [state(decoder) for decoder in together] == [state(decoder) for decoder in alone]


def test_a_search_that_cannot_go_on_does_not_stop_the_others():
    model = model_of("lstm", weights_of("lstm", 6, 1))
    good, bad = TransducerBeamDecoder(model), TransducerBeamDecoder(model)
    frames = frames_of(9, 1)
    broken = frames.copy()
    broken[4] = np.nan
    for decoder in (good, bad):
        decoder.accept(frames, LARGE)
    told = accept_all([Piece(bad, broken, LARGE), Piece(good, frames, SMALL)])
    assert told[1] is None
    assert told[0].startswith("the network's output is not finite")
    assert (bad.n_frames, good.n_frames) == (13, 18)
    bad.reset()
    bad.accept(frames, LARGE)
    assert bad.n_frames == 9


def test_what_does_not_step_together_is_refused_before_any_does():
    model, other = (model_of("stateless", weights_of("stateless", 5, seed)) for seed in range(2))
    one, two = TransducerBeamDecoder(model), TransducerBeamDecoder(other)
    frames = frames_of(3, 0)
    with pytest.raises(ValueError, match="must share their model"):
        accept_all([Piece(one, frames, LARGE), Piece(two, frames, LARGE)])
    with pytest.raises(ValueError, match="in a batch twice"):
        accept_all([Piece(one, frames, LARGE), Piece(one, frames, LARGE)])
    with pytest.raises(ValueError, match="frames of 5 values; got 4"):
        accept_all([Piece(one, frames, LARGE), Piece(TransducerBeamDecoder(model), frames[:, :4], LARGE)])
    assert one.n_frames == 0
    assert accept_all([]) == []


# The networks


@settings(max_examples=50)
@given(KINDS, st.integers(2, 12), st.integers(0, 10_000))
def test_the_networks_are_within_rounding_of_float64(kind, n_tokens, seed):
    weights, rng = weights_of(kind, n_tokens, seed), np.random.default_rng(seed)
    model, exact = model_of(kind, weights), exact_of(kind, weights)
    for level in range(len(LEVELS)):
        known, expected = model.start(level), exact.start(level)
        for token in rng.integers(1, n_tokens, size=6).tolist():
            (frame,) = frames_of(1, seed + token)
            logits = model.join([level], frame[None], known[1])[0]
            joined = exact.joined(level, frame, expected)
            assert np.all(abs(logits - joined.value) <= joined.error)
            assert joined.error.max() < 1e-3
            known, expected = model.predict([level], [token], known[0]), exact.predict(level, token, expected)
            assert np.all(abs(known[1][0] - expected[1].value) <= expected[1].error)


@pytest.mark.parametrize("kind", ["lstm", "stateless"])
@pytest.mark.parametrize("beam", [1, 4, 8])
def test_tokens_and_scores_are_those_of_float64(kind, beam):
    """A log-probability is within 2 δ of exact where logits are within δ, and log-add amplifies nothing."""
    for seed in range(10):
        weights, frames = weights_of(kind, 10, seed, scale=0.5), frames_of(40, seed)
        exact = exact_of(kind, weights)
        plain = reference_transducer.BeamSearch(exact, beam)
        compiled = TransducerBeamDecoder(model_of(kind, weights), beam)
        for search in (plain, compiled):
            search.accept(frames[:24], LARGE)
            search.accept(frames[24:], SMALL)
        assert len(compiled.hypotheses()) == len(plain.hypotheses())
        for found, expected in zip(compiled.hypotheses(), plain.hypotheses(), strict=True):
            assert [(h.id, h.frame, h.level) for h in found.tokens] == [
                (h.id, h.frame, h.level) for h in expected.tokens
            ]
            bound = len(frames) * (exact.error + 1e-12)
            assert abs(found.log_prob - expected.log_prob) <= bound < 1e-2
        assert compiled.n_tokens > 3


# What is kept


def test_no_context_is_predicted_twice_while_it_is_kept():
    """Every sequence tried has a context of its own; greedy search asks for its tokens and no other."""
    model = model_of("lstm", weights_of("lstm", 10, 3))
    greedy, wide = TransducerGreedyDecoder(model), TransducerBeamDecoder(model, beam=8)
    for decoder in (greedy, wide):
        decoder.accept(frames_of(60, 3), LARGE)
    assert greedy._search.n_predicted == greedy.n_tokens > 5
    assert greedy.n_tokens < wide._search.n_predicted < 60 * 8


def copying(n_tokens: int) -> dict[str, np.ndarray]:
    """Weights of a transducer whose frames say how likely the tokens are, whatever came before."""
    (own, _) = weights_of("stateless", n_tokens, 0)
    own = {name: np.zeros_like(values) for name, values in own.items()}
    own["joint.encoder"][:n_tokens, :n_tokens] = np.eye(n_tokens)
    own["joint.output"][:, :n_tokens] = 8 * np.eye(n_tokens)
    return own


def test_a_context_given_up_is_remembered_at_its_own_level():
    """(1) leaves the beam for (2) and comes back: it is predicted once a level, not once more."""
    own = copying(3)
    decoder = TransducerBeamDecoder(model_of("stateless", [own, own]), beam=2, margin=inf)

    def hear(level: ModelLevel, blank: float, one: float, two: float) -> tuple[set, int]:
        """What is kept after a frame that makes them so likely, and how many contexts were predicted."""
        decoder.accept([[blank, one, two, 0, 0]], level)
        return {ids(hypothesis) for hypothesis in decoder.hypotheses()}, decoder._search.n_predicted

    assert hear(LARGE, 0.9, 0.1, 0.0) == ({(), (1,)}, 1)
    assert hear(LARGE, 0.9, 0.0, 0.8) == ({(), (2,)}, 2)
    assert hear(LARGE, 0.9, 0.88, -1.0) == ({(), (1,)}, 2)
    assert hear(SMALL, 0.9, -1.0, 0.89) == ({(), (2,)}, 3)
    assert hear(SMALL, 0.9, 0.9, -1.0) == ({(), (1,)}, 4)


def test_as_many_contexts_are_remembered_as_are_kept_the_last_given_up():
    decoder = TransducerBeamDecoder(model_of("stateless", [copying(5)]), beam=2, margin=inf)

    def hear(token: int, likely: float) -> int:
        """Contexts predicted after a frame that brings (token) into the beam, in place of another."""
        frame = np.full(5, -1.0)
        frame[0], frame[token] = 0.9, likely
        decoder.accept([frame], LARGE)
        assert {ids(hypothesis) for hypothesis in decoder.hypotheses()} == {(), (token,)}
        return decoder._search.n_predicted

    counts = [hear(1, 0.5), hear(2, 0.6), hear(3, 0.7), hear(4, 0.8), hear(3, 0.83), hear(2, 0.86)]
    assert counts == [1, 2, 3, 4, 4, 4]
    assert hear(1, 0.9) == 5


def test_memory_is_flat_where_nothing_is_said():
    weights = weights_of("lstm", 10, 0)
    for own in weights:
        own["joint.output_bias"][0] = 60
    decoder = TransducerBeamDecoder(model_of("lstm", weights), beam=4)
    decoder.accept(frames_of(100, 0), LARGE)
    before = decoder._search.storage
    decoder.accept(frames_of(3000, 1), LARGE)
    assert decoder._search.storage == before
    decoder.reset()
    assert decoder._search.storage == TransducerBeamDecoder(model_of("lstm", weights))._search.storage


def test_greedy_memory_grows_by_the_tokens_alone():
    decoder, sizes = TransducerGreedyDecoder(model_of("lstm", weights_of("lstm", 10, 3)), 3), []
    for seed in range(20):
        decoder.accept(frames_of(200, seed), LARGE)
        sizes.append(decoder._search.storage[2] / decoder.n_tokens)
    assert decoder.n_tokens > 1000
    assert sizes[-1] <= 2 * 32 + 1  # a hit is 32 bytes, in a vector that grows by its own size


def test_memory_grows_by_the_tokens_alone():
    decoder = TransducerBeamDecoder(model_of("lstm", weights_of("lstm", 10, 3)), 4, settle_frames=20)
    for seed in range(10):
        decoder.accept(frames_of(200, seed), LARGE)
        n_prefixes, n_hits, _ = decoder._search.storage
        assert n_prefixes <= decoder.n_tokens + 1 + 4 * 21
        assert n_hits <= decoder.n_tokens + 4 * 21
    assert decoder.n_tokens > 300
    n_bytes = decoder._search.storage[2]
    states = (6 * 2 + 6) * 4  # bytes of a state and an output
    assert n_bytes < 200 * decoder.n_tokens + 64 * (states + 64) + 60_000


# The rest of the interface


def test_reset_starts_a_new_segment():
    model, frames = model_of("lstm", weights_of("lstm", 6, 1)), frames_of(30, 1)
    used, fresh = TransducerBeamDecoder(model), TransducerBeamDecoder(model)
    assert (used.hypothesis().tokens, used.hypothesis().log_prob, used.n_stable) == ((), 0.0, 0)
    used.accept(frames_of(30, 2), SMALL)
    used.reset()
    assert (used.n_frames, used.n_tokens, used.trailing_blanks) == (0, 0, 0)
    for decoder in (used, fresh):
        decoder.accept(frames, LARGE)
    assert state(used) == state(fresh)


def test_tokens_by_hand():
    """A joint network that copies the frame: the best token of every frame, whatever came before."""
    decoder = TransducerBeamDecoder(model_of("stateless", [copying(4)]), beam=2)
    decoder.accept(np.eye(5)[[0, 2, 2, 0, 1, 0, 0]], LARGE)
    hits = decoder.hypothesis().tokens
    assert [(hit.id, hit.frame, hit.level) for hit in hits] == [
        (2, 1, "large"),
        (2, 2, "large"),
        (1, 4, "large"),
    ]
    strength = 8 * np.tanh(1)
    assert hits[0] == TokenHit(2, 1, pytest.approx(-np.log(1 + 3 * np.exp(-strength)), rel=1e-6), "large")
    assert decoder.trailing_blanks == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beam": 0}, "at least 1 hypothesis; got a beam of 0"),
        ({"margin": -1.0}, "of 0 or more"),
        ({"margin": np.nan}, "of 0 or more"),
        ({"settle_frames": -1}, "of 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TransducerBeamDecoder(model_of("lstm", weights_of("lstm", 3, 0)), **options)


def test_a_frame_may_emit_a_token_at_least():
    with pytest.raises(ValueError, match="at least 1 token; got max_symbols of 0"):
        TransducerGreedyDecoder(model_of("lstm", weights_of("lstm", 3, 0)), 0)


def test_what_is_no_input_is_refused():
    decoder = TransducerBeamDecoder(model_of("lstm", weights_of("lstm", 3, 0)))
    good = frames_of(2, 0)
    with pytest.raises(ValueError, match="2 levels has no level 2"):
        decoder.accept(good, ModelLevel("more", 2))
    with pytest.raises(ValueError, match="frames of 5 values; got 4"):
        decoder.accept(good[:, :4], LARGE)
    with pytest.raises(ValueError, match=r"encoder frames \(n_frames, width\); got shape \(5,\)"):
        decoder.accept(good[0], LARGE)
    with pytest.raises(ValueError, match="finite blank penalty"):
        decoder.accept(good, LARGE, np.nan)
    with pytest.raises(ValueError, match=r"^the network's output is not finite: its weights or the features"):
        decoder.accept([good[0], [np.nan] * 5], LARGE)
    assert decoder.n_frames == 1


@pytest.mark.parametrize("kind", ["lstm", "stateless"])
def test_weights_that_do_not_fit_are_refused(kind):
    weights = weights_of(kind, 4, 0)
    for name, values in weights[1].items():
        wrong = [weights[0], {**weights[1], name: np.concatenate([values, values])}]
        with pytest.raises(ValueError, match=f"do not fit together: `{name.removeprefix('joint.')}`"):
            model_of(kind, wrong)
        missing = {own: v for own, v in weights[1].items() if own != name}
        with pytest.raises(ValueError, match=f"needs a (matrix|vector) `{name}`"):
            model_of(kind, [weights[0], missing])
    with pytest.raises(ValueError, match="there is no level"):
        model_of(kind, [])
    model = model_of(kind, weights)
    with pytest.raises(ValueError, match="4 tokens has no token 4"):
        model.predict([0], [4], model.start(0)[0])
