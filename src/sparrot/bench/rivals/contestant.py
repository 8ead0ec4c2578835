"""What every contestant of a race of matrix products offers, and how exact its results must be."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["dense", "sparse"]
Type: TypeAlias = Literal["fp32", "bf16", "int8", "int4"]

UNIT_FP32 = 2.0**-24
UNIT_BF16 = 2.0**-8
SIGMAS = 8  # of the largest of half a million normal errors fewer than 6 are expected


@dataclass(frozen=True, eq=False)
class Exact:
    """Products of one matrix in float64, and the sums that bound the error of others.

    weights: (rows, columns); inputs: (batch, columns).
    """

    weights: Float32
    inputs: Float32

    @cached_property
    def y(self) -> Float64:
        """(batch, rows)."""
        return self._inputs @ self._weights.T

    @cached_property
    def magnitude(self) -> Float64:
        """Σ |w| |x|, (batch, rows)."""
        return np.abs(self._inputs) @ np.abs(self._weights).T

    @cached_property
    def squares(self) -> Float64:
        """Σ w² x², (batch, rows)."""
        return self._inputs**2 @ (self._weights**2).T

    @cached_property
    def input_squares(self) -> Float64:
        """Σ x² over the columns whose weight is not 0, (batch, rows)."""
        found: Float64 = self._inputs**2 @ (self.weights != 0).astype(np.float64).T
        return found

    @cached_property
    def weight_squares(self) -> Float64:
        """Σ w², (rows,)."""
        found: Float64 = (self._weights**2).sum(axis=1)
        return found

    @property
    def _weights(self) -> Float64:
        return self.weights.astype(np.float64)

    @property
    def _inputs(self) -> Float64:
        return self.inputs.astype(np.float64)


@dataclass(frozen=True)
class Rounding:
    """The largest error of a weight and of an input as they are stored, and of a result.

    relative: of both, as a share of themselves.
    weights, inputs: as a share of the largest of the matrix or of the inputs; a weight of 0 has none.
    """

    relative: float = 0.0
    weights: float = 0.0
    inputs: float = 0.0

    def bound(self, exact: Exact) -> Float64:
        """How far results (batch, rows) may be from `exact.y`.

        Errors of storing are taken as independent and uniform, so that their sum has the variance

            Σ ((r² + r²) w² x² + a² x² + b² w²) / 3

        r being `relative`, a and b the absolute errors of weights and inputs; 8 standard deviations are
        allowed, and on top the bound n u Σ |w| |x| of float32 sums, with a relative error of the result.
        """
        a = self.weights * np.abs(exact.weights).max(initial=0)
        b = self.inputs * np.abs(exact.inputs).max(initial=0)
        variance = 2 * self.relative**2 * exact.squares
        if a or b:
            variance = variance + a**2 * exact.input_squares + b**2 * exact.weight_squares
        sums = (exact.weights.shape[1] + 2) * UNIT_FP32 * exact.magnitude
        found: Float64 = SIGMAS * np.sqrt(variance / 3) + sums + self.relative * np.abs(exact.y)
        return found


FP32 = Rounding()
BF16 = Rounding(relative=UNIT_BF16)


@dataclass(frozen=True, eq=False)
class Problem:
    """Matrices that are multiplied one after another, each by inputs of its own.

    matrices: (rows, columns) each, zeros where they are dropped.
    inputs:   (batch, columns) each.
    block:    rows and columns of the blocks that are kept or dropped.
    """

    matrices: Sequence[Float32]
    inputs: Sequence[Float32]
    block: tuple[int, int] = (1, 1)
    exact: Sequence[Exact] = field(init=False)

    def __post_init__(self) -> None:
        pairs = zip(self.matrices, self.inputs, strict=True)
        object.__setattr__(self, "exact", tuple(Exact(matrix, x) for matrix, x in pairs))

    @property
    def batch(self) -> int:
        """Rows of every input."""
        return len(self.inputs[0])

    @property
    def pairs(self) -> list[tuple[Float32, Float32]]:
        """Each matrix with its inputs."""
        return list(zip(self.matrices, self.inputs, strict=True))


@dataclass(frozen=True, eq=False)
class Contestant:
    """One way of computing the products of a problem.

    run:     so many passes over all matrices: the seconds of each part of each pass. A part is the product
             of one matrix, unless all of them are one call.
    results: (batch, rows) of each matrix.
    spins:   whether its threads still take time just after it has run.
    """

    name: str
    kind: Kind
    type: Type
    run: Callable[[int], list[list[float]]]
    results: Callable[[], list[Float32]]
    rounding: Rounding = FP32
    spins: bool = False

    def check(self, problem: Problem) -> None:
        """Raises ValueError if a result is further from float64 than its type explains."""
        for exact, y in zip(problem.exact, self.results(), strict=True):
            if y.shape != exact.y.shape:
                raise ValueError(f"{self.name} gives {y.shape} where {exact.y.shape} is right")
            excess = np.abs(y.astype(np.float64) - exact.y) / np.maximum(self.rounding.bound(exact), 1e-30)
            if not excess.max() <= 1:  # NaN too
                shape = "×".join(map(str, exact.weights.shape))
                raise ValueError(
                    f"{self.name}, {self.type}, is wrong on {shape} at batch {problem.batch}: an error is "
                    f"{excess.max():.3g} times what its type explains"
                )


def passes(products: Sequence[Callable[[], object]]) -> Callable[[int], list[list[float]]]:
    """What runs the products of a problem in turn and gives the seconds of each, pass by pass.

    What it takes to look at the clocks is not counted.
    """

    def run(n_passes: int) -> list[list[float]]:
        clocks = min(_seconds(lambda: None) for _ in range(20))
        return [[max(0.0, _seconds(product) - clocks) for product in products] for _ in range(n_passes)]

    return run


def _seconds(product: Callable[[], object]) -> float:
    """Of the clock, or of the processor if that is less: then another program had interrupted the product."""
    begin, processor = time.perf_counter(), time.process_time()
    product()
    return min(time.process_time() - processor, time.perf_counter() - begin)
