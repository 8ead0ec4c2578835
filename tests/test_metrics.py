"""Word and character errors, counted by hand, and an interval whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.metrics import (
    BootstrapInterval,
    ErrorCounts,
    correct_words,
    count_errors,
    paired_bootstrap,
    total,
)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", ErrorCounts(3, 0, 0, 0, 5, 0)),
        ("a b c", "a x c", ErrorCounts(3, 1, 0, 0, 5, 1)),
        ("a b c", "a c", ErrorCounts(3, 0, 0, 1, 5, 2)),
        ("a c", "a b c", ErrorCounts(2, 0, 1, 0, 3, 2)),
        ("three", "tree", ErrorCounts(1, 1, 0, 0, 5, 1)),
        ("ice cream", "icecream", ErrorCounts(2, 1, 0, 1, 9, 1)),
        ("a b", "", ErrorCounts(2, 0, 0, 2, 3, 3)),
        ("", "x yz", ErrorCounts(0, 0, 2, 0, 0, 4)),
        ("", "", ErrorCounts()),
        ("  ", "\t\n", ErrorCounts()),
        ("  a \t b ", "a b", ErrorCounts(2, 0, 0, 0, 3, 0)),
        ("A", "a", ErrorCounts(1, 1, 0, 0, 1, 1)),
    ],
)
def test_errors_counted_by_hand(reference: str, hypothesis: str, expected: ErrorCounts):
    assert count_errors(reference, hypothesis) == expected


TEXT = st.lists(st.sampled_from(["a", "bb", "abc", "ba"]), max_size=7).map(" ".join)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_the_errors_are_the_edit_distance(reference: str, hypothesis: str):
    counts = count_errors(reference, hypothesis)
    assert counts.word_errors == edit_distance(reference.split(), hypothesis.split())
    assert counts.character_errors == edit_distance(reference, hypothesis)
    assert counts.words + counts.insertions - counts.deletions == len(hypothesis.split())
    assert (counts.words, counts.characters) == (len(reference.split()), len(reference))


@settings(deadline=None)
@given(TEXT, TEXT)
def test_the_right_words_are_those_without_an_edit(reference: str, hypothesis: str):
    counts, right = count_errors(reference, hypothesis), correct_words(reference, hypothesis)
    assert len(right) == len(hypothesis.split())
    assert sum(right) == counts.words - counts.substitutions - counts.deletions


def test_right_words_found_by_hand():
    assert correct_words("a b c d", "a  x c e d") == [True, False, True, False, True]
    assert correct_words("a", "") == correct_words("", "") == []
    assert correct_words("", "a") == [False]


def edit_distance(a: str | list[str], b: str | list[str]) -> int:
    """Levenshtein's, by its definition."""
    row = list(range(len(b) + 1))
    for i, said in enumerate(a, start=1):
        above, row = row, [i]
        for j, heard in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (said != heard)))
    return row[-1]


def test_rates_are_errors_over_lengths():
    counts = ErrorCounts(
        words=10, substitutions=1, insertions=2, deletions=3, characters=40, character_errors=5
    )
    assert counts.word_errors == 6
    assert counts.wer == 0.6
    assert counts.cer == 0.125


def test_rates_without_a_reference_are_zero_or_infinite():
    assert (count_errors("", "").wer, count_errors("", "").cer) == (0.0, 0.0)
    assert (count_errors("", "x").wer, count_errors("", "x").cer) == (math.inf, math.inf)


def test_counts_add_up_field_by_field():
    assert ErrorCounts(1, 2, 3, 4, 5, 6) + ErrorCounts(10, 20, 30, 40, 50, 60) == ErrorCounts(
        11, 22, 33, 44, 55, 66
    )
    utterances = [count_errors("a b", "a"), count_errors("", "c"), count_errors("a b c d", "a b c d")]
    assert total(utterances).wer == 2 / 6
    assert total([]) == ErrorCounts()


# The interval


def utterances(n: int, error_share: float, seed: int) -> list[ErrorCounts]:
    """`n` utterances of ten words, each word wrong with the given probability."""
    n_wrong = np.random.default_rng(seed).binomial(10, error_share, size=n)
    return [ErrorCounts(words=10, substitutions=int(wrong)) for wrong in n_wrong]


def test_the_interval_of_a_known_difference():
    """Its deviation is √(p(1 − p)/n + q(1 − q)/n), binomial with n = 4,000 words; 1.96 of them a side.

    2,000 draws put the ends of the interval within 10 % of its half-width.
    """
    a, b = utterances(400, 0.10, 1), utterances(400, 0.20, 2)
    interval = paired_bootstrap(a, b, n_draws=2_000, seed=0)
    half = 1.96 * math.sqrt(0.10 * 0.90 / 4_000 + 0.20 * 0.80 / 4_000)
    assert interval.difference == pytest.approx(total(b).wer - total(a).wer, abs=1e-12)
    assert interval.difference - interval.low == pytest.approx(half, rel=0.1)
    assert interval.high - interval.difference == pytest.approx(half, rel=0.1)
    assert interval.is_significant
    assert not paired_bootstrap(a, utterances(400, 0.10, 3), n_draws=500, seed=0).is_significant


def test_utterances_are_paired_and_resampled_whole():
    """b has one error more in every utterance: no draw differs, however much the utterances do."""
    a = utterances(50, 0.3, 1)
    b = [counts + ErrorCounts(insertions=1) for counts in a]
    interval = paired_bootstrap(a, b, n_draws=200)
    assert (interval.difference, interval.low, interval.high) == (0.1, 0.1, 0.1)
    assert paired_bootstrap(a, a, n_draws=10) == BootstrapInterval(0.0, 0.0, 0.0)


def test_errors_and_words_of_a_draw_are_of_the_same_utterances():
    """b has every word wrong: the difference is 1 in any draw, whatever the lengths drawn."""
    a = [ErrorCounts(words=n) for n in (1, 5, 40)]
    b = [ErrorCounts(words=n, deletions=n) for n in (1, 5, 40)]
    assert paired_bootstrap(a, b, n_draws=50) == BootstrapInterval(1.0, 1.0, 1.0)


def test_a_seed_gives_the_same_interval():
    a, b = utterances(30, 0.2, 1), utterances(30, 0.3, 2)
    assert paired_bootstrap(a, b, n_draws=50, seed=4) == paired_bootstrap(a, b, n_draws=50, seed=4)
    assert paired_bootstrap(a, b, n_draws=50, seed=4) != paired_bootstrap(a, b, n_draws=50, seed=5)


def test_draws_without_words_do_not_break_it():
    a = [ErrorCounts(words=1), ErrorCounts(insertions=1)]
    interval = paired_bootstrap(a, [ErrorCounts(words=1), ErrorCounts()], n_draws=100)
    assert (interval.low, interval.high) == (-2.0, 0.0)


def test_different_references_or_none_are_refused():
    a = utterances(3, 0.1, 1)
    with pytest.raises(ValueError, match="on both sides; got 10 draws, 3 and 2 utterances"):
        paired_bootstrap(a, a[:2], n_draws=10)
    with pytest.raises(ValueError, match="of 30 and 31 words"):
        paired_bootstrap(a, [*a[:2], ErrorCounts(words=11)], n_draws=10)
    with pytest.raises(ValueError, match="got 0 draws"):
        paired_bootstrap(a, a, n_draws=0)
    with pytest.raises(ValueError, match="needs references with words"):
        paired_bootstrap([ErrorCounts()], [ErrorCounts()], n_draws=10)
