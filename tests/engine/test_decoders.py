"""Log-probabilities and greedy decoding against CTC by enumeration."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import reference
from sparrot.engine.decoders import GreedyDecoder, PrefixBeamDecoder, TokenHit, log_softmax

LOGITS = arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(2, 5)), elements=st.floats(-50, 50, width=32)
)


def greedy(log_probs, **options) -> GreedyDecoder:
    decoder = GreedyDecoder()
    decoder.accept(log_probs, "large", **options)
    return decoder


def ids(decoder) -> tuple[int, ...]:
    return tuple(hit.id for hit in decoder.hypothesis().tokens)


@given(LOGITS)
def test_log_softmax_is_within_rounding_of_float64(logits):
    """exp and log are trusted to 4 units in the last place, the sum to n roundings of positive terms."""
    wide = logits.astype(np.float64)
    exact = wide - wide.max(axis=1, keepdims=True) if wide.size else wide
    exact = exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))
    u, n = 2.0**-24, logits.shape[1]
    relative = (8 + n) * u + 100 * u  # of the sum: exp, additions, and 100 · u in what exp is taken of
    bound = 100 * u + relative + 8 * u * log(n) + 2 * u * abs(exact) + 1e-12
    log_probs = log_softmax(logits)
    assert log_probs.dtype == np.float32
    assert np.all(abs(log_probs - exact) <= bound)


def test_log_softmax_of_huge_logits_is_finite():
    np.testing.assert_array_equal(log_softmax([[3e38, 0.0]]), np.array([[0, -3e38]], np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_log_softmax_refuses_what_is_not_finite(value):
    with pytest.raises(ValueError, match="output is not finite"):
        log_softmax([[0.0, value]])


@given(LOGITS)
def test_greedy_is_the_labelling_of_the_best_alignment(logits):
    log_probs = log_softmax(logits)
    path = log_probs.argmax(axis=1)
    decoder = greedy(log_probs)
    assert ids(decoder) == reference.collapse(path.tolist())
    expected = [
        TokenHit(token, run.start, max(float(log_probs[t, token]) for t in run), "large")
        for token, run in reference.runs(path.tolist())
    ]
    assert list(decoder.hypothesis().tokens) == expected
    assert decoder.hypothesis().log_prob == pytest.approx(
        log_probs.max(axis=1, initial=-np.inf).sum(), rel=1e-6
    )
    assert decoder.n_stable == len(expected)
    assert decoder.n_frames == len(log_probs)


def test_greedy_by_hand():
    path = [0, 2, 2, 0, 2, 1, 1, 0, 0]
    log_probs = np.log(np.full((9, 3), 0.1) + 0.7 * np.eye(3)[path])
    log_probs[2, 2] = log(0.9)
    decoder = greedy(log_probs)
    assert [(hit.id, hit.frame) for hit in decoder.hypothesis().tokens] == [(2, 1), (2, 4), (1, 5)]
    assert decoder.hypothesis().tokens[0].log_prob == log(0.9)
    assert decoder.trailing_blanks == 2


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_trailing_blanks_start_again_after_a_token(make):
    decoder, rows = make(), np.log([[0.8, 0.2], [0.3, 0.7]])
    counts = []
    for token in [0, 0, 1, 0, 1, 1, 0]:
        decoder.accept(rows[[token]], "large")
        counts.append(decoder.trailing_blanks)
    assert counts == [1, 2, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_blank_penalty_lowers_the_blank_alone(make):
    log_probs = np.log([[0.6, 0.4]])
    for penalty, tokens in [(0.0, ()), (0.5, (1,))]:
        decoder = make()
        decoder.accept(log_probs, "large", blank_penalty=penalty)
        assert ids(decoder) == tokens
    assert decoder.hypothesis().tokens[0].log_prob == pytest.approx(log(0.4))
    assert decoder.trailing_blanks == 0
    assert log_probs[0, 0] == log(0.6)


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_tokens_carry_the_level_of_their_frame(make):
    decoder, rows = make(), np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    decoder.accept(rows[[0, 1, 0]], "large")
    decoder.accept(rows[[2, 0]], "small")
    assert [(hit.id, hit.frame, hit.level) for hit in decoder.hypothesis().tokens] == [
        (1, 1, "large"),
        (2, 3, "small"),
    ]


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_reset_starts_a_new_segment(make):
    decoder, rows = make(), np.log([[0.2, 0.8], [0.8, 0.2]])
    decoder.accept(rows[[1, 0]], "large")
    decoder.reset()
    assert (ids(decoder), decoder.hypothesis().log_prob, decoder.n_frames) == ((), 0.0, 0)
    assert (decoder.n_stable, decoder.trailing_blanks) == (0, 0)
    decoder.accept(rows[:1], "small")
    assert decoder.hypothesis().tokens == (TokenHit(1, 0, float(rows[0, 1]), "small"),)


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 2, 3)])
def test_log_probabilities_of_another_rank_are_refused(make, shape):
    with pytest.raises(ValueError, match=r"takes log-probabilities \(n_frames, n_tokens\)"):
        make().accept(np.zeros(shape), "large")


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
@pytest.mark.parametrize("row", [[np.nan, 0.0], [-np.inf, -np.inf]])
def test_an_impossible_frame_is_refused(make, row):
    with pytest.raises(ValueError, match="hold a NaN, or no token is possible"):
        make().accept([row], "large")
