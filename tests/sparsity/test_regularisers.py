"""Penalties, their slopes and their proximal steps, against float64 and against their definitions."""

import math

import pytest
import torch
from torch import nn

from sparrot.sparsity import BlockGrid, BlockShape, Pruning, PruningOptions, Regulariser, ZeroPruning
from sparsity import plain

PENALTIES = ("group_lasso", "l1", "l_half")
GRIDS = [
    BlockGrid(8, 6, BlockShape(1, 1)),
    BlockGrid(12, 7, BlockShape(4, 4), gates=2),
    BlockGrid(4, 4, BlockShape(2, 2)),
]


def weights_of(grid: BlockGrid) -> torch.Tensor:
    return torch.randn(
        grid.rows, grid.columns, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )


def blocks_of(grid: BlockGrid):
    shape = (grid.block.rows, grid.block.columns)
    return [
        cells for row in plain.cells_of_blocks(grid.rows, grid.columns, shape, grid.gates) for cells in row
    ]


def penalty_by_loop(penalty: str, weight: torch.Tensor, grid: BlockGrid) -> float:
    values = weight.tolist()
    if penalty == "group_lasso":
        return sum(math.sqrt(sum(values[i][j] ** 2 for i, j in cells)) for cells in blocks_of(grid))
    power = 1.0 if penalty == "l1" else 0.5
    return sum(abs(value) ** power for row in values for value in row)


def shrunk(regulariser, weight, grid, rate):
    after = weight.clone()
    regulariser.shrink(after, grid, rate)
    return after


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_penalty_is_its_definition(penalty, grid):
    weight = weights_of(grid)
    expected = 0.3 * penalty_by_loop(penalty, weight, grid)
    assert float(Regulariser(penalty, 0.3).value(weight, grid)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_slope_is_the_derivative(penalty, grid):
    regulariser, weight = Regulariser(penalty, 0.3, epsilon=1e-12), weights_of(grid).requires_grad_()
    regulariser.value(weight, grid).backward()
    torch.testing.assert_close(regulariser.slope(weight.detach(), grid), weight.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_there_is_no_slope_at_zero(penalty):
    grid = GRIDS[2]
    slope = Regulariser(penalty, 0.3).slope(torch.zeros(4, 4), grid)
    assert torch.equal(slope, torch.zeros(4, 4))
    assert torch.equal(shrunk(Regulariser(penalty, 0.3), torch.zeros(4, 4), grid, 0.1), torch.zeros(4, 4))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_no_rate_moves_no_weight(penalty):
    grid, weight = GRIDS[2], torch.tensor([[0.0, 1.0, -0.5, 0.0]] * 4)
    assert torch.equal(shrunk(Regulariser(penalty, 0.3), weight, grid, 0.0), weight)


@pytest.mark.parametrize("reach", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("penalty", ["l1", "l_half"])
def test_a_proximal_step_of_single_weights_minimises(penalty, reach):
    """No point of a fine grid is better: ½ (v − w)² + reach · |v|^p."""
    grid = BlockGrid(1, 9, BlockShape(1, 1))
    weight = torch.tensor([[-3.0, -1.0, -0.4, -0.02, 0.0, 0.1, 0.7, 1.3, 2.5]], dtype=torch.float64)
    found = shrunk(Regulariser(penalty, reach / 0.5), weight, grid, 0.5)
    power = 1.0 if penalty == "l1" else 0.5

    def cost(v, w):
        return 0.5 * (v - w) ** 2 + reach * v.abs() ** power

    points = torch.linspace(-4, 4, 80_001, dtype=torch.float64)[:, None]
    best = cost(points, weight).min(dim=0).values
    assert torch.all(cost(found, weight)[0] <= best + 1e-9)
    assert torch.all(found.sign() * weight.sign() >= 0)


@pytest.mark.parametrize("grid", GRIDS[1:], ids=str)
def test_a_proximal_step_of_blocks_shortens_them(grid):
    weight, reach = weights_of(grid), 2.0
    found = shrunk(Regulariser("group_lasso", 4.0), weight, grid, 0.5)
    for cells in blocks_of(grid):
        rows, columns = zip(*cells, strict=True)
        before, after = weight[rows, columns], found[rows, columns]
        factor = max(0.0, 1.0 - reach / float(before.norm()))
        torch.testing.assert_close(after, factor * before)
    assert 0 < int((found == 0).sum()) < found.numel()


def trained(regulariser: Regulariser) -> Pruning:
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    pruning = Pruning(
        model,
        ZeroPruning(("fc",), every=10),
        block=BlockShape(2, 2),
        optimiser=optimiser,
        options=PruningOptions(regulariser),
    )
    for step in range(60):
        inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        with pruning.at("pruned"):
            (model(inputs) - inputs * torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0])).square().mean().backward()
        optimiser.step()
        pruning.step()
    return pruning


def test_a_proximal_group_lasso_empties_the_blocks_that_are_not_needed():
    """The layer copies its first four inputs, of which two blocks on the diagonal hold all."""
    pruning = trained(Regulariser("group_lasso", 0.06))
    kept = pruning.masks()["weight"].keep
    assert kept[0, 0]
    assert kept[1, 1]
    assert int(kept.sum()) < 10
    assert torch.all((pruning.model.weight == 0) == pruning.masks()["weight"].dropped_weights())


def test_a_slope_never_brings_a_block_to_zero():
    assert trained(Regulariser("group_lasso", 0.06, "gradient")).overall_sparsity() == 0.0


def test_a_regulariser_ends_where_it_is_told():
    weak, strong = (trained(Regulariser("group_lasso", 0.06, until=until)) for until in (20, None))
    assert weak.overall_sparsity() < strong.overall_sparsity()


def test_a_slope_needs_a_backward_inside_the_block():
    model = nn.Linear(4, 4)
    options = PruningOptions(Regulariser("l1", 0.1, "gradient"))
    pruning = Pruning(model, ZeroPruning(("fc",)), block=BlockShape(1, 1), options=options)
    with (
        pytest.raises(RuntimeError, match="no gradient has reached `weight` inside `at`"),
        pruning.at("pruned"),
    ):
        pass


def test_a_strength_that_empties_a_matrix_is_told():
    with pytest.raises(
        ValueError, match=r"at step 10 the regulariser has brought all of `weight` to zero: lower"
    ):
        trained(Regulariser("group_lasso", 50.0))
