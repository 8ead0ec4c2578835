from hypothesis import given
from hypothesis import strategies as st

from sparrot.architecture import Matrix
from sparrot.model_file.counts import weights_in_blocks
from sparrot.model_file.layout import MatrixLayout


def block_sizes(matrix: Matrix, block: tuple[int, int]) -> list[int]:
    """Weights of every block, found weight by weight, smallest first."""
    cells = matrix.rows // matrix.gates
    of_block: dict[tuple[int, int, int], int] = {}
    for row in range(matrix.rows):
        for column in range(matrix.columns):
            place = row // cells, row % cells // block[0], column // block[1]
            of_block[place] = of_block.get(place, 0) + 1
    return sorted(of_block.values())


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 11), st.integers(1, 11))
def test_the_fewest_and_the_most_weights_of_any_number_of_blocks(gates, cells, columns, height, width):
    matrix = Matrix("m", gates * cells, columns, gates, "lstm")
    stored = MatrixLayout(matrix, "strip16", (height, width))
    sizes = block_sizes(matrix, (height, width))
    assert stored.n_blocks == len(sizes)
    for n in range(len(sizes) + 1):
        expected = sum(sizes[:n]), sum(sizes[len(sizes) - n :])
        assert weights_in_blocks(stored, n) == expected


def test_a_matrix_that_no_level_prunes_is_whole():
    stored = MatrixLayout(Matrix("m", 5, 7, 1, "conv"), "dense16", None)
    assert weights_in_blocks(stored, 0) == (35, 35)
