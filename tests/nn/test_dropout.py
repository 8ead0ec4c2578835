"""Dropout: how many values it takes, what becomes of the others, and levels with their own."""

import math

import pytest
import torch

from sparrot.nn.dropout import Dropout

LEVELS = {"large": 0.4, "medium": 0.2, "small": 0.0}


def share_dropped(dropout: Dropout, n: int = 1 << 18) -> float:
    torch.manual_seed(0)
    return float((dropout(torch.ones(n)) == 0).float().mean())


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_so_many_values_are_dropped_and_the_mean_stays(p):
    torch.manual_seed(0)
    n = 1 << 18
    values = Dropout(p)(torch.ones(n))
    deviation = math.sqrt(p * (1 - p) / n)  # of the share of a binomial
    assert abs(float((values == 0).float().mean()) - p) <= 5 * deviation + 2**-16
    kept = values[values != 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - p)), rtol=2**-12)


def test_nothing_is_dropped_outside_training():
    values = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(values), values)


@pytest.mark.parametrize(("level", "p"), [*LEVELS.items(), (0.5, 0.3), (1.75, 0.05), (2.0, 0.0)])
def test_a_level_has_a_probability_of_its_own_and_points_between_lie_between(level, p):
    dropout = Dropout(0.4)
    dropout.give_levels(LEVELS)
    dropout.use_level(level)
    assert share_dropped(dropout) == pytest.approx(p, abs=0.005)  # 5 deviations
    dropout.use_level("large")
    assert share_dropped(dropout) == pytest.approx(0.4, abs=0.005)


def test_without_levels_all_have_the_same():
    dropout = Dropout(0.4)
    for level in ("small", 1.5):
        dropout.use_level(level)
        assert share_dropped(dropout) == pytest.approx(0.4, abs=0.005)


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        Dropout(p)
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        Dropout(0.0).give_levels({"small": p})
