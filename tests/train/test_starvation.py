import math

from sparrot.train.starvation import LEAST_SHARE, PATIENCE, Starvation
from sparrot.train.update import Pass


def passes(**norms: float) -> dict[str, Pass]:
    return {level: Pass(1.0, 1.0, None, norm) for level, norm in norms.items()}


def watched(n: int, **norms: float) -> list[dict[str, float]]:
    starvation = Starvation()
    return [starvation.watch(passes(**norms)) for _ in range(n)]


def test_a_level_is_told_of_once_after_some_patience():
    told = watched(3 * PATIENCE, large=10.0, medium=5.0, small=0.5)
    assert [n for n, found in enumerate(told, start=1) if found] == [PATIENCE]
    assert list(told[PATIENCE - 1]) == ["small"]
    assert math.isclose(told[PATIENCE - 1]["small"], 0.05, rel_tol=1e-9)


def test_levels_that_get_a_tenth_do_not_starve():
    assert not any(watched(3 * PATIENCE, large=10.0, small=10.1 * LEAST_SHARE))


def test_a_level_has_its_time_from_its_own_first_pass():
    starvation = Starvation()
    for _ in range(PATIENCE):
        assert not starvation.watch(passes(large=10.0))
    told = [starvation.watch(passes(large=10.0, small=0.1)) for _ in range(PATIENCE)]
    assert not any(told[:-1])
    assert told[-1]


def test_levels_that_are_drawn_count_their_own_updates():
    starvation = Starvation()
    told = [
        starvation.watch(passes(large=10.0, **({"medium": 0.1} if i % 2 else {}), small=9.0))
        for i in range(2 * PATIENCE)
    ]
    assert [n for n, found in enumerate(told, start=1) if found] == [2 * PATIENCE]


def test_a_dense_run_has_nobody_to_starve():
    assert not any(watched(2 * PATIENCE, dense=0.0))
