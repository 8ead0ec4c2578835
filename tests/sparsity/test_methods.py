"""Methods that prune for good: by hand on 4×4 matrices, and against plain float64 loops."""

import copy
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sparrot.sparsity import (
    AtOnce,
    BlockShape,
    ExactPruning,
    Gradual,
    Method,
    Pruning,
    PruningOptions,
    Regulariser,
    Rounds,
    ThresholdPruning,
    ThresholdTimes,
    WeightGradient,
    ZeroPruning,
    forecast,
    slopes_of_dense,
    start_slope,
)
from sparsity import plain

SINGLE, TWO_BY_TWO = BlockShape(1, 1), BlockShape(2, 2)
WEIGHTS = torch.arange(1.0, 17.0).view(4, 4)  # in units of which the thresholds below are plain
TIMES = ThresholdTimes(start=2, ramp=6, end=11, every=2)


def layer_of(weights: Tensor) -> nn.Linear:
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weights)
    return layer


def prune(method: Method, block: BlockShape, n_steps: int, weights: Tensor = WEIGHTS) -> list[Tensor]:
    """The weights after every step in which nothing else moves them."""
    layer = layer_of(weights)
    pruning = Pruning(layer, method, block=block)
    after = []
    for _ in range(n_steps):
        pruning.step()
        after.append(layer.weight.detach().clone())
    return after


# By hand


def test_wp_drops_weights_under_the_growing_threshold():
    """θ = 4, φ = 6: ε(4) = 4 (4 − 2 + 1) / 2 = 6; ε(6) = (4 · 5 + 6 · 1) / 2 = 13; ε(8) = 19."""
    after = prune(ThresholdPruning(TIMES, {"fc": 4.0}), SINGLE, 7)
    assert torch.equal(after[2], WEIGHTS)
    expected = torch.where(WEIGHTS >= 6, WEIGHTS, 0.0)
    assert torch.equal(after[3], expected)
    assert torch.equal(after[4], expected)
    assert torch.equal(after[5], torch.where(WEIGHTS >= 13, WEIGHTS, 0.0))


def test_bp_drops_blocks_whose_largest_weight_is_under_the_threshold():
    """Blocks of four have θ · 4^¼ = θ √2; their largest weights are 6, 8, 14, 16, and ε(4) = 7.07."""
    after = prune(ThresholdPruning(TIMES, {"fc": 5 / 1.5}), TWO_BY_TWO, 4)
    expected = WEIGHTS.clone()
    expected[:2, :2] = 0.0
    assert torch.equal(after[3], expected)


def test_hard_threshold_prunes_once():
    after = prune(ExactPruning({"fc": 0.75}, AtOnce(3)), SINGLE, 5)
    assert torch.equal(after[1], WEIGHTS)
    assert torch.equal(after[2], torch.where(WEIGHTS > 12, WEIGHTS, 0.0))
    assert torch.equal(after[4], after[2])


def test_rounds_drop_a_share_of_what_is_left_up_to_the_target():
    """Half a round: 16 weights, then 8, then 4 (0.75 is the target, reached in two rounds)."""
    method = ExactPruning({"fc": 0.75}, Rounds(begin=2, every=3, share=0.5))
    left = [int((weights != 0).sum()) for weights in prune(method, SINGLE, 9)]
    assert left == [16, 8, 8, 8, 4, 4, 4, 4, 4]
    assert method.end == 5


def test_gradual_pruning_follows_the_cubic_and_ends_exactly():
    """s = ½ (1 − (1 − t / 4)³): at t = 2 it is 0.4375, so 9 of 16 are left; at 4 it is ½."""
    method = ExactPruning({"fc": 0.5}, Gradual(begin=0, end_step=4, every=2))
    left = [int((weights != 0).sum()) for weights in prune(method, SINGLE, 6)]
    assert left == [16, 9, 9, 8, 8, 8]


def test_blocks_that_are_zero_are_dropped():
    weights = WEIGHTS.clone()
    weights[2:, :2] = 0.0
    layer = layer_of(weights)
    pruning = Pruning(layer, ZeroPruning(("fc",), every=2), block=TWO_BY_TWO)
    pruning.step()
    assert pruning.overall_sparsity() == 0.0
    pruning.step()
    assert pruning.masks()["weight"].keep.tolist() == [[True, True], [False, True]]
    assert pruning.sparsity() == {"fc": 0.25}


