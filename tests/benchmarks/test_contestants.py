"""A contestant whose results are wrong is found out before it is timed."""

from dataclasses import replace

import numpy as np
import pytest

from sparrot.bench.rivals import numpy_blas
from sparrot.bench.rivals.contestant import BF16, FP32, UNIT_BF16, Contestant, Exact, Problem, Rounding

RANDOM = np.random.default_rng(0)
MATRIX = np.where(RANDOM.random((48, 200)) < 0.3, RANDOM.normal(size=(48, 200)), 0).astype(np.float32)
INPUTS = RANDOM.normal(size=(4, 200)).astype(np.float32)
PROBLEM = Problem([MATRIX], [INPUTS])


def giving(results, rounding=FP32) -> Contestant:
    return Contestant("given", "dense", "fp32", lambda n: [[0.0]] * n, lambda: [results], rounding)


def rounded_to_bfloat16(values):
    _, exponent = np.frexp(values)
    step = np.exp2(exponent - 8.0)
    return np.rint(values / step) * step


def test_numpy_is_right():
    for contestant in numpy_blas.prepare(PROBLEM):
        assert len(contestant.run(3)) == 3
        contestant.check(PROBLEM)


def test_every_form_gives_rows_of_results():
    rows, columns = numpy_blas.prepare(PROBLEM)
    rows.run(1), columns.run(1)
    assert rows.results()[0].shape == columns.results()[0].shape == (4, 48)


def test_a_result_of_another_product_is_refused():
    y = INPUTS @ MATRIX.T
    giving(y).check(PROBLEM)
    for wrong in (y[::-1], np.roll(y, 1, axis=1), 1.0001 * y, 0 * y, y * np.nan):
        with pytest.raises(ValueError, match="is wrong on 48×200 at batch 4"):
            giving(wrong).check(PROBLEM)
    with pytest.raises(ValueError, match=r"gives \(48, 4\) where \(4, 48\)"):
        giving(y.T).check(PROBLEM)


def test_bfloat16_is_allowed_its_rounding_and_no_more():
    y = rounded_to_bfloat16(INPUTS) @ rounded_to_bfloat16(MATRIX).T
    assert abs(y - PROBLEM.exact[0].y).max() > FP32.bound(PROBLEM.exact[0]).max()
    giving(y, BF16).check(PROBLEM)
    without_a_block = MATRIX.copy()
    without_a_block[:16, np.flatnonzero(MATRIX[:16].any(axis=0))[:16]] = 0
    with pytest.raises(ValueError, match="is wrong"):
        giving(INPUTS @ without_a_block.T, BF16).check(PROBLEM)


def test_steps_of_codes_count_only_where_there_is_a_weight():
    exact = Exact(np.array([[0, 0, 2]], np.float32), np.array([[3, 1, 1]], np.float32))
    absolute = Rounding(weights=0.5).bound(exact)
    assert absolute == pytest.approx(8 * np.sqrt((0.5 * 2) ** 2 * 1 / 3), rel=1e-5)
    inputs = Rounding(inputs=0.5).bound(exact)
    assert inputs == pytest.approx(8 * np.sqrt((0.5 * 3) ** 2 * 4 / 3), rel=1e-5)


def test_a_relative_error_is_of_weights_inputs_and_results():
    exact = Exact(np.array([[2]], np.float32), np.array([[3]], np.float32))
    wanted = UNIT_BF16 * (8 * np.sqrt(2 * 36 / 3) + 6)
    assert BF16.bound(exact) == pytest.approx(wanted, rel=1e-4)


def test_a_problem_has_inputs_for_every_matrix():
    with pytest.raises(ValueError, match="shorter"):
        Problem([MATRIX, MATRIX], [INPUTS])
    assert replace(PROBLEM, block=(16, 1)).batch == 4
