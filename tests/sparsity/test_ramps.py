"""When masks grow, are renewed and freeze: by hand."""

import pytest

from sparrot.sparsity import CubicSchedule, DynamicOptions, Levels
from sparrot.sparsity.ramps import Ramps

THREE = Levels(large={}, wide={"fc": 0.25}, medium={"fc": 0.5}, small={"fc": 0.75})
SCHEDULE = CubicSchedule(begin=10, end=20, initial=0.0)


def ramps(levels: Levels = THREE, **options) -> Ramps:
    return Ramps(levels, SCHEDULE, DynamicOptions(**options))


def test_together_all_levels_have_the_schedule_and_freeze_at_one_step():
    table = ramps(freeze_at=40, mask_every=8)
    assert {table.of(level) for level in THREE.sparse} == {SCHEDULE}
    assert {table.freezes_at(level) for level in THREE.sparse} == {40}
    assert {step: table.due(step) for step in range(60) if table.due(step)} == dict.fromkeys(
        (16, 20, 24, 32, 40), THREE.sparse
    )
    assert (table.end, table.all_are_frozen(40), table.all_are_frozen(41)) == (20, False, True)


def test_sparsest_first_every_level_freezes_where_its_own_ramp_ends():
    table = ramps(freeze_at=41, freeze_order="sparsest_first", mask_every=8)
    ends = {"small": 20, "medium": 30, "wide": 41}  # 20 + 21/2 is 30.5, to even
    assert {level: table.of(level) for level in THREE.sparse} == {
        level: CubicSchedule(10, ends[level]) for level in THREE.sparse
    }
    assert {level: table.freezes_at(level) for level in THREE.sparse} == ends
    assert {step: table.due(step) for step in range(60) if table.due(step)} == {
        16: ("wide", "medium", "small"),
        20: ("wide", "medium", "small"),  # all that can, so that those of 20 are within those of the others
        24: ("wide", "medium"),
        30: ("wide", "medium"),
        32: ("wide",),
        40: ("wide",),
        41: ("wide",),
    }
    assert [table.is_frozen(level, 30) for level in THREE.sparse] == [False, False, True]
    assert (table.end, table.all_are_frozen(41), table.all_are_frozen(42)) == (41, False, True)


@pytest.mark.parametrize("order", ["together", "sparsest_first"])
def test_one_sparse_level_ends_where_the_schedule_does(order: str):
    table = ramps(Levels(large={}, small={"fc": 0.5}), freeze_at=40, freeze_order=order)
    assert table.of("small") == SCHEDULE
    assert table.freezes_at("small") == (40 if order == "together" else 20)


def test_masks_that_never_freeze_are_renewed_for_ever():
    table = ramps(mask_every=50)
    assert table.freezes_at("small") is None
    assert not table.all_are_frozen(10**9)
    assert table.due(10**9) == THREE.sparse


def test_a_ramp_begins_at_its_share():
    table = Ramps(THREE, CubicSchedule(0, 20, initial=1.0), DynamicOptions(mask_every=7))
    assert [step for step in range(1, 22) if table.due(step)] == [7, 14, 20, 21]
    assert table.of("wide").initial == 1.0


def test_a_model_without_sparse_levels_has_nothing_to_renew():
    table = ramps(Levels(large={}))
    assert (table.due(20), table.end) == ((), 20)
