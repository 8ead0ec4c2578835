"""Any sparsity: the levels and what lies between them."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparrot.sparsity import (
    BlockGrid,
    BlockMask,
    BlockShape,
    CubicSchedule,
    DynamicOptions,
    DynamicSparsity,
    Levels,
    Magnitude,
    Path,
)
from sparsity.strategies import ramps, updates

THREE = Levels(large={}, medium={"fc": 0.5}, small={"fc": 0.75})
FIVE = Levels(full={}, a={"fc": 0.2}, b={"fc": 0.4}, c={"fc": 0.6}, d={"fc": 0.8})


def n_dropped(masks: dict[str, BlockMask]) -> int:
    return sum(mask.n_dropped_weights for mask in masks.values())


@settings(deadline=None, max_examples=40)
@given(ramps(), st.data())
def test_every_level_is_a_point_and_points_are_nested(ramp, data: st.DataObject):
    *_, sparsity = updates(ramp)
    names = tuple(sparsity.levels)
    last = len(names) - 1
    for point, level in enumerate(names):
        for masks in (sparsity.path().at(float(point)), sparsity.masks(point), sparsity.masks(float(point))):
            assert masks.keys() == sparsity.masks(level).keys()
            for name, mask in sparsity.masks(level).items():
                assert torch.equal(masks[name].keep, mask.keep)
    points = sorted(data.draw(st.lists(st.floats(0, last), min_size=2, max_size=8)))
    along = [sparsity.masks(point) for point in points]
    for denser, sparser in itertools.pairwise(along):
        assert all(sparser[name].is_within(denser[name]) for name in sparser)
    dropped = [n_dropped(masks) for masks in along]
    assert dropped == sorted(dropped)  # overall sparsity never falls
    for point, masks in zip(points, along, strict=True):
        before = min(math.floor(point), last - 1)
        for name, mask in masks.items():
            denser, sparser = (sparsity.masks(names[c])[name].n_kept for c in (before, before + 1))
            exact = denser + (sparser - denser) * (point - before)
            assert abs(mask.n_kept - exact) <= 0.5 + 1e-9


def test_blocks_are_ordered_by_their_sparsest_level_then_score_then_index():
    grid = BlockGrid(1, 6, BlockShape(1, 1))
    keeps = [[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0]]
    masks = [{"w": BlockMask(torch.tensor([keep]).bool(), grid)} for keep in keeps]
    path = Path.through(masks, {"w": torch.tensor([[1, 5, 5, 3, 2, 0]])})
    #                                                  small: 3, 4; medium: 1, 2 alike; large: 0, 5
    assert path.order["w"].tolist() == [[5, 2, 3, 1, 0, 4]]
    kept = {
        point: path.at(point)["w"].keep.flatten().nonzero().flatten().tolist()
        for point in (0.0, 0.24, 0.26, 0.75, 1.0, 1.25, 1.26, 1.8, 2.0)
    }
    assert kept == {
        0.0: [0, 1, 2, 3, 4, 5],
        0.24: [0, 1, 2, 3, 4, 5],  # 5.52 blocks
        0.26: [1, 2, 3, 4, 5],  # 5.48
        0.75: [1, 2, 3, 4, 5],  # 4.5, which is rounded up
        1.0: [1, 2, 3, 4],
        1.25: [1, 2, 3, 4],  # 3.5
        1.26: [1, 3, 4],
        1.8: [3, 4],
        2.0: [3, 4],
    }


def four_blocks(options: DynamicOptions, levels: Levels = THREE) -> DynamicSparsity:
    """A layer of four single-weight blocks, all of weight one, so that a gradient is a score."""
    layer = nn.Linear(4, 1, bias=False)
    nn.init.ones_(layer.weight)
    return DynamicSparsity(
        layer, levels, block=BlockShape(1, 1), schedule=CubicSchedule(0, 1), options=options
    )


def give(sparsity: DynamicSparsity, gradient: list[float]) -> None:
    weight = sparsity.targets[0].parameter
    with sparsity.at("large"):
        torch.autograd.backward([weight], [torch.tensor([gradient])])


def order(sparsity: DynamicSparsity) -> list[int]:
    (found,) = sparsity.path().order.values()
    return found.flatten().tolist()


def test_inside_a_point_the_weights_are_those_of_its_masks():
    sparsity = four_blocks(DynamicOptions(mask_every=1, smoothing=0.0))
    give(sparsity, [1.0, 4.0, 3.0, 2.0])
    sparsity.step()
    weight, told = sparsity.targets[0].parameter, []
    sparsity.model.use_level = told.append
    weight.grad = None
    with sparsity.at(0.7):
        assert weight.tolist() == [[0.0, 1.0, 1.0, 1.0]]
        sparsity.model(torch.ones(1, 4)).sum().backward()
    assert weight.tolist() == [[1.0, 1.0, 1.0, 1.0]]
    assert weight.grad.tolist() == [[0.0, 1.0, 1.0, 1.0]]
    with sparsity.at(1):
        assert weight.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    assert told == [0.7, "large", "medium", "large"]
    assert (sparsity.sparsity(0.7), sparsity.drops(0.1), sparsity.drops(0.7)) == ({"fc": 0.25}, False, True)


@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
def test_the_order_is_that_of_the_scores_when_masks_were_renewed_last(criterion: str):
    options = {"magnitude": {"criterion": Magnitude()}}.get(criterion, {})
    sparsity = four_blocks(DynamicOptions(mask_every=1, smoothing=0.0, freeze_at=2, **options))
    weight = sparsity.targets[0].parameter
    for values in ([4.0, 3.0, 2.0, 1.0], [2.0, 4.0, 1.0, 3.0], [1.0, 2.0, 4.0, 3.0]):
        if criterion == "magnitude":
            with torch.no_grad():
                weight.copy_(torch.tensor([values]))
        order(sparsity)  # what was asked before a renewal does not last
        give(sparsity, values)
        sparsity.step()
    assert order(sparsity) == [2, 0, 3, 1]  # of the second step


def test_a_state_has_the_order_and_an_older_one_takes_it_from_the_scores():
    options = DynamicOptions(mask_every=9, smoothing=0.0)
    sparsity, again, older = (four_blocks(options) for _ in range(3))
    for gradient in ([1.0, 4.0, 2.0, 3.0], [2.0, 1.0, 1.0, 1.0]):  # masks are renewed after the first
        give(sparsity, gradient)
        sparsity.step()
    state = sparsity.state_dict()
    again.load_state_dict(state)
    older.load_state_dict({key: value for key, value in state.items() if key != "ranks"})
    assert order(sparsity) == order(again) == [3, 0, 2, 1]
    assert order(older) == [2, 0, 3, 1]


def test_before_anything_is_dropped_every_point_is_the_full_model():
    sparsity = four_blocks(DynamicOptions())
    assert all(sparsity.masks(point)["weight"].n_kept == 4 for point in (0.0, 0.5, 1.7, 2.0))


@pytest.mark.parametrize("point", [-0.1, 2.1, math.nan, 3])
def test_what_is_no_point_is_refused(point: float):
    with pytest.raises(ValueError, match=f"through large, medium, small are 0 to 2; got {point}"):
        four_blocks(DynamicOptions()).masks(point)


def test_independent_masks_have_no_path():
    sparsity = four_blocks(DynamicOptions(nested=False))
    with pytest.raises(ValueError, match=r"independent masks have no path: .*not the point 0\.5"):
        sparsity.masks(0.5)
    with pytest.raises(ValueError, match="independent masks cross, so there is no path"):
        sparsity.path()


# which levels an update has


def passes(sparsity: DynamicSparsity, n: int) -> list[tuple]:
    found = []
    for _ in range(n):
        assert sparsity.passes() == sparsity.passes()  # asked twice, the update is the same
        found.append(sparsity.passes())
        sparsity.step()
    return found


def test_a_sandwich_is_the_full_model_the_sparsest_level_and_one_between():
    options = DynamicOptions(criterion=Magnitude(), sample="levels", seed=3)
    drawn = passes(sampled := four_blocks(options, FIVE), 60)
    assert {(first, last) for first, _, last in drawn} == {("full", "d")}
    counts = [sum(middle == level for _, middle, _ in drawn) for level in ("a", "b", "c")]
    assert sum(counts) == 60
    assert min(counts) >= 8  # 20 expected, with a deviation of √(60 · ⅓ · ⅔) = 3.7: more than three of them
    resumed = four_blocks(options, FIVE)
    resumed.load_state_dict(sampled.state_dict())
    assert passes(resumed, 5) == passes(sampled, 5)
    other = DynamicOptions(criterion=Magnitude(), sample="levels", seed=4)
    assert passes(four_blocks(other, FIVE), 60) != drawn


def test_a_pass_anywhere_on_the_path_is_even_over_it():
    drawn = passes(four_blocks(DynamicOptions(criterion=Magnitude(), sample="path"), FIVE), 200)
    assert {(first, last) for first, _, last in drawn} == {("full", "d")}
    points = torch.tensor([point for _, point, _ in drawn])
    assert 0 <= points.min() < 0.1 < 3.9 < points.max() <= 4
    assert abs(points.mean() - 2) < 3 * 4 / math.sqrt(12 * 200)  # three deviations of the mean


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (THREE, ("large", "medium", "small")),
        (Levels(large={}, small={"fc": 0.5}), ("large", "small")),
        (Levels(large={}), ("large",)),
    ],
)
def test_with_two_sparse_levels_a_sandwich_is_all_of_them(levels: Levels, expected: tuple[str, ...]):
    options = DynamicOptions(criterion=Magnitude(), sample="levels")
    assert passes(four_blocks(options, levels), 5) == [expected] * 5


def test_a_model_without_sparse_levels_has_no_path_to_sample():
    options = DynamicOptions(criterion=Magnitude(), sample="path")
    assert passes(four_blocks(options, Levels(large={})), 3) == [("large",)] * 3


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sample": "all"}, "sampled from levels or path, or None = all; got `all`"),
        ({"sample": "path", "nested": False}, "scored by their own passes, of which every update needs all"),
        ({"sample": "levels", "nested": False}, "leave `sample` out, or nest the levels"),
    ],
)
def test_wrong_samples_are_refused(wrong: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        DynamicOptions(**wrong)


def test_gradients_of_sampled_passes_are_those_of_the_points_masks():
    # The update as its parts: a copy of the weights, masked by hand, gives the gradient of each pass.
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    sparsity = DynamicSparsity(
        model,
        THREE,
        block=BlockShape(2, 1),
        schedule=CubicSchedule(0, 1),
        options=DynamicOptions(criterion=Magnitude(), mask_every=1, sample="path", seed=5),
    )
    sparsity.step()
    frames = torch.randn(3, 6, dtype=torch.float64)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for level in sparsity.passes():
        masks = sparsity.masks(level)
        weights: dict[str, Tensor] = {
            name: masks[name].apply(p.detach()) if name in masks else p.detach()
            for name, p in model.named_parameters()
        }
        leaves = {name: w.requires_grad_() for name, w in weights.items()}
        torch.func.functional_call(model, leaves, (frames,)).square().sum().backward()
        for name, leaf in leaves.items():
            own = leaf.grad if name not in masks else masks[name].apply(leaf.grad)
            expected[name] += own
    for level in sparsity.passes():
        with sparsity.at(level):
            model(frames).square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-12, atol=1e-12)
