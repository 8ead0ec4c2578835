"""NumPy's own products: OpenBLAS in the wheels of PyPI."""

from functools import partial

import numpy as np

from sparrot.bench.rivals.contestant import Contestant, Problem, passes

BLAS = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"].removeprefix("scipy-")


def prepare(problem: Problem) -> list[Contestant]:
    """Inputs in rows, and from two inputs on also in columns."""
    return [_in_rows(problem)] + ([_in_columns(problem)] if problem.batch > 1 else [])


def _in_rows(problem: Problem) -> Contestant:
    outputs = [np.empty((problem.batch, len(matrix)), np.float32) for matrix in problem.matrices]
    products = [
        partial(np.dot, matrix, x[0], y[0]) if problem.batch == 1 else partial(np.dot, x, matrix.T, y)
        for (matrix, x), y in zip(problem.pairs, outputs, strict=True)
    ]
    return Contestant(f"NumPy, {BLAS}", "dense", "fp32", passes(products), lambda: outputs)


def _in_columns(problem: Problem) -> Contestant:
    outputs = [np.empty((len(matrix), problem.batch), np.float32) for matrix in problem.matrices]
    products = [
        partial(np.dot, matrix, np.ascontiguousarray(x.T), y)
        for (matrix, x), y in zip(problem.pairs, outputs, strict=True)
    ]
    run = passes(products)
    return Contestant(f"NumPy, {BLAS}, columns", "dense", "fp32", run, lambda: [y.T for y in outputs])
