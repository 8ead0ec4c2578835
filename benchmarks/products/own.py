"""Products by the kernels of this project, packed as in a model file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from products.weights import Weights
from sparrot import _core
from sparrot.architecture import Matrix
from sparrot.bench.rivals.contestant import BF16, FP32, Contestant, Float32, Problem, Rounding, Type
from sparrot.model_file.layout import Layout, MatrixLayout
from sparrot.model_file.pieces import Piece, encode, gather, pack_dense
from sparrot.model_file.strips import pack_vector
from sparrot.model_file.weight_types import WeightType, row_scales

WIDE_FROM = 16  # streams
NAMES: dict[Type, tuple[WeightType, str]] = {
    "fp32": ("F32", "float32"),
    "bf16": ("BF16", "bfloat16"),
    "int8": ("I8", "int8"),
}
ROUNDING = {"fp32": FP32, "bf16": BF16, "int8": Rounding(weights=1 / 254, inputs=1 / 254)}
OWN = "sparrot"
DENSE = "dense16"


@dataclass(frozen=True, eq=False)
class Packed:
    """The arrays of a matrix in a model file."""

    stored: MatrixLayout
    number: Type
    arrays: Sequence[tuple[Any, Any, Any]]
    scales: Float32 | None

    def product(self) -> _core.Product:
        """A copy in memory of its own, ready to be multiplied."""
        stored, scales = self.stored, None if self.scales is None else self.scales.reshape(-1)
        name, columns = NAMES[self.number][1], stored.matrix.columns
        return _core.Product(isa(), stored.layout, name, stored.strips, columns, self.arrays, scales)

    @property
    def bytes(self) -> tuple[int, int]:
        """Of values, and of indices and starts."""
        values = sum(arrays[2].nbytes for arrays in self.arrays)
        return values, sum(
            array.nbytes for arrays in self.arrays for array in arrays[:2] if array is not None
        )


def packed(weights: Weights, levels: Sequence[float], number: Type, layout: Layout = "strip16") -> Packed:
    """The matrix at the last of the levels, in one segment a level, the sparsest first."""
    stored = MatrixLayout(_described(weights), layout, weights.block, NAMES[number][0])
    scales = _scales(weights, number)
    pieces: list[Piece] = []
    before = np.zeros(weights.matrix.shape, np.bool_)
    for sparsity in levels:
        kept = weights.kept(sparsity)
        units = gather(weights.matrix, kept & ~before, 1, stored.unit)
        pieces.append(encode(units, stored, scales))
        before = kept
    arrays = [(piece.starts, piece.columns, piece.values) for piece in pieces]
    return Packed(stored, number, arrays, scales)


def packed_dense(weights: Weights, number: Type) -> Packed:
    """The whole matrix in dense16."""
    stored = MatrixLayout(_described(weights), "dense16", None, NAMES[number][0])
    scales = _scales(weights, number)
    return Packed(stored, number, [(None, None, pack_dense(weights.matrix, stored, scales))], scales)


def contestant(
    products: Sequence[_core.Product], problem: Problem, number: Type, note: str = ""
) -> Contestant:
    """Products of each matrix of a problem: the products alone, without packing inputs or clearing sums.

    note: what tells it from others of ours; DENSE for matrices in dense16.
    """
    wide = problem.batch >= WIDE_FROM
    each = list(zip(products, problem.inputs, strict=True))

    def run(n_passes: int) -> list[list[float]]:
        if len(each) == 1:
            return [[seconds] for seconds in each[0][0].time(each[0][1], wide=wide, calls=n_passes)]
        return [[p.time(x, wide=wide, calls=1)[0] for p, x in each] for _ in range(n_passes)]

    def results() -> list[Float32]:
        rows = [len(matrix) for matrix in problem.matrices]
        return [p.multiply(x, wide=wide)[:, :n] for (p, x), n in zip(each, rows, strict=True)]

    name = f"{OWN}, {note}" if note else OWN
    return Contestant(name, "dense" if note == DENSE else "sparse", number, run, results, ROUNDING[number])


def _described(weights: Weights) -> Matrix:
    rows, columns = weights.matrix.shape
    return Matrix("product", rows, columns, 1, "fc")


@cache
def isa() -> str:
    """The instruction set in use."""
    return _core.chosen_kernels()


def _scales(weights: Weights, number: Type) -> Float32 | None:
    return pack_vector(row_scales(weights.matrix), 1) if number == "int8" else None
