"""The cubic ramp: fast at first, exact at both ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.sparsity import CubicSchedule


def test_the_ramp_is_fast_at_first():
    schedule = CubicSchedule(begin=100, end=500)
    assert [schedule(step) for step in (0, 100, 200, 300, 400, 500, 9999)] == [
        0.0, 0.0, 1 - 0.75**3, 1 - 0.5**3, 1 - 0.25**3, 1.0, 1.0,
    ]  # fmt: skip


def test_the_ramp_may_start_from_a_share():
    schedule = CubicSchedule(begin=0, end=4, initial=0.5)
    assert [schedule(step) for step in (0, 2, 4)] == [0.5, 1 - 0.5 * 0.125, 1.0]


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 50), st.floats(0, 1))
def test_a_schedule_rises_from_its_start_to_one(begin: int, length: int, initial: float):
    schedule = CubicSchedule(begin, begin + length, initial)
    shares = [schedule(step) for step in range(begin + length + 2)]
    assert shares == sorted(shares)
    assert shares[begin] == pytest.approx(initial, abs=2**-52)
    assert shares[-2:] == [1.0, 1.0]


@pytest.mark.parametrize(("begin", "end"), [(5, 5), (5, 4), (-1, 4)])
def test_a_ramp_without_length_is_refused(begin: int, end: int):
    with pytest.raises(ValueError, match=f"0 <= begin < end; got {begin} and {end}"):
        CubicSchedule(begin, end)


@pytest.mark.parametrize("initial", [-0.1, 1.1, float("nan")])
def test_a_start_outside_its_range_is_refused(initial: float):
    with pytest.raises(ValueError, match="within 0 and 1; got"):
        CubicSchedule(0, 10, initial)
