"""Prefix beam search against CTC by enumeration of all alignments."""

from math import exp, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from reference_ctc import log_softmax
from sparrot.engine.decoders import GreedyDecoder, Hypothesis, PrefixBeamDecoder

PROBLEMS = st.tuples(
    st.integers(0, 5), st.integers(2, 4), st.integers(0, 10_000), st.sampled_from([0.5, 2, 6])
)


def log_probs_of(problem) -> np.ndarray:
    """Log-probabilities (n_frames, n_tokens) from nearly flat to nearly certain."""
    n_frames, n_tokens, seed, contrast = problem
    rng = np.random.default_rng(seed)
    return log_softmax(contrast * rng.standard_normal((n_frames, n_tokens)))


def everything(log_probs, **options) -> PrefixBeamDecoder:
    """A search that drops nothing."""
    decoder = PrefixBeamDecoder(beam=10**6, token_floor=-inf, margin=inf)
    decoder.accept(log_probs, "large", **options)
    return decoder


def ids(hypothesis: Hypothesis) -> tuple[int, ...]:
    return tuple(hit.id for hit in hypothesis.tokens)


@given(PROBLEMS)
def test_a_wide_beam_scores_every_labelling_exactly(problem):
    log_probs = log_probs_of(problem)
    truth = reference.labellings(log_probs)
    found = [(ids(hypothesis), hypothesis.log_prob) for hypothesis in everything(log_probs).hypotheses()]
    assert len(found) == len(truth)
    assert dict(found) == pytest.approx(truth, rel=1e-9, abs=1e-9)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@given(PROBLEMS)
def test_tokens_lie_where_the_best_alignment_has_them(problem):
    log_probs = log_probs_of(problem)
    alignments = reference.best_alignments(log_probs)
    for hypothesis in everything(log_probs).hypotheses():
        expected = []
        for token, run in reference.runs(alignments[ids(hypothesis)]):
            frame = max(run, key=lambda t: log_probs[t, token])
            expected.append((token, frame, float(log_probs[frame, token]), "large"))
        assert [(h.id, h.frame, h.log_prob, h.level) for h in hypothesis.tokens] == expected


@given(PROBLEMS, st.integers(1, 6))
def test_a_narrow_beam_claims_no_more_than_the_truth(problem, beam):
    log_probs = log_probs_of(problem)
    decoder, truth = PrefixBeamDecoder(beam, token_floor=-inf, margin=inf), reference.labellings(log_probs)
    decoder.accept(log_probs, "large")
    hypotheses = decoder.hypotheses()
    assert len(hypotheses) == min(beam, len(truth))
    assert all(h.log_prob <= truth[ids(h)] + 1e-9 for h in hypotheses)
    assert len({ids(h) for h in hypotheses}) == len(hypotheses)


@given(PROBLEMS, st.integers(1, 4), st.data())
def test_any_cut_gives_the_same_hypotheses(problem, beam, data):
    log_probs = log_probs_of(problem)
    whole, cut = PrefixBeamDecoder(beam), PrefixBeamDecoder(beam)
    whole.accept(log_probs, "large")
    for piece in np.split(log_probs, sorted(data.draw(st.lists(st.integers(0, len(log_probs)), max_size=4)))):
        cut.accept(piece, "large")
    assert cut.hypotheses() == whole.hypotheses()
    assert (cut.n_stable, cut.trailing_blanks, cut.n_frames) == (
        whole.n_stable,
        whole.trailing_blanks,
        whole.n_frames,
    )


@given(PROBLEMS, st.integers(1, 6), st.floats(0.1, 12))
def test_the_stable_prefix_is_shared_and_never_taken_back(problem, beam, margin):
    decoder, stable = PrefixBeamDecoder(beam, margin=margin), ()
    for row in log_probs_of(problem):
        decoder.accept(row[None], "large")
        n = decoder.n_stable
        live = [ids(hypothesis) for hypothesis in decoder.hypotheses()]
        assert {tokens[:n] for tokens in live} == {live[0][:n]}
        assert len({tokens[: n + 1] for tokens in live}) > 1 or n == len(live[0])
        assert live[0][: len(stable)] == stable
        stable = live[0][:n]


