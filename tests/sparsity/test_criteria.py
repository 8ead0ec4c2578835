"""Block scores against loops in float64, within the rounding of a sum."""

import math

import pytest
import torch
from torch import Tensor

from sparrot.sparsity import (
    BlockGrid,
    BlockShape,
    Evidence,
    Magnitude,
    WeightChange,
    WeightGradient,
    WeightGradientSum,
)
from sparsity.plain import Cell, cells_of_blocks

GRIDS = [
    BlockGrid(8, 6, BlockShape(1, 1)),
    BlockGrid(32, 5, BlockShape(16, 1)),
    BlockGrid(12, 7, BlockShape(4, 4), gates=2),  # edge blocks below each gate and on the right
    BlockGrid(10, 9, BlockShape(1, 4)),
    BlockGrid(6, 3, BlockShape(8, 8), gates=3),  # each gate is smaller than a block
]
GRID_IDS = [f"{grid.rows}x{grid.columns}/{grid.block}/{grid.gates}" for grid in GRIDS]
UNIT_ROUNDOFF = 2.0**-24


@pytest.fixture(params=GRIDS, ids=GRID_IDS)
def grid(request: pytest.FixtureRequest) -> BlockGrid:
    return request.param


@pytest.fixture
def evidence(grid: BlockGrid) -> Evidence:
    generator = torch.Generator().manual_seed(7)
    weight, gradient, change = torch.randn(3, grid.rows, grid.columns, generator=generator)
    return Evidence(weight, gradient, change.abs())


def assert_scores(scores: Tensor, grid: BlockGrid, one_block, size=None) -> None:
    """`scores` are `one_block(cells)` to within (n + 2)·u of `size(cells)`, the sum of absolute terms."""
    cut = cells_of_blocks(grid.rows, grid.columns, (grid.block.rows, grid.block.columns), grid.gates)
    assert tuple(scores.shape) == (len(cut), len(cut[0]))
    for r, block_row in enumerate(cut):
        for c, cells in enumerate(block_row):
            exact = one_block(cells)
            bound = (len(cells) + 2) * UNIT_ROUNDOFF * (size or one_block)(cells)
            assert abs(scores[r, c].item() - exact) <= bound


def test_weight_times_gradient_is_a_sum_of_absolutes(evidence: Evidence, grid: BlockGrid):
    w, g = evidence.weight.tolist(), evidence.gradient.tolist()

    def one_block(cells: list[Cell]) -> float:
        return math.fsum(abs(w[i][j] * g[i][j]) for i, j in cells)

    assert_scores(WeightGradient().score(evidence, grid), grid, one_block)


def test_weight_times_gradient_may_be_summed_first(evidence: Evidence, grid: BlockGrid):
    w, g = evidence.weight.tolist(), evidence.gradient.tolist()

    def one_block(cells: list[Cell]) -> float:
        return abs(math.fsum(w[i][j] * g[i][j] for i, j in cells))

    def size(cells: list[Cell]) -> float:
        return math.fsum(abs(w[i][j] * g[i][j]) for i, j in cells)

    assert_scores(WeightGradientSum().score(evidence, grid), grid, one_block, size)


@pytest.mark.parametrize(
    ("norm", "of"),
    [
        ("max", max),
        ("l1", math.fsum),
        ("l2", lambda sizes: math.sqrt(math.fsum(size**2 for size in sizes))),
    ],
)
def test_magnitude(norm: str, of, evidence: Evidence, grid: BlockGrid):
    w = evidence.weight.tolist()

    def one_block(cells: list[Cell]) -> float:
        return of([abs(w[i][j]) for i, j in cells])

    assert_scores(Magnitude(norm).score(evidence, grid), grid, one_block)


def test_weight_change_is_weight_times_how_far_it_moves(evidence: Evidence, grid: BlockGrid):
    w, change = evidence.weight.tolist(), evidence.change.tolist()

    def one_block(cells: list[Cell]) -> float:
        return math.fsum(abs(w[i][j]) * change[i][j] for i, j in cells)

    assert_scores(WeightChange().score(evidence, grid), grid, one_block)


def test_terms_of_opposite_sign_cancel_if_they_are_summed_first():
    grid = BlockGrid(2, 1, BlockShape(2, 1))
    evidence = Evidence(torch.tensor([[1.0], [1.0]]), gradient=torch.tensor([[3.0], [-3.0]]))
    assert WeightGradient().score(evidence, grid).item() == 6.0
    assert WeightGradientSum().score(evidence, grid).item() == 0.0


def test_the_default_magnitude_is_the_published_maximum():
    assert Magnitude() == Magnitude("max")


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="max, l1 or l2; got `l3`"):
        Magnitude("l3")


@pytest.mark.parametrize("criterion", [WeightGradient(), WeightGradientSum(), WeightChange()])
def test_a_criterion_says_which_evidence_it_misses(criterion):
    with pytest.raises(ValueError, match="was given"):
        criterion.score(Evidence(torch.ones(2, 2)), BlockGrid(2, 2, BlockShape(1, 1)))
