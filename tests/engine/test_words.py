from math import log

import pytest

from sparrot.engine.hypothesis import TokenHit
from sparrot.engine.timing import FrameClock
from sparrot.engine.words import WordMaker, confidence
from sparrot.model_file import LevelDescription
from sparrot.text import CharacterTokens

CLOCK = FrameClock(hop=0.01, reduction=4, centre=0.03)
A, SPACE = 1, 2


def level(name, **fields):
    return LevelDescription(
        name=name, stop=0, targets={}, sparsity={}, overall_sparsity=0.0, parameters=1, **fields
    )


def maker(**levels):
    described = {name: level(name, **fields) for name, fields in levels.items()}
    return WordMaker(CharacterTokens(("a", " ")), CLOCK, described)


def hits(*given):
    """Tokens given as (id, frame, level)."""
    return [TokenHit(token, frame, log(0.5), name) for token, frame, name in given]


def test_a_word_lasts_from_its_first_token_to_one_frame_after_its_last():
    (word,) = maker(large={}).words(hits((A, 2, "large"), (A, 5, "large")), 100)
    assert word.start == pytest.approx(100 * 0.01 + 2 * 0.04 + 0.03)
    assert word.end == pytest.approx(100 * 0.01 + 5 * 0.04 + 0.03 + 0.04)


def test_a_word_ends_where_the_next_one_starts_if_that_is_earlier():
    levels = {"large": {}, "small": {"emission_delay_s": 0.07}}
    first, second = maker(**levels).words(hits((A, 2, "large"), (SPACE, 3, "small"), (A, 4, "small")), 0)
    assert second.start == pytest.approx(4 * 0.04 + 0.03 - 0.07)
    assert first.end == second.start < 2 * 0.04 + 0.03 + 0.04 + 0.04


def test_time_never_turns_back_at_a_switch():
    levels = {"large": {}, "small": {"emission_delay_s": 1.0}}
    first, second = maker(**levels).words(hits((A, 50, "large"), (SPACE, 51, "large"), (A, 52, "small")), 0)
    assert first.start == pytest.approx(50 * 0.04 + 0.03)
    assert second.start >= first.end >= first.start
    assert second.end >= second.start


def test_times_before_the_first_sample_are_0():
    (word,) = maker(large={"emission_delay_s": 0.05}).words(hits((A, 0, "large")), 0)
    assert word.start == 0.0


def test_a_word_has_the_level_and_the_temperature_of_its_last_token():
    levels = {"large": {}, "small": {"confidence_temperature": 2.0}}
    made = maker(**levels)
    tokens = [TokenHit(A, 0, log(0.9), "large"), TokenHit(A, 1, log(0.9), "small")]
    (word,) = made.words(tokens, 0)
    assert word.level == "small"
    assert word.confidence == pytest.approx(1 / (1 + (0.1 / 0.9) ** 0.5))


def test_confidence_is_a_geometric_mean_at_temperature_1():
    assert confidence([log(0.9), log(0.4)], 1.0) == pytest.approx((0.9 * 0.4) ** 0.5)


@pytest.mark.parametrize(
    ("log_probs", "expected"), [([0.0], 1.0), ([1e-9], 1.0), ([-1e6], 0.0), ([-1e-300], 1.0)]
)
def test_confidence_at_its_limits(log_probs, expected):
    assert confidence(log_probs, 0.5) == expected


def test_no_tokens_make_no_words():
    assert maker(large={}).words([], 0) == ()
    assert maker(large={}).words(hits((SPACE, 0, "large")), 0) == ()