def test_a_beam_of_one_follows_a_sure_network_like_greedy():
    path = [0, 3, 3, 0, 3, 1, 2, 2, 0, 1]
    log_probs = np.log(np.full((10, 4), 0.01) + 0.96 * np.eye(4)[path])
    beam, greedy = PrefixBeamDecoder(beam=1), GreedyDecoder()
    for decoder in (beam, greedy):
        decoder.accept(log_probs, "large")
    assert ids(beam.hypothesis()) == ids(greedy.hypothesis()) == (3, 3, 1, 2, 1)
    assert [hit.frame for hit in beam.hypothesis().tokens] == [1, 4, 5, 6, 9]
    assert beam.n_stable == 5
    assert len(beam.hypotheses()) == 1


def test_the_sum_over_alignments_beats_the_best_alignment():
    """Graves 2012, fig. 7.5: the best path is all blanks, the best labelling is one token."""
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    decoder, greedy = PrefixBeamDecoder(), GreedyDecoder()
    for each in (decoder, greedy):
        each.accept(log_probs, "large")
    assert ids(greedy.hypothesis()) == ()
    assert ids(decoder.hypothesis()) == (1,)
    assert exp(decoder.hypothesis().log_prob) == pytest.approx(1 - 0.36)


@pytest.mark.parametrize("beam", [2, 3, 4])
def test_a_labelling_that_was_dropped_meets_its_old_self_again(beam):
    """(1,) is dropped while (1, 2) is kept, then comes back: its growing must reach the old (1, 2)."""
    for seed in range(40):
        decoder = PrefixBeamDecoder(beam, token_floor=-inf, margin=inf)
        for row in log_probs_of((30, 3, seed, 1.0)):
            decoder.accept(row[None], "large")
            listed = [ids(hypothesis) for hypothesis in decoder.hypotheses()]
            assert len(set(listed)) == len(listed)


def test_the_tree_holds_the_kept_labellings_and_no_other():
    decoder = PrefixBeamDecoder(beam=4, settle_frames=5)
    for row in log_probs_of((300, 4, 0, 2.0)):
        decoder.accept(row[None], "large")
        kept = [ids(hypothesis) for hypothesis in decoder.hypotheses()]
        needed = {tokens[:depth] for tokens in kept for depth in range(len(tokens) + 1)}
        n_prefixes, _, _ = decoder._search.storage
        assert n_prefixes == len(needed)


def test_equal_scores_are_ranked_alike_every_time():
    decoder = everything(np.log(np.full((2, 3), 1 / 3)))
    assert [ids(h) for h in decoder.hypotheses()] == [(1,), (2,), (), (1, 2), (2, 1)]


def test_tokens_below_the_floor_are_not_tried_but_the_best_is():
    log_probs = np.log([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]])
    decoder = PrefixBeamDecoder(token_floor=np.log(0.25), margin=inf)
    decoder.accept(log_probs, "large")
    assert {ids(h) for h in decoder.hypotheses()} == {(), (1,), (2,), (1, 2)}
    decoder = PrefixBeamDecoder(token_floor=0.0, margin=inf)
    decoder.accept(log_probs, "large")
    assert {ids(h) for h in decoder.hypotheses()} == {(), (1,), (2,), (1, 2)}


def test_labellings_beyond_the_margin_are_given_up():
    log_probs = np.log([[0.9, 0.09, 0.01]])
    for margin, kept in [(2.0, {()}), (2.5, {(), (1,)}), (5.0, {(), (1,), (2,)})]:
        decoder = PrefixBeamDecoder(margin=margin)
        decoder.accept(log_probs, "large")
        assert {ids(h) for h in decoder.hypotheses()} == kept


def test_an_old_doubt_is_settled():
    doubt = np.log([[0.02, 0.5, 0.48]])
    decoder = PrefixBeamDecoder(settle_frames=5)
    decoder.accept(doubt, "large")
    for n_later, stable in [(5, 0), (1, 1)]:
        decoder.accept(np.log(np.repeat([[0.98, 0.01, 0.01]], n_later, axis=0)), "large")
        assert decoder.n_stable == stable
    assert all(ids(h)[:1] == (1,) for h in decoder.hypotheses())