def test_a_round_takes_the_smallest_of_the_whole_model():
    model = nn.Sequential(layer_of(WEIGHTS), layer_of(10 * WEIGHTS))
    Pruning(model, ExactPruning({"fc": 0.5}, AtOnce(1), scope="global"), block=SINGLE).step()
    kept = [int((layer.weight != 0).sum()) for layer in model]
    assert kept == [1, 15]  # 16 of the first; 20 … 160 of the second


# Against float64 loops


@pytest.mark.parametrize("block", [(1, 1), (4, 4), (3, 2), (16, 1)])
@pytest.mark.parametrize("gates", [1, 4])
def test_thresholds_against_a_loop(block, gates):
    cell = nn.LSTMCell(9, 20) if gates == 4 else None
    model = cell or nn.Linear(9, 20)
    name, kind = ("weight_ih", "lstm") if gates == 4 else ("weight", "fc")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    times = ThresholdTimes(start=3, ramp=10, end=31, every=5)
    pruning = Pruning(model, ThresholdPruning(times, {kind: 0.1}, 1.7), block=BlockShape(*block))
    weights = dict(model.named_parameters())[name].detach().double().tolist()
    for step in range(1, 41):
        pruning.step()
        if step in (5, 10, 15, 20, 25, 30):
            slope = 0.1 * (block[0] * block[1]) ** 0.25
            if step < 10:
                threshold = slope * (step - 3 + 1) / 5
            else:
                threshold = (slope * (10 - 3 + 1) + 1.7 * slope * (step - 10 + 1)) / 5
            for row_of_blocks in plain.cells_of_blocks(len(weights), len(weights[0]), block, gates):
                for cells in row_of_blocks:
                    if max(abs(weights[i][j]) for i, j in cells) < threshold:
                        for i, j in cells:
                            weights[i][j] = 0.0
        found = dict(model.named_parameters())[name].detach().double()
        assert torch.equal(found, torch.tensor(weights, dtype=torch.float64))


@pytest.mark.parametrize("block", [(1, 1), (4, 4), (16, 1)])
@pytest.mark.parametrize("growth", [AtOnce(4), Rounds(2, 3, 0.4), Gradual(1, 13, 2)])
def test_exact_pruning_against_a_loop(block, growth):
    model = nn.LSTMCell(7, 20)
    method = ExactPruning({"lstm": 0.8}, growth)
    pruning = Pruning(model, method, block=BlockShape(*block))
    name = "weight_hh"
    weights = dict(model.named_parameters())[name].detach().double().tolist()
    blocks = [cells for row in plain.cells_of_blocks(80, 20, block, 4) for cells in row]
    dropped: set[int] = set()
    for step in range(1, 17):
        pruning.step()
        if isinstance(growth, AtOnce):
            due, share = step == 4, 0.8
        elif isinstance(growth, Rounds):
            n = (step - 2) // 3 + 1
            due, share = step >= 2 and (step - 2) % 3 == 0, min(0.8, 1 - 0.6**n)
        else:
            due, share = (
                step > 1 and step <= 13 and (step % 2 == 0 or step == 13),
                0.8 * plain.cubic(step, 1, 13),
            )
        if due:
            sizes = [sum(abs(weights[i][j]) for i, j in cells) for cells in blocks]
            kept = plain.best(sizes, plain.n_kept(len(blocks), share))
            dropped |= set(range(len(blocks))) - kept
            for index in dropped:
                for i, j in blocks[index]:
                    weights[i][j] = 0.0
        found = dict(model.named_parameters())[name].detach().double()
        assert torch.equal(found, torch.tensor(weights, dtype=torch.float64))
    assert len(blocks) - len(dropped) == plain.n_kept(len(blocks), 0.8)


# Slopes and forecasts


def test_the_threshold_reaches_q_at_the_end():
    """Up to the +1 of each slope; φ = 1.5 θ."""
    times = ThresholdTimes(start=1000, ramp=25_000, end=50_000, every=100)
    method = ThresholdPruning(times, {"fc": start_slope(0.3, times)})
    assert method.threshold("fc", SINGLE, times.end) == pytest.approx(0.3, rel=1e-4)


