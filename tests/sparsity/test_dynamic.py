"""Masks that come, grow, return and freeze; driven by gradients given by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from sparrot.sparsity import (
    BlockShape,
    Criterion,
    CubicSchedule,
    DynamicOptions,
    DynamicSparsity,
    Levels,
    Magnitude,
    MaskUpdate,
    WeightChange,
    WeightGradient,
)
from sparsity import plain
from sparsity.strategies import ramps, updates

NO_RAMP = CubicSchedule(0, 1)
HALF = Levels(large={}, small={"fc": 0.5})
AT_ONCE = DynamicOptions(mask_every=1, smoothing=0.0)


def four_blocks(options: DynamicOptions = AT_ONCE, levels: Levels = HALF) -> DynamicSparsity:
    """A layer of four single-weight blocks, all of weight one, so that a gradient is a score."""
    layer = nn.Linear(4, 1, bias=False)
    nn.init.ones_(layer.weight)
    return DynamicSparsity(layer, levels, block=BlockShape(1, 1), schedule=NO_RAMP, options=options)


def give(sparsity: DynamicSparsity, gradient: list[float], level: str = "large") -> None:
    """A backward inside `level` that brings the one matrix this gradient."""
    weight = sparsity.targets[0].parameter
    weight.grad = None
    with sparsity.at(level):
        torch.autograd.backward([weight], [torch.tensor(gradient).view_as(weight)])


def kept(sparsity: DynamicSparsity, level: str = "small") -> list[int]:
    return sparsity.masks(level)["weight"].keep.flatten().nonzero().flatten().tolist()


def test_modules_that_want_to_know_are_told_the_level():
    told = []
    model = nn.Sequential(nn.Linear(4, 1), nn.Identity())
    model[1].use_level = told.append
    sparsity = DynamicSparsity(model, HALF, block=BlockShape(1, 1), schedule=NO_RAMP)
    assert told == []
    for level in ("large", "small"):
        with sparsity.at(level):
            told.append("at work")
    with pytest.raises(KeyError), sparsity.at("small"):
        raise KeyError
    assert told == ["large", "at work", "large", "small", "at work", "large", "small", "large"]


def test_passes_are_the_full_model_and_then_each_sparser_one():
    sparsity = four_blocks(levels=Levels(large={}, medium={"fc": 0.5}, small={"fc": 0.75}))
    assert sparsity.passes() == ("large", "medium", "small")


def test_nothing_is_dropped_before_the_first_renewal():
    sparsity = four_blocks()
    assert kept(sparsity) == [0, 1, 2, 3]
    assert sparsity.sparsity("small") == {"fc": 0.0}


def test_a_dropped_block_returns_when_others_score_lower():
    sparsity = four_blocks()
    give(sparsity, [1.0, 2.0, 3.0, 4.0])
    assert sparsity.step() == [MaskUpdate(1, "small", 2, 0, sparsity=0.5, matrices={"weight": 0.5})]
    assert kept(sparsity) == [2, 3]
    give(sparsity, [5.0, 2.0, 3.0, 4.0])
    assert sparsity.step() == [MaskUpdate(2, "small", 1, 1, sparsity=0.5, matrices={"weight": 0.5})]
    assert kept(sparsity) == [0, 3]


def test_a_dropped_block_returns_with_the_value_it_has_learnt_meanwhile():
    sparsity = four_blocks()
    weight = sparsity.targets[0].parameter
    give(sparsity, [1.0, 2.0, 3.0, 4.0])
    sparsity.step()
    with torch.no_grad():
        weight[0, 0] = 7.0  # as an optimiser would, after the full model's pass
    give(sparsity, [5.0, 0.0, 3.0, 4.0])
    sparsity.step()
    with sparsity.at("small"):
        assert weight.tolist() == [[7.0, 0.0, 0.0, 1.0]]


def test_independent_masks_score_the_weight_without_its_mask():
    # By the masked weight a dropped block would score 0 for ever.
    options = DynamicOptions(mask_every=1, smoothing=0.0, nested=False)
    sparsity = four_blocks(options)
    for gradient, expected in (([1, 2, 3, 4], [2, 3]), ([9, 8, 3, 4], [0, 1])):
        give(sparsity, [4.0, 3.0, 2.0, 1.0], level="large")  # another level's pass does not count
        give(sparsity, [float(g) for g in gradient], level="small")
        sparsity.step()
        assert kept(sparsity) == expected


def test_nested_masks_go_by_the_full_models_pass_alone():
    sparsity = four_blocks()
    give(sparsity, [1.0, 2.0, 3.0, 4.0], level="large")
    give(sparsity, [9.0, 0.0, 0.0, 0.0], level="small")
    sparsity.step()
    assert kept(sparsity) == [2, 3]


def test_scores_are_a_moving_average():
    sparsity = four_blocks(DynamicOptions(mask_every=2, smoothing=0.75))
    give(sparsity, [1.0, 4.0, 8.0, 8.0])
    sparsity.step()
    give(sparsity, [9.0, 4.0, 0.0, 0.0])  # 0.75·old + 0.25·new = 3, 4, 6, 6
    sparsity.step()
    assert kept(sparsity) == [2, 3]
    for _ in range(2):
        give(sparsity, [9.0, 4.0, 0.0, 0.0])
        sparsity.step()  # 4.5, 4, 4.5, 4.5 and then 5.625, 4, 3.375, 3.375
    assert kept(sparsity) == [0, 1]
    assert sparsity.state_dict()["scores"]["average"]["large"]["weight"].tolist() == [
        [5.625, 4.0, 3.375, 3.375]
    ]


def test_scores_of_micro_batches_add_up():
    sparsity = four_blocks()
    give(sparsity, [9.0, 0.0, 5.0, 1.0])
    give(sparsity, [-9.0, 1.0, 5.0, 7.0])  # 18 (though the gradients cancel), 1, 10, 8
    sparsity.step()
    assert kept(sparsity) == [0, 2]


@pytest.mark.parametrize(
    ("gradient", "expected"),
    # of the second update the full model alone has 4, 3, 2, 1; with the level's under its mask
    # |4|, |3|, |2 − 9|, |1 + 0|; with all of the level's |4 + 0|, |3 − 3|, |2 − 9|, |1 + 0|
    [("full", [0, 1]), ("accumulated", [0, 2]), ("straight_through", [0, 2])],
)
def test_the_gradient_of_scores_by_hand(gradient: str, expected: list[int]):
    sparsity = four_blocks(DynamicOptions(mask_every=1, smoothing=0.0, gradient=gradient))
    give(sparsity, [0.0, 0.0, 1.0, 1.0])
    sparsity.step()
    assert kept(sparsity) == [2, 3]
    give(sparsity, [4.0, 3.0, 2.0, 1.0])
    give(sparsity, [0.0, -3.0, -9.0, 0.0], level="small")
    sparsity.step()
    assert kept(sparsity) == expected
    scores = {"full": [4, 3, 2, 1], "accumulated": [4, 3, 7, 1], "straight_through": [4, 0, 7, 1]}
    average = sparsity.state_dict()["scores"]["average"]["large"]["weight"]
    assert average.tolist() == [scores[gradient]]


@pytest.mark.parametrize("gradient", ["accumulated", "straight_through"])
def test_a_sum_of_gradients_does_not_change_when_the_accumulated_one_does(gradient: str):
    sparsity = four_blocks(DynamicOptions(mask_every=1, smoothing=0.0, gradient=gradient))
    weight = sparsity.targets[0].parameter
    for _ in range(2):  # without zero_grad in between, `.grad` grows in place
        with sparsity.at("large"):
            (weight * torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
        weight.grad.zero_()
    sparsity.step()
    assert sparsity.state_dict()["scores"]["average"]["large"]["weight"].tolist() == [[2.0, 4.0, 6.0, 8.0]]


def test_equal_scores_keep_the_lowest_index():
    sparsity = four_blocks()
    give(sparsity, [1.0, 1.0, 1.0, 1.0])
    sparsity.step()
    assert kept(sparsity) == [0, 1]


def test_masks_are_renewed_every_so_often_and_where_the_ramp_ends():
    sparsity = DynamicSparsity(
        nn.Linear(16, 1),
        Levels(large={}, small={"fc": 0.75}),
        block=BlockShape(1, 1),
        schedule=CubicSchedule(0, 10),
        options=DynamicOptions(criterion=Magnitude(), mask_every=4),
    )
    renewals = {update.step: update.sparsity for _ in range(13) for update in sparsity.step()}
    expected = {step: 1 - plain.n_kept(16, 0.75 * plain.cubic(step, 0, 10)) / 16 for step in (4, 8, 10, 12)}
    assert renewals == expected
    assert renewals[10] == 0.75


@pytest.mark.parametrize("nested", [True, False])
def test_before_the_ramp_begins_the_full_model_may_train_alone(nested: bool):
    sparsity = DynamicSparsity(
        nn.Linear(4, 1, bias=False),
        HALF,
        block=BlockShape(1, 1),
        schedule=CubicSchedule(begin=2, end=4),
        options=DynamicOptions(mask_every=1, nested=nested),
    )
    nn.init.ones_(sparsity.targets[0].parameter)
    renewals = []
    for step in range(1, 5):
        for level in sparsity.passes() if step > 2 else ("large",):
            give(sparsity, [1.0, 2.0, 3.0, 4.0], level)
        renewals += [update.step for update in sparsity.step()]
    assert renewals == [3, 4]
    assert kept(sparsity) == [2, 3]


def test_masks_and_scores_freeze():
    sparsity = four_blocks(DynamicOptions(mask_every=2, smoothing=0.0, freeze_at=3))
    renewals = []
    for step in range(1, 9):
        give(sparsity, [1.0, 2.0, 3.0, 4.0] if step == 3 else [4.0, 3.0, 2.0, 1.0])
        renewals += [update.step for update in sparsity.step()]
        if step == 3:
            frozen = sparsity.state_dict()
    assert renewals == [1, 2, 3]  # 1 is the end of the ramp
    assert kept(sparsity) == [2, 3]
    assert torch.equal(
        sparsity.state_dict()["scores"]["average"]["large"]["weight"],
        frozen["scores"]["average"]["large"]["weight"],
    )


def test_weight_changes_freeze_too():
    sparsity = four_blocks(DynamicOptions(criterion=WeightChange(), mask_every=1, freeze_at=2))
    for step in range(1, 5):
        with torch.no_grad():
            sparsity.targets[0].parameter.add_(1.0)
        sparsity.step()
        if step == 2:
            frozen = sparsity.state_dict()["scores"]["changes"]["weight"]
    assert frozen.all()
    assert torch.equal(sparsity.state_dict()["scores"]["changes"]["weight"], frozen)


def test_freezing_before_the_ramp_ends_is_refused():
    with pytest.raises(
        ValueError, match="freeze at step 9 never reach the levels, since the schedule ends at 10"
    ):
        DynamicSparsity(
            nn.Linear(4, 1),
            HALF,
            block=BlockShape(1, 1),
            schedule=CubicSchedule(0, 10),
            options=DynamicOptions(freeze_at=9),
        )


def test_change_counts_weights_that_are_large_and_move():
    sparsity = four_blocks(DynamicOptions(criterion=WeightChange(), mask_every=2, smoothing=0.5))
    weight = sparsity.targets[0].parameter
    for moved in ([0.0, 4.0, -2.0, 0.0], [0.0, 0.0, 2.0, -0.5]):
        with torch.no_grad():
            weight += torch.tensor([moved])
        sparsity.step()
    # |w| = 1, 5, 1, ½ and the average of |Δw| from 0: 0, 1, 1.5, 0.25
    assert sparsity.state_dict()["scores"]["changes"]["weight"].tolist() == [[0.0, 1.0, 1.5, 0.25]]
    assert kept(sparsity) == [1, 2]


def test_magnitude_needs_no_gradient_and_no_memory():
    sparsity = four_blocks(DynamicOptions(criterion=Magnitude(), mask_every=1))
    weight = sparsity.targets[0].parameter
    for values, expected in (([1.0, -2.0, 3.0, 4.0], [2, 3]), ([-9.0, 8.0, 3.0, 4.0], [0, 1])):
        with torch.no_grad():
            weight.copy_(torch.tensor([values]))
        sparsity.step()
        assert kept(sparsity) == expected


def test_the_matrix_of_the_slides_trained_at_its_level():
    before = [[-1.0, 5, 3, 4], [1, 2, 6, 7], [-3, 2, -1, -2], [7, 8, 3, 4]]
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(before))
    sparsity = DynamicSparsity(
        layer,
        Levels(large={}, sparse={"fc": 3 / 16}),
        block=BlockShape(1, 1),
        schedule=NO_RAMP,
        options=DynamicOptions(criterion=Magnitude(), mask_every=1),
    )
    (update,) = sparsity.step()
    assert (update.dropped, update.sparsity) == (3, 3 / 16)
    with sparsity.at("sparse"):
        assert layer.weight.tolist() == [[0.0, 5, 3, 4], [0, 2, 6, 7], [-3, 2, 0, -2], [7, 8, 3, 4]]
        layer(torch.ones(1, 4)).sum().backward()
    assert layer.weight.tolist() == before
    assert layer.weight.grad.tolist() == [[0.0, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]]


def test_what_a_frozen_level_keeps_stays_in_the_denser_ones_whatever_it_scores():
    levels = Levels(large={}, medium={"fc": 0.5}, small={"fc": 0.75})
    options = DynamicOptions(mask_every=1, smoothing=0.0, freeze_at=3, freeze_order="sparsest_first")
    sparsity = four_blocks(options, levels)
    give(sparsity, [4.0, 3.0, 2.0, 1.0])
    assert [update.level for update in sparsity.step()] == ["medium", "small"]
    assert (kept(sparsity, "medium"), kept(sparsity)) == ([0, 1, 2], [0])  # medium is on its way, small there
    for renewed in (["medium"], ["medium"], []):
        give(sparsity, [1.0, 2.0, 3.0, 4.0])
        assert [update.level for update in sparsity.step()] == renewed
        assert (kept(sparsity, "medium"), kept(sparsity)) == ([0, 3], [0])


@settings(deadline=None, max_examples=40)
@given(ramps())
def test_a_sparser_level_keeps_a_subset_all_along_the_ramp(
    ramp: tuple[Levels, BlockShape, DynamicOptions, int],
):
    levels = ramp[0]
    for sparsity in updates(ramp):
        for denser, sparser in itertools.pairwise(levels):
            dense, sparse = sparsity.masks(denser), sparsity.masks(sparser)
            assert all(sparse[name].is_within(dense[name]) for name in sparse)
            assert all(mask.n_kept for mask in sparse.values())
    assert all(sparsity.has_reached(level) for level in levels)


@pytest.mark.parametrize("scope", ["matrix", "type", "global"])
def test_the_reported_sparsity_is_that_of_the_weights_one_finds(scope: str):
    torch.manual_seed(2)
    model = nn.ModuleDict({"a": nn.Linear(9, 7), "b": nn.Linear(5, 6), "c": nn.GRUCell(3, 5)})
    sparsity = DynamicSparsity(
        model,
        Levels(large={}, small={"fc": 0.6, "gru": 0.8}),
        block=BlockShape(4, 2),  # edge blocks everywhere
        schedule=NO_RAMP,
        options=DynamicOptions(criterion=Magnitude(), mask_every=1, scope=scope),
    )
    (update,) = sparsity.step()

    def share_of_zeros(weights: list[Tensor]) -> float:
        return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)

    with sparsity.at("small"):
        fc, gru = [model.a.weight, model.b.weight], [model.c.weight_ih, model.c.weight_hh]
        assert sparsity.sparsity("small") == {"fc": share_of_zeros(fc), "gru": share_of_zeros(gru)}
        assert update.sparsity == share_of_zeros(fc + gru)
    assert sparsity.sparsity("large") == {"fc": 0.0, "gru": 0.0}


def test_only_matrices_that_some_level_prunes_are_touched():
    model = nn.ModuleDict(
        {"encoder": nn.GRU(3, 4), "output": nn.Linear(4, 2), "embedding": nn.Embedding(5, 3)}
    )
    sparsity = DynamicSparsity(
        model,
        Levels(large={}, small={"gru": 0.5, "embedding": 0.5}),
        block=BlockShape(1, 1),
        schedule=NO_RAMP,
        options=DynamicOptions(exclude=("*_ih_*",)),
    )
    assert [target.name for target in sparsity.targets] == ["encoder.weight_hh_l0", "embedding.weight"]
    assert sparsity.types == ("gru", "embedding")
    assert list(sparsity.masks("small")) == ["encoder.weight_hh_l0", "embedding.weight"]


@pytest.mark.parametrize("scope", ["matrix", "type", "global"])
def test_a_level_without_targets_is_dense(scope: str):
    options = DynamicOptions(criterion=Magnitude(), mask_every=1, scope=scope)
    sparsity = four_blocks(options, Levels(large={}, small={}))
    assert sparsity.step() == [MaskUpdate(1, "small", 0, 0, sparsity=0.0, matrices={})]
    assert sparsity.sparsity("small") == {}


def test_a_layer_type_that_the_model_lacks_is_refused():
    with pytest.raises(ValueError, match="the levels prune `lstm` layers and the model has none; it has fc"):
        four_blocks(levels=Levels(large={}, small={"lstm": 0.5}))


def test_a_layer_type_that_is_excluded_altogether_is_refused():
    with pytest.raises(
        ValueError, match="`fc` layers and the model has none that is not excluded; there is no prunable"
    ):
        four_blocks(DynamicOptions(exclude=("*",)))


def test_crossing_levels_are_refused_unless_masks_are_independent():
    crossing = Levels(large={}, medium={"fc": 0.75}, small={"fc": 0.5})
    with pytest.raises(ValueError, match="`medium` and `small` cross"):
        four_blocks(levels=crossing)
    assert four_blocks(DynamicOptions(nested=False), crossing).passes() == ("large", "medium", "small")


@pytest.mark.parametrize(
    ("scope", "sparsity", "sentence"),
    [
        (
            "matrix",
            0.9,
            "level `small` would keep 0 of the 4 blocks of `0.weight`, and every matrix needs one",
        ),
        ("type", 0.9, "level `small` would keep 1 of the 8 blocks of `0.weight`, `1.weight`"),
        ("global", 0.9, "level `small` would keep 1 of the 8 blocks of `0.weight`, `1.weight`"),
    ],
)
def test_a_level_that_would_leave_nothing_of_a_matrix_is_refused(scope: str, sparsity: float, sentence: str):
    model = nn.ModuleList([nn.Linear(4, 16), nn.Linear(4, 16)])
    block, levels = BlockShape(16, 1), Levels(large={}, small={"fc": sparsity})
    with pytest.raises(ValueError, match=sentence):
        DynamicSparsity(model, levels, block=block, schedule=NO_RAMP, options=DynamicOptions(scope=scope))


@pytest.mark.parametrize("scope", ["type", "global"])
def test_a_matrix_of_low_scores_keeps_its_best_block(scope: str):
    model = nn.Sequential(nn.Linear(8, 1, bias=False), nn.Linear(8, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(8.0) + 10)
        model[1].weight.copy_(torch.arange(8.0))
    options = DynamicOptions(criterion=Magnitude(), mask_every=1, scope=scope)
    levels = Levels(large={}, small={"fc": 0.75})
    sparsity = DynamicSparsity(model, levels, block=BlockShape(1, 1), schedule=NO_RAMP, options=options)
    sparsity.step()
    kept = {
        name: mask.keep.flatten().nonzero().flatten().tolist()
        for name, mask in sparsity.masks("small").items()
    }
    assert kept == {"0.weight": [5, 6, 7], "1.weight": [7]}


def test_a_level_drops_nothing_until_its_first_masks():
    sparsity = four_blocks()
    assert not sparsity.drops("small")
    give(sparsity, [1.0, 2.0, 3.0, 4.0])
    sparsity.step()
    assert sparsity.drops("small")
    assert not sparsity.drops("large")


def test_an_update_that_the_optimiser_skipped_is_forgotten():
    sparsity = four_blocks(DynamicOptions(mask_every=1, smoothing=0.5))
    give(sparsity, [math.inf, 2.0, 3.0, 4.0])
    assert sparsity.step(skipped=True) == []
    assert (sparsity.step_count, kept(sparsity)) == (0, [0, 1, 2, 3])
    give(sparsity, [1.0, 2.0, 3.0, 4.0])
    sparsity.step()
    assert (sparsity.step_count, kept(sparsity)) == (1, [2, 3])


@pytest.mark.parametrize("criterion", [WeightGradient(), WeightChange(), Magnitude()])
def test_weights_of_16_bits_are_scored_in_32(criterion: Criterion):
    layer = nn.Linear(4, 1, bias=False, dtype=torch.bfloat16)
    options = DynamicOptions(criterion=criterion, mask_every=1, smoothing=0.99)
    sparsity = DynamicSparsity(layer, HALF, block=BlockShape(1, 1), schedule=NO_RAMP, options=options)
    nn.init.ones_(layer.weight)
    scores: list[Tensor] = []
    for gradient in (1.0, 1.25, 1.25):
        give(sparsity, [gradient, 0.0, 0.0, 0.0])
        sparsity.step()
        scores.append(sparsity.state_dict()["scores"])
    for score in scores:
        assert all(tensor.dtype == torch.float32 for tensor in values_of(score))
    if criterion == WeightGradient():
        moved = [score["average"]["large"]["weight"][0, 0].item() for score in scores]
        assert moved == pytest.approx([1.0, 1.0025, 1.004975])


def values_of(state) -> list[Tensor]:
    """Every tensor of a nested state."""
    return [state] if isinstance(state, Tensor) else [t for value in state.values() for t in values_of(value)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused_and_no_mask_is_touched(value: float):
    sparsity = four_blocks()
    give(sparsity, [1.0, value, 3.0, 4.0])
    with pytest.raises(ValueError, match="scores of `weight` are not finite"):
        sparsity.step()
    assert kept(sparsity) == [0, 1, 2, 3]


def test_a_matrix_without_a_gradient_cannot_be_ranked():
    sparsity = four_blocks()
    give(sparsity, [1.0, 2.0, 3.0, 4.0], level="small")
    with pytest.raises(RuntimeError, match=r"no gradient has reached it inside `at\('large'\)`"):
        sparsity.step()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scope": "layer"}, "by matrix, type or global; got `layer`"),
        ({"mask_every": 0}, "got 0 and 0.9"),
        ({"smoothing": 1.0}, "got 100 and 1.0"),
        ({"smoothing": -0.1}, "got 100 and -0.1"),
        ({"freeze_at": 0}, "after step 1 or later"),
        ({"freeze_order": "denser"}, "freeze together or sparsest_first; got `denser`"),
        ({"freeze_order": "sparsest_first"}, "sparsest first need `freeze_at`"),
        ({"gradient": "sum"}, "full, accumulated or straight_through; got `sum`"),
        (
            {"gradient": "accumulated", "criterion": Magnitude()},
            r"Magnitude\(norm='max'\) scores blocks without a gradient and makes no use of `accumulated`",
        ),
        ({"gradient": "straight_through", "nested": False}, "independent masks are scored by"),
    ],
)
def test_wrong_options_are_refused(wrong: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        DynamicOptions(**wrong)