def test_the_stable_prefix_follows_at_the_distance_of_settling():
    rows, decoder = speech_like(400), PrefixBeamDecoder(settle_frames=50)
    for begin in range(0, 400, 10):
        decoder.accept(rows[begin : begin + 10], "large")
        old = [hit for hit in decoder.hypothesis().tokens if hit.frame < decoder.n_frames - 51]
        assert decoder.n_stable >= len(old)


def test_settling_does_not_change_the_best_labelling():
    for seed in range(6):
        log_probs = log_probs_of((60, 4, seed, 3))
        soon, never = PrefixBeamDecoder(16, settle_frames=25), PrefixBeamDecoder(16, settle_frames=1000)
        for decoder in (soon, never):
            decoder.accept(log_probs, "large")
        assert soon.hypothesis().log_prob >= never.hypothesis().log_prob - 1e-3


def test_impossible_tokens_are_never_listed():
    log_probs = [[-inf, 0.0, -inf], [-inf, 0.0, -inf], [0.0, -inf, -inf], [-inf, 0.0, -inf]]
    found = everything(log_probs).hypotheses()
    assert [(ids(h), h.log_prob) for h in found] == [((1, 1), 0.0)]
    assert [hit.frame for hit in found[0].tokens] == [0, 3]


def test_blank_penalty_counts_once_a_frame():
    log_probs = log_probs_of((4, 3, 0, 1.0))
    lowered = log_probs.astype(np.float64)
    lowered[:, 0] -= 0.7
    found = {ids(h): h.log_prob for h in everything(log_probs, blank_penalty=0.7).hypotheses()}
    assert found == pytest.approx(reference.labellings(lowered), rel=1e-9)


def test_a_token_that_peaks_after_a_switch_carries_the_new_level():
    decoder = PrefixBeamDecoder()
    decoder.accept(np.log([[0.4, 0.6]]), "large")
    decoder.accept(np.log([[0.1, 0.9]]), "small")
    (hit,) = decoder.hypothesis().tokens
    assert (hit.frame, hit.level) == (1, "small")


def test_a_beam_of_none_is_refused():
    with pytest.raises(ValueError, match="at least 1 hypothesis; got a beam of 0"):
        PrefixBeamDecoder(beam=0)


def speech_like(n_frames: int) -> np.ndarray:
    """Log-probabilities of 30 tokens: mostly blank, every fifth frame a token, some of them doubtful."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((n_frames, 30))
    logits[:, 0] += 6
    peaks = np.arange(2, n_frames, 5)
    logits[peaks, rng.integers(1, 30, len(peaks))] += 9
    logits[peaks[::3], rng.integers(1, 30, len(peaks[::3]))] += 8
    return log_softmax(logits)


def test_memory_grows_by_the_tokens_alone():
    """Older frames leave a node and a hit a token; the last ones hold at most the beam's own."""
    rows, decoder = speech_like(200), PrefixBeamDecoder(8, settle_frames=50)
    for _ in range(20):
        decoder.accept(rows, "large")
        n_prefixes, n_hits, _ = decoder._search.storage
        n_tokens = decoder.n_tokens
        assert n_prefixes <= n_tokens + 1 + 8 * 51
        assert n_hits <= n_tokens + 16 * 51
    assert 600 < n_tokens < 900


def test_memory_is_flat_on_endless_blank():
    rows, decoder = speech_like(200), PrefixBeamDecoder()
    decoder.accept(rows, "large")
    silence = np.log(np.repeat([[0.999, *[0.001 / 29] * 29]], 1000, axis=0))
    decoder.accept(silence, "large")
    before = decoder._search.storage
    for _ in range(20):
        decoder.accept(silence, "large")
    assert decoder._search.storage == before
    decoder.reset()
    assert decoder._search.storage == PrefixBeamDecoder()._search.storage


@pytest.mark.parametrize(
    "options",
    [{"margin": -1.0}, {"margin": np.nan}, {"settle_frames": -1}, {"token_floor": np.nan}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="margin and frames to settle of 0 or more, and a floor"):
        PrefixBeamDecoder(**options)


def test_log_probabilities_beyond_a_double_are_refused():
    decoder = PrefixBeamDecoder()
    decoder.accept([[-1.7e308, -inf]], "large")
    with pytest.raises(ValueError, match="no hypothesis is possible any more"):
        decoder.accept([[-1.7e308, -inf]], "large")
