"""How a matrix is cut: every weight in the block that a hand with a ruler would give it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.sparsity import BlockGrid, BlockShape
from sparsity.plain import cells_of_blocks

NUMBERED = torch.arange(12.0).view(4, 3)


@st.composite
def grids(draw: st.DrawFn) -> BlockGrid:
    gates = draw(st.integers(1, 4))
    rows = gates * draw(st.integers(1, 9))
    block = BlockShape(draw(st.integers(1, 10)), draw(st.integers(1, 10)))
    return BlockGrid(rows, draw(st.integers(1, 9)), block, gates)


def plain_cells(grid: BlockGrid) -> list[list[list[tuple[int, int]]]]:
    return cells_of_blocks(grid.rows, grid.columns, (grid.block.rows, grid.block.columns), grid.gates)


def test_plain_cutting_of_a_small_matrix():
    assert cells_of_blocks(3, 2, (2, 1)) == [[[(0, 0), (1, 0)], [(0, 1), (1, 1)]], [[(2, 0)], [(2, 1)]]]
    assert cells_of_blocks(4, 1, (3, 1), gates=2) == [[[(0, 0), (1, 0)]], [[(2, 0), (3, 0)]]]


def test_tall_blocks_are_outputs_of_one_input():
    grid = BlockGrid(4, 3, BlockShape(2, 1))
    assert grid.shape == (2, 3)
    assert grid.tiles(NUMBERED)[0, :, 2, :].flatten().tolist() == [2.0, 5.0]


def test_a_square_block_is_a_square_not_consecutive_weights():
    grid = BlockGrid(4, 4, BlockShape(2, 2))
    tiles = grid.tiles(torch.arange(16.0).view(4, 4))
    assert tiles[0, :, 0, :].flatten().tolist() == [0.0, 1.0, 4.0, 5.0]
    assert tiles[1, :, 1, :].flatten().tolist() == [10.0, 11.0, 14.0, 15.0]


def test_blocks_do_not_straddle_two_gates():
    grid = BlockGrid(6, 1, BlockShape(2, 1), gates=2)  # 3 rows a gate: a block of 2 and an edge block of 1
    assert grid.block_of_row.tolist() == [0, 0, 1, 2, 2, 3]
    assert grid.sizes().flatten().tolist() == [2, 1, 2, 1]


@settings(deadline=None)
@given(grids())
def test_every_weight_is_in_the_block_that_loops_give_it(grid: BlockGrid):
    plain = plain_cells(grid)
    assert grid.shape == (len(plain), len(plain[0]))
    assert grid.n_blocks == sum(map(len, plain))
    assert grid.sizes().tolist() == [[len(cells) for cells in block_row] for block_row in plain]
    index = torch.arange(grid.n_blocks).view(grid.shape)
    by_weight = grid.expand(index)
    for r, block_row in enumerate(plain):
        for c, cells in enumerate(block_row):
            assert {int(by_weight[i, j]) for i, j in cells} == {int(index[r, c])}


@settings(deadline=None)
@given(grids())
def test_tiles_hold_the_weights_of_their_block_and_zeros(grid: BlockGrid):
    weights = torch.arange(1.0, grid.rows * grid.columns + 1).view(grid.rows, grid.columns)
    tiles = grid.tiles(weights)
    for r, block_row in enumerate(plain_cells(grid)):
        for c, cells in enumerate(block_row):
            inside = [float(weights[i, j]) for i, j in cells]
            padded = tiles[r, :, c, :].flatten()
            assert padded[padded != 0].tolist() == inside
            assert padded.numel() == grid.block.rows * grid.block.columns


@given(grids())
def test_scaled_weights_are_those_times_the_value_of_their_block(grid: BlockGrid):
    torch.manual_seed(0)
    weights, blocks = torch.randn(grid.rows, grid.columns), torch.randn(grid.shape)
    assert torch.equal(grid.scaled(weights, blocks), weights * grid.expand(blocks))
    assert torch.equal(grid.scaled(weights.t().contiguous().t(), blocks), weights * grid.expand(blocks))
    for in_place in (weights.clone(), weights.t().clone(memory_format=torch.contiguous_format).t()):
        grid.scale(in_place, blocks)
        assert torch.equal(in_place, weights * grid.expand(blocks))


def test_tiles_take_a_matrix_in_any_memory_order():
    grid = BlockGrid(4, 3, BlockShape(2, 2), gates=2)
    transposed = NUMBERED.t().contiguous().t()
    assert torch.equal(grid.tiles(transposed), grid.tiles(NUMBERED))


def test_a_shape_is_written_rows_x_columns():
    assert BlockShape.parse("16x1") == BlockShape(rows=16, columns=1)
    assert str(BlockShape(16, 1)) == "16x1"


@pytest.mark.parametrize("text", ["16", "16x", "x1", "16*1", "-4x1", "4x4x4", "1.5x1", "four"])
def test_another_way_of_writing_a_shape_is_refused(text: str):
    with pytest.raises(ValueError, match=r"as in `16x1`; got"):
        BlockShape.parse(text)


@pytest.mark.parametrize(("rows", "columns"), [(0, 1), (1, 0), (-1, 4)])
def test_a_block_without_weights_is_refused(rows: int, columns: int):
    with pytest.raises(ValueError, match="at least one row and one column"):
        BlockShape(rows, columns)


@pytest.mark.parametrize(("rows", "columns", "gates"), [(6, 3, 4), (0, 3, 1), (4, 0, 1), (4, 4, 0)])
def test_a_matrix_that_gates_cannot_share_is_refused(rows: int, columns: int, gates: int):
    with pytest.raises(ValueError, match="as many rows in every gate"):
        BlockGrid(rows, columns, BlockShape(2, 1), gates)


def test_values_and_weights_of_another_shape_are_refused():
    grid = BlockGrid(4, 3, BlockShape(2, 1))
    with pytest.raises(ValueError, match=r"block values of shape \(2, 3\); got \(4, 3\)"):
        grid.expand(NUMBERED)
    with pytest.raises(ValueError, match=r"a matrix of shape \(4, 3\); got \(3, 4\)"):
        grid.tiles(NUMBERED.t())
