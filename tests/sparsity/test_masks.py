"""Masks as values: what they drop, what they count."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.sparsity import BlockGrid, BlockMask, BlockShape, Evidence, Magnitude, n_kept, ranks
from sparsity.plain import cells_of_blocks

GRID = BlockGrid(3, 2, BlockShape(2, 1))  # two block rows: one of two weights, one of one weight
CORNER_DROPPED = BlockMask(torch.tensor([[True, True], [True, False]]), GRID)

# From the slides of Dynamic Sparsity Neural Networks, "Model Pruning".
SLIDE_WEIGHTS = torch.tensor([[-1.0, 5, 3, 4], [1, 2, 6, 7], [-3, 2, -1, -2], [7, 8, 3, 4]])
SLIDE_SPARSE = torch.tensor([[0.0, 5, 3, 4], [0, 2, 6, 7], [-3, 2, 0, -2], [7, 8, 3, 4]])


@st.composite
def masks(draw: st.DrawFn) -> BlockMask:
    gates = draw(st.integers(1, 3))
    block = BlockShape(draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    grid = BlockGrid(gates * draw(st.integers(1, 7)), draw(st.integers(1, 7)), block, gates)
    keep = draw(st.lists(st.booleans(), min_size=grid.n_blocks, max_size=grid.n_blocks))
    return BlockMask(torch.tensor(keep).view(grid.shape), grid)


@settings(deadline=None)
@given(masks())
def test_a_mask_zeroes_the_weights_of_its_dropped_blocks_and_no_other(mask: BlockMask):
    grid = mask.grid
    weight = torch.arange(1.0, grid.rows * grid.columns + 1).view(grid.rows, grid.columns)
    expected, n_dropped = weight.clone(), 0
    cut = cells_of_blocks(grid.rows, grid.columns, (grid.block.rows, grid.block.columns), grid.gates)
    for r, block_row in enumerate(cut):
        for c, cells in enumerate(block_row):
            for i, j in cells if not mask.keep[r, c] else ():
                expected[i, j] = 0.0
                n_dropped += 1
    assert torch.equal(mask.apply(weight), expected)
    assert torch.equal(mask.dropped_weights(), expected == 0)
    assert mask.n_dropped_weights == n_dropped
    assert mask.sparsity == n_dropped / weight.numel()
    assert mask.n_kept == int(mask.keep.sum())


def test_sparsity_counts_weights_though_an_edge_block_is_one_block():
    assert CORNER_DROPPED.n_kept == 3
    assert CORNER_DROPPED.sparsity == 1 / 6


def test_nan_under_a_dropped_block_becomes_zero():
    weight = torch.full((3, 2), torch.nan)
    applied = CORNER_DROPPED.apply(weight)
    assert applied[2, 1] == 0.0
    assert applied.isnan().sum() == 5


def test_apply_leaves_its_argument_alone():
    weight = torch.ones(3, 2)
    CORNER_DROPPED.apply(weight)
    assert torch.equal(weight, torch.ones(3, 2))


def test_a_full_mask_drops_nothing_and_holds_every_other():
    full = BlockMask.full(GRID)
    assert full.sparsity == 0.0
    assert CORNER_DROPPED.is_within(full)
    assert not full.is_within(CORNER_DROPPED)


def test_a_mask_of_another_shape_or_type_is_refused():
    with pytest.raises(ValueError, match=r"bool \(2, 2\); got torch.bool \(3, 2\)"):
        BlockMask(torch.ones(3, 2, dtype=torch.bool), GRID)
    with pytest.raises(ValueError, match=r"got torch\.float32"):
        BlockMask(torch.ones(2, 2), GRID)


def test_the_matrix_of_the_slides_loses_its_three_weights_of_magnitude_one():
    # One weight a block, and 3 of 16 dropped: |−1|, |1| and |−1|; the next smallest is 2.
    grid = BlockGrid(4, 4, BlockShape(1, 1))
    rank = ranks(Magnitude().score(Evidence(SLIDE_WEIGHTS), grid))
    mask = BlockMask(rank < n_kept(16, 3 / 16), grid)
    assert mask.n_kept == 13
    assert torch.equal(mask.apply(SLIDE_WEIGHTS), SLIDE_SPARSE)
