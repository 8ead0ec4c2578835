"""Log-probabilities and greedy decoding against CTC by enumeration."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import reference
from reference_ctc import log_softmax
from sparrot.engine.decoders import GreedyDecoder, PrefixBeamDecoder, TokenHit

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
def test_log_probabilities_of_logits_are_within_rounding(logits):
    """Against NumPy's own order of summation; exp and log are trusted to one unit in the last place."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, initial=-np.inf, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    n = logits.shape[1]
    bound = 2 * (n + 2 + 3 * log(n) + 2 * abs(expected)) * 2.0**-53
    assert np.all(abs(log_softmax(logits) - expected) <= bound)


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_huge_logits_are_decoded(make):
    decoder = make()
    decoder.accept_logits([[3e38, -3e38], [-3e38, 3e38]], "large")
    assert decoder.hypothesis().tokens == (TokenHit(1, 1, 0.0, "large"),)
    assert decoder.hypothesis().log_prob == 0.0


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_before_the_first_frame(make, value):
    decoder = make()
    with pytest.raises(
        ValueError,
        match=r"^the network's output is not finite: its weights or the features are out of range$",
    ):
        decoder.accept_logits([[0.0, 9.0], [0.0, value]], "large")
    assert decoder.n_frames == decoder.n_tokens == 0


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
    assert (decoder.n_tokens, decoder.n_stable, decoder.trailing_blanks) == (0, 0, 0)
    decoder.accept(rows[:1], "small")
    assert decoder.hypothesis().tokens == (TokenHit(1, 0, float(rows[0, 1]), "small"),)


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 2, 3)])
def test_log_probabilities_of_another_rank_are_refused(make, shape):
    with pytest.raises(ValueError, match=r"takes log-probabilities \(n_frames, n_tokens\)"):
        make().accept(np.zeros(shape), "large")


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
@pytest.mark.parametrize("row", [[np.nan, 0.0], [0.0, np.nan], [-np.inf, -np.inf], [np.inf, 0.0]])
def test_an_impossible_frame_is_refused(make, row):
    with pytest.raises(ValueError, match="hold a NaN, or no token is possible"):
        make().accept([row], "large")
    with pytest.raises(ValueError, match="hold a NaN, or no token is possible"):
        make().accept([[0.0, 0.0], [np.nan, 0.0]], "large")


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_another_number_of_tokens_is_refused_until_the_segment_ends(make):
    decoder = make()
    decoder.accept([[-1.0, -2.0, -0.1]], "large")
    with pytest.raises(ValueError, match="equally many tokens; got 2 after 3"):
        decoder.accept([[-0.1, -2.0]], "large")
    with pytest.raises(ValueError, match="equally many tokens; got 4 after 3"):
        decoder.accept_logits(np.zeros((1, 4)), "large")
    assert ids(decoder) == (2,)
    decoder.reset()
    decoder.accept([[-2.0, -0.1]], "large")
    assert ids(decoder) == (1,)


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
@pytest.mark.parametrize("penalty", [np.nan, np.inf, -np.inf])
def test_a_penalty_that_is_no_number_is_refused(make, penalty):
    with pytest.raises(ValueError, match="finite blank penalty"):
        make().accept([[-0.1, -2.0]], "large", blank_penalty=penalty)


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_any_array_of_numbers_will_do(make):
    rows = np.log(np.random.default_rng(0).dirichlet(np.ones(4), size=12)).astype(np.float32)
    plain, turned, lists = make(), make(), make()
    plain.accept(rows, "large")
    turned.accept(np.asfortranarray(rows), "large")
    lists.accept(rows.tolist(), "large")
    assert plain.hypothesis() == turned.hypothesis() == lists.hypothesis()


@pytest.mark.parametrize("make", [GreedyDecoder, PrefixBeamDecoder])
def test_other_threads_run_while_it_searches(make):
    logits, decoder = np.zeros((2000, 500), np.float32), make()
    began, done = threading.Event(), []

    def work():
        began.set()
        for _ in range(20):
            decoder.accept_logits(logits, "large")
            done.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nothing but a released lock lets this thread go on
    try:
        thread = threading.Thread(target=work)
        thread.start()
        began.wait()
        n_done = len(done)
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert n_done < 20


def test_threads_that_meet_in_a_decoder_take_turns():
    rows = np.log(np.random.default_rng(1).dirichlet(np.ones(30), size=50))
    decoder = PrefixBeamDecoder(margin=np.inf)

    def work():
        for _ in range(20):
            decoder.accept(rows, "large")
            assert decoder.n_stable <= decoder.n_frames
            decoder.hypotheses()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert decoder.n_frames == 4 * 20 * 50
