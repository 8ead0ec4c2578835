"""What the benchmark of the products makes of times: rounds, goals, break-even and figures."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from products import break_even, goals, weights
from products.rounds import Case, Entry, Timing, race
from products.times import Times, ratio
from products.weights import Weights, draw, problem
from sparrot.bench.rivals import numpy_blas

SMALL = draw((64, 40))
CASE = Case("hot", "1760×1760", 1)


def timing(name, kind, number, seconds, sparsity=0.0, block="", case=CASE) -> Timing:
    return Timing(case, name, kind, number, sparsity, block, seconds, 2 * seconds)


RACED = Times(
    (
        timing("slow", "dense", "fp32", 8.0),
        timing("fast", "dense", "fp32", 6.0),
        timing("codes", "dense", "int8", 3.0),
        timing("limit, reading", "dense", "fp32", 0.1),
        timing("CSR", "sparse", "fp32", 4.0, 0.9, "1×1"),
        timing("BSR", "sparse", "fp32", 2.0, 0.9, "4×4"),
        timing("BSR", "sparse", "fp32", 0.9, 0.95, "4×4"),
        timing("DeepSparse", "sparse", "fp32", 1.0, 0.9, "16×1"),
        timing("sparrot", "sparse", "fp32", 0.5, 0.9, "16×1"),
        timing("sparrot", "sparse", "fp32", 1.5, 0.7, "16×1"),
        timing("sparrot, dense16", "dense", "fp32", 5.0),
        timing("fast", "dense", "fp32", 0.2, case=replace(CASE, batch=4)),
    )
)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.7, 0.9, 0.95])
def test_sparser_matrices_are_part_of_denser_ones_and_have_the_exact_number_of_blocks(sparsity):
    matrix = SMALL.at(sparsity)
    blocks = matrix.reshape(4, 16, 40)
    live = (blocks != 0).any(axis=1)
    assert live.sum() == round((1 - sparsity) * 160)
    assert np.array_equal((blocks != 0).all(axis=1), live)
    kept = matrix != 0
    assert np.array_equal(matrix[kept], SMALL.matrix[kept])
    assert np.all(kept | (SMALL.at(0.97) == 0))


def test_blocks_have_their_shape():
    tiled = Weights(SMALL.matrix, (8, 4), np.arange(80).reshape(8, 10)).at(0.5)
    assert np.array_equal(tiled != 0, np.repeat([[True], [False]], 32, axis=0) & np.ones((1, 40), bool))


def test_a_matrix_that_occurs_twice_lies_in_memory_twice():
    given = problem([SMALL, SMALL], 0.7, 2)
    first, second = given.matrices
    assert np.array_equal(first, second)
    assert not np.shares_memory(first, second)


def test_the_model_has_the_weights_of_its_lstm_layers():
    assert sum(rows * columns for rows, columns in weights.MODEL) == 117_964_800


def test_the_best_of_each_kind_is_found():
    raced = RACED.of(CASE)
    assert raced.best_dense(["fp32"]) == 6
    assert raced.best_dense(["fp32", "int8"]) == 3
    assert raced.best_sparse(0.9) == 1
    assert raced.best_sparse(0.9, "DeepSparse") == 1
    assert raced.own("fp32", 0.9) == 0.5
    assert raced.own("fp32", 0.7) == 1.5
    assert raced.own("int8", 0.9) is None
    assert raced.own_dense("fp32") == 5
    assert raced.limit("reading", "fp32") == 0.1
    assert raced.by_median().best_dense(["fp32"]) == 12
    assert ratio(None, 1.0) is None


def test_goals_are_ratios_of_one_race_and_only_those_that_were_run():
    found, rows = goals.measured(RACED, {"kernels.fp32.vs_sparse.b1": "never asked for"})
    measured = {goal.name: (goal.required, goal.measured, goal.met) for goal in found}
    assert measured == {
        "kernels.fp32.hot.b1": (pytest.approx(11.5), 12, True),
        "kernels.fp32.vs_sparse.b1": (3.8, 4, True),
    }
    assert [(row["metric"], row["value"], row["spread"]) for row in rows] == [
        ("kernels.fp32.hot.b1", 12, 0),
        ("kernels.fp32.vs_sparse.b1", 4, 0),
    ]


def test_no_goal_is_promised_twice():
    names = [target.name for target in goals.targets()]
    assert len(set(names)) == len(names)


def test_wrong_results_are_never_timed():
    given = problem([SMALL], 0.5, 2)
    right = numpy_blas.prepare(given)[0]
    (found,) = race(CASE, [Entry(right, given, 0.5, "16×1")], 2)
    assert 0 < found.seconds <= found.median
    wrong = replace(right, results=lambda: [right.results()[0] * 1.01])
    with pytest.raises(SystemExit, match="nothing was timed"):
        race(CASE, [Entry(wrong, given, 0.5, "16×1")], 2)


def test_the_least_is_of_each_part_and_the_first_pass_of_a_turn_does_not_count():
    given = problem([SMALL], 0.5, 2)
    turns = iter([[[9.0, 9.0]]] * 2 + [[[0.1, 0.1], [4.0, 2.0], [3.0, 5.0]]] * 2)
    slow = replace(numpy_blas.prepare(given)[0], run=lambda n: next(turns))
    (found,) = race(CASE, [Entry(slow, given, 0.5, "16×1")], 2)
    assert (found.seconds, found.median) == (3 + 2, 7)


@pytest.mark.parametrize(
    ("dense", "wanted"),
    [
        (7.0, 0.3),  # t(s) = 10 (1 − s)
        (6.0, 0.4),
        (9.5, 0.05),
        (11.0, 0.0),
        (1.0, 0.9),
        (-1.0, None),
    ],
)
def test_break_even_is_where_the_line_meets_the_dense_time(dense, wanted):
    sparse = [(s, 10 * (1 - s)) for s in weights.BREAK_EVEN]
    found = break_even.crossing(sparse, dense)
    assert found == (None if wanted is None else pytest.approx(wanted))


def test_break_even_of_times_that_do_not_fall():
    assert break_even.crossing([(0.1, 5.0), (0.3, 5.0)], 4.0) is None
    assert break_even.crossing([(0.1, 5.0), (0.3, 5.0)], 6.0) == 0.1


def test_speed_ups_are_drawn_from_the_rows_of_a_result(tmp_path):
    common = {"contest": "figure", "shape": "64×40", "metric": "kernels.time.fp32.b1", "sparsity": 0.9}
    rows = [
        {**common, "batch": batch, "kind": kind, "method": method, "value": value, "block": block}
        for batch in (1, 16)
        for kind, method, value, block in (
            ("dense", "NumPy", 12.0, ""),
            ("dense", "MKL", 10.0 * batch, ""),
            ("sparse", "MKL BSR", 8.0, "4×4"),
            ("sparse", "sparrot, strip16", 2.0, "16×1"),
        )
    ]
    (tmp_path / "result.json").write_text(json.dumps({"rows": rows}))
    script = Path(__file__).parents[2] / "benchmarks" / "products" / "drawing.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    with (tmp_path / "speedup.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["batch"], line["method"], line["speed-up"]) for line in lines] == [
        ("1", "MKL BSR", "1.25"),
        ("1", "sparrot, strip16", "5.0"),
        ("16", "MKL BSR", "1.5"),
        ("16", "sparrot, strip16", "6.0"),
    ]
    assert {line["dense"] for line in lines} == {"MKL", "NumPy"}
    assert (tmp_path / "speedup.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "storage.csv").exists()
