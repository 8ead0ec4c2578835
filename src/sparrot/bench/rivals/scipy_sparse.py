"""SciPy's sparse matrices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from sparrot.bench.rivals.contestant import Contestant, Float32, Problem, passes


def prepare(problem: Problem) -> list[Contestant]:
    """CSR, and BSR where blocks are larger than one weight."""
    formats: dict[str, Callable[[Float32], Any]] = {"CSR": sparse.csr_array}
    if problem.block != (1, 1):
        formats["BSR"] = partial(sparse.bsr_array, blocksize=problem.block)
    return [
        _multiply(f"SciPy {name}", problem, form) for name, form in formats.items() if _fits(problem, name)
    ]


def _fits(problem: Problem, name: str) -> bool:
    rows, columns = problem.block
    whole = all(m.shape[0] % rows == 0 and m.shape[1] % columns == 0 for m in problem.matrices)
    return name == "CSR" or whole


def _multiply(name: str, problem: Problem, form: Callable[[Float32], Any]) -> Contestant:
    def product(matrix: Any, x: Float32, place: int) -> None:
        outputs[place] = matrix @ x

    products = [
        partial(product, form(matrix), x[0] if problem.batch == 1 else np.ascontiguousarray(x.T), place)
        for place, (matrix, x) in enumerate(problem.pairs)
    ]
    outputs: list[Any] = [None] * len(products)

    def results() -> list[Float32]:
        return [y[None] if y.ndim == 1 else y.T for y in outputs]

    return Contestant(name, "sparse", "fp32", passes(products), results)
