"""Random matrices whose blocks are dropped at random, each sparser one being part of the denser ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparrot.bench.rivals.contestant import Float32, Problem, Type

Shape = tuple[int, int]
STRIP = (16, 1)
SQUARE: Shape = (1760, 1760)
GRU: Shape = (7680, 2560)
LARGE: Shape = (8192, 2688)
ENCODER: Shape = (8192, 1280)

TYPES: tuple[Type, ...] = ("fp32", "bf16", "int8")
LEVELS = (0.9, 0.7, 0.0)  # sparsest first
BREAK_EVEN = (0.1, 0.3, 0.5, 0.7)  # sparsities that are compared with a dense matrix

# Sparsities of each shape that is multiplied alone.
SHAPES: dict[Shape, tuple[float, ...]] = {
    SQUARE: (0.7, 0.9),
    GRU: (0.9, 0.95),
    LARGE: (0.7, 0.9),
    (8192, 960): (0.7, 0.9),
    ENCODER: (0.7, 0.9),
    (8192, 1920): (0.7, 0.9),
    (640, 2048): (0.7, 0.9),
    (4096, 640): (0.5,),
}

# The LSTM layers of the preset `rnnt-122m`, 2048 cells each and a projection to 640: input and recurrent
# matrix as one, then the projection. 117,964,800 weights.
MODEL_NAME = "rnnt-122m"
MODEL_SPARSITIES = (0.7, 0.9, 0.95)
MODEL: tuple[Shape, ...] = tuple(
    shape for columns in (960, 1280, 1920, *[1280] * 5, 960, 1280) for shape in ((8192, columns), (640, 2048))
)


def named(shape: Shape) -> str:
    """`rows×columns`."""
    return "×".join(map(str, shape))


@dataclass(frozen=True, eq=False)
class Weights:
    """A random matrix, none of its weights 0, and the order in which its blocks are dropped.

    order: the rank of each block, (block rows, block columns); the highest go first.
    """

    matrix: Float32
    block: Shape
    order: NDArray[np.int64]

    def kept(self, sparsity: float) -> NDArray[np.bool_]:
        """Which weights (rows, columns) are left; the number of blocks is exact."""
        blocks = self.order < round((1 - sparsity) * self.order.size)
        return blocks.repeat(self.block[0], axis=0).repeat(self.block[1], axis=1)

    def at(self, sparsity: float) -> Float32:
        """The matrix, zeros where blocks are dropped."""
        return np.where(self.kept(sparsity), self.matrix, np.float32(0)) if sparsity else self.matrix

    @cached_property
    def n_weights(self) -> int:
        """Of the dense matrix."""
        return self.matrix.size


def draw(shape: Shape, block: Shape = STRIP, seed: int = 0) -> Weights:
    """A matrix of normal weights, as large as those of a layer that keeps the variance of its inputs."""
    random = np.random.default_rng([seed, *shape, *block])
    matrix = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[1]))
    matrix[matrix == 0] = np.float32(1e-3)
    blocks = (shape[0] // block[0], shape[1] // block[1])
    return Weights(matrix, block, random.permutation(blocks[0] * blocks[1]).reshape(blocks))


def draw_inputs(weights: Sequence[Weights], batch: int) -> list[Float32]:
    """Inputs (batch, columns) for each matrix; for a matrix that occurs twice, the same ones."""
    drawn: dict[int, Float32] = {}
    for given in weights:
        random = np.random.default_rng([1, batch, *given.matrix.shape])
        columns = given.matrix.shape[1]
        drawn.setdefault(id(given), random.standard_normal((batch, columns), np.float32))
    return [drawn[id(given)] for given in weights]


def problem(weights: Sequence[Weights], sparsity: float, batch: int) -> Problem:
    """The products of matrices at a sparsity; a matrix that occurs twice is copied."""
    zeroed: dict[int, Float32] = {}
    matrices = []
    for given in weights:
        is_first = id(given) not in zeroed
        matrix = zeroed.setdefault(id(given), given.at(sparsity))
        matrices.append(matrix if is_first else matrix.copy())
    return Problem(matrices, draw_inputs(weights, batch), weights[0].block if sparsity else (1, 1))