def test_slopes_come_from_a_percentile_of_the_dense_weights():
    model = nn.Sequential(nn.Linear(30, 40), nn.LSTMCell(10, 10))
    targets = Pruning(model, ZeroPruning(("fc", "lstm")), block=SINGLE).targets
    found = slopes_of_dense(targets, {"fc": 0.9, "lstm": 0.6}, TIMES)
    cell = (
        torch.cat([model[1].weight_ih.flatten(), model[1].weight_hh.flatten()]).detach().abs().sort().values
    )
    dense = model[0].weight.detach().abs().flatten().sort().values
    assert found["fc"] == pytest.approx(start_slope(float(dense[1080]), TIMES))
    assert found["lstm"] == pytest.approx(start_slope(float(cell[480]), TIMES))


@pytest.mark.parametrize("block", [SINGLE, TWO_BY_TWO])
def test_a_forecast_is_what_pruning_of_still_weights_reaches(block):
    layer = layer_of(torch.randn(20, 30, generator=torch.Generator().manual_seed(0)))
    method = ThresholdPruning(TIMES, {"fc": 0.2})
    pruning = Pruning(layer, method, block=block)
    told = forecast(method, pruning.targets, pruning.grids)
    for _ in range(12):
        pruning.step()
    assert told == {"weight": pruning.overall_sparsity()}
    assert 0.1 < told["weight"] < 0.9


def test_a_threshold_that_would_empty_a_layer_names_it_and_the_step():
    method, layer = ThresholdPruning(TIMES, {"fc": 6.0}), layer_of(WEIGHTS)
    pruning = Pruning(layer, method, block=SINGLE)
    sentence = (
        "the threshold of 19.5 at step 6 would leave nothing of `weight`, whose largest weight is 16: give fc"
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        forecast(method, pruning.targets, pruning.grids)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        for _ in range(12):
            pruning.step()


# Every method, every optimiser


def methods() -> dict[str, Method]:
    times = ThresholdTimes(0, 10, 20, 5)
    return {
        "threshold": ThresholdPruning(times, {"fc": 0.02}),
        "hard": ExactPruning({"fc": 0.5}, AtOnce(5)),
        "iterative": ExactPruning({"fc": 0.5}, Rounds(5, 5)),
        "gradual": ExactPruning({"fc": 0.5}, Gradual(0, 20, 5)),
    }


OPTIMISERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), 0.05),
    "nesterov": lambda model: torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1),
}


def train(model: nn.Module, pruning: Pruning, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        inputs = torch.randn(8, 12, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        with pruning.at("pruned"):
            (model(inputs) - inputs[:, :6]).square().mean().backward()
        optimiser.step()
        pruning.step()


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("block", [SINGLE, BlockShape(4, 2)])
def test_what_is_dropped_stays_zero_whatever_the_optimiser_does(method, optimiser, block):
    model = network()
    moves = OPTIMISERS[optimiser](model)
    pruning = Pruning(model, methods()[method], block=block)
    train(model, pruning, moves, range(22))
    dropped = {name: mask.dropped_weights() for name, mask in pruning.masks().items()}
    before = model[0].weight.detach().clone()
    assert 0.0 < pruning.overall_sparsity() < 0.95
    train(model, pruning, moves, range(22, 40))
    for name, parameter in model.named_parameters():
        if name in dropped:
            assert torch.all(parameter[dropped[name]] == 0.0)
            assert torch.all(parameter.grad[dropped[name]] == 0.0)
    assert not torch.equal(model[0].weight, before)
    assert {n: torch.equal(m.dropped_weights(), dropped[n]) for n, m in pruning.masks().items()} == {
        "0.weight": True,
        "2.weight": True,
    }


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("penalty", [None, "group_lasso"])
def test_training_resumes_bit_for_bit(method, penalty):
    def made():
        model = network()
        moves = OPTIMISERS["adamw"](model)
        regulariser = None if penalty is None else Regulariser(penalty, 0.05, until=15)
        options = PruningOptions(regulariser)
        pruning = Pruning(model, methods()[method], block=SINGLE, optimiser=moves, options=options)
        return model, moves, pruning

    model, moves, pruning = made()
    train(model, pruning, moves, range(11))
    saved = copy.deepcopy([part.state_dict() for part in (model, moves, pruning)])
    again = made()
    for part, state in zip(again, saved, strict=True):
        part.load_state_dict(state)
    for one in ((model, pruning, moves), (again[0], again[2], again[1])):
        train(*one, range(11, 25))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again[0].parameters(), strict=True))
    assert pruning.overall_sparsity() == again[2].overall_sparsity() > 0.0


def test_a_state_of_another_method_is_refused():
    model = network()
    state = Pruning(model, methods()["hard"], block=SINGLE).state_dict()
    with pytest.raises(ValueError, match="cannot resume: the saved pruning has other method"):
        Pruning(model, methods()["gradual"], block=SINGLE).load_state_dict(state)
    with pytest.raises(ValueError, match="other matrices"):
        Pruning(model, methods()["hard"], block=TWO_BY_TWO).load_state_dict(state)


def test_an_update_that_the_optimiser_skips_does_not_count():
    pruning = Pruning(network(), methods()["hard"], block=SINGLE)
    for _ in range(10):
        assert pruning.step(skipped=True) == []
    assert pruning.step_count == 0
    assert pruning.overall_sparsity() == 0.0


# Bad input


def test_a_block_larger_than_a_matrix_is_refused():
    with pytest.raises(ValueError, match=r"a block of 8x8 is larger than `2\.weight`, 6 x 16: take smaller"):
        Pruning(network(), methods()["hard"], block=BlockShape(8, 8))
    with pytest.raises(ValueError, match=r"larger than `weight_ih`, 16 x 5 of 4 gates"):
        Pruning(nn.LSTMCell(5, 4), ZeroPruning(("lstm",)), block=BlockShape(8, 1))


def test_a_layer_type_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="the method prunes `lstm` layers and the model has none; it has fc"):
        Pruning(network(), ZeroPruning(("lstm",)), block=SINGLE)


def test_a_pattern_that_matches_nothing_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"nothing to exclude matches `0\.wieght`.* Did you mean `0\.weight`\?"
    ):
        Pruning(network(), methods()["hard"], block=SINGLE, options=PruningOptions(exclude=("0.wieght",)))


def test_weights_that_are_not_finite_are_refused_when_masks_are_due():
    model = network()
    pruning = Pruning(model, ExactPruning({"fc": 0.5}, AtOnce(1)), block=SINGLE)
    with torch.no_grad():
        model[2].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"the weights of `2.weight` are not finite at step 1"):
        pruning.step()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ThresholdTimes(5, 4, 10), "steps in this order"),
        (lambda: ThresholdTimes(5, 5, 5), "steps in this order"),
        (lambda: ThresholdTimes(0, 1, 2, 0), "every 1 step or more"),
        (
            lambda: ThresholdPruning(ThresholdTimes(1, 2, 3, 100), {"fc": 1.0}),
            "no multiple of 100 lies between",
        ),
        (lambda: ThresholdPruning(TIMES, {"fc": 0.0}), "a slope above 0; got 0.0 for fc"),
        (lambda: ThresholdPruning(TIMES, {"fc": 1.0}, 0.5), "1 or more times that before"),
        (lambda: ExactPruning({"fc": 1.0}, AtOnce(1)), "would leave nothing; got 1.0 for fc"),
        (
            lambda: ExactPruning({"fc": 0.5}, AtOnce(1), criterion=WeightGradient()),
            "needs a gradient: take it in dynamic sparsity",
        ),
        (lambda: AtOnce(0), "after step 1 or later"),
        (lambda: Rounds(1, 1, 1.0), "a share above 0 and below 1"),
        (lambda: Gradual(5, 5), "from `begin` to a later end"),
        (lambda: ZeroPruning(("fc",), 0), "every 1 step or more"),
        (lambda: Regulariser("l3", 1.0), "group_lasso, l1 or l_half; got `l3`"),
        (lambda: Regulariser("l1", 0.0), "a strength and an epsilon above 0"),
        (lambda: Regulariser("l1", 1.0, "sideways"), "proximal or gradient; got `sideways`"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_proximal_regulariser_needs_the_optimiser_of_the_model():
    regulariser = PruningOptions(Regulariser("group_lasso", 0.1))
    with pytest.raises(ValueError, match="takes the rates of an optimiser"):
        Pruning(network(), methods()["hard"], block=SINGLE, options=regulariser)
    other = OPTIMISERS["sgd"](network())
    with pytest.raises(ValueError, match="2 of the 2 matrices that are pruned are not the optimiser's"):
        Pruning(network(), methods()["hard"], block=SINGLE, options=regulariser, optimiser=other)
