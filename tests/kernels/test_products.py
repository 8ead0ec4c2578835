"""Products of every instruction set, type, layout and form against float64."""

import itertools

import numpy as np
import pytest

from kernels.segments import LAYOUTS, TYPES, Shape, from_bfloat16, random_segment, to_bfloat16
from sparrot._core import Product, available_kernels

UNIT = 2.0**-24
ISAS = available_kernels()
N_ROWS, N_WIDE = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 32, 48), (0, 1, 15, 16, 17, 32, 48)
SIZES = [(0, 5), (1, 1), (1, 3), (2, 5), (3, 17), (2, 64), (3, 331)]  # strips, columns
CASES = list(itertools.product(ISAS, TYPES, LAYOUTS))


class Problem:
    """A matrix as a sum of segments, one of them empty, and what its products should be."""

    def __init__(self, shape: Shape, seed: int, densities=(0.2, 0.0, 0.5)):
        rng = np.random.default_rng(seed)
        if shape.layout == "dense16":
            densities = (1.0,)
        made = [random_segment(shape, density, rng) for density in densities]
        self.shape, self.pieces = shape, [arrays for arrays, _ in made]
        self.matrices = [matrix for _, matrix in made]
        self.row_scales = rng.uniform(0.5, 2, shape.rows).astype(np.float32) / 127
        self.rng = rng

    def product(self, isa: str) -> Product:
        shape = self.shape
        scales = self.row_scales if shape.type == "int8" else None
        return Product(isa, shape.layout, shape.type, shape.strips, shape.n_columns, self.pieces, scales)

    def inputs(self, n: int) -> np.ndarray:
        spread = np.exp2(self.rng.integers(-6, 6, (n, 1)))  # streams are not equally loud
        return (self.rng.standard_normal((n, self.shape.n_columns)) * spread).astype(np.float32)


def codes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What int8 makes of inputs (n, columns): codes, and the scale of every stream."""
    largest = abs(x).max(axis=1, keepdims=True)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    return np.rint(np.clip(x * inverse, -127, 127)), (largest / np.float32(127))[:, 0]


def expected(problem: Problem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products in float64 and how far float32 may be from them.

    A sum of n terms is within n·u·Σ|terms| to first order, in any order of summation; the terms are the
    products, rounded themselves, and the sums of the segments. int8 sums are exact; its result is rounded
    in the sum as float32, the product of the scales, and the product of both.
    """
    if problem.shape.type == "int8":
        sums, scales = exact_sums(problem, x)
        value = sums * problem.row_scales.astype(np.float64) * scales[:, None]
        return value, 4 * UNIT * abs(value)
    seen = from_bfloat16(to_bfloat16(x)) if problem.shape.type == "bfloat16" else x
    seen = seen.astype(np.float64)
    value = sum(seen @ matrix.T for matrix in problem.matrices)
    magnitude = sum(abs(seen) @ abs(matrix).T for matrix in problem.matrices)
    n_terms = problem.shape.n_columns + len(problem.matrices) + 2
    return value, n_terms * UNIT * magnitude


def exact_sums(problem: Problem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x_codes, scales = codes(x)
    return x_codes @ sum(problem.matrices).T, scales.astype(np.float64)


@pytest.mark.parametrize("wide", [False, True], ids=["rows", "wide"])
@pytest.mark.parametrize(("isa", "type_", "layout"), CASES)
def test_products_are_within_rounding_of_float64(isa, type_, layout, wide):
    for seed, (strips, n_columns) in enumerate(SIZES):
        problem = Problem(Shape(layout, type_, strips, n_columns), seed)
        product = problem.product(isa)
        for n in N_WIDE if wide else N_ROWS:
            x = problem.inputs(n)
            y = product.multiply(x, wide=wide)
            value, error = expected(problem, x)
            assert y.shape == value.shape
            assert (abs(y - value) <= error).all(), (strips, n_columns, n)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wide", [False, True], ids=["rows", "wide"])
@pytest.mark.parametrize("isa", ISAS)
def test_int8_sums_are_exact(isa, wide, layout):
    problem = Problem(Shape(layout, "int8", 3, 331), 0)
    product = problem.product(isa)
    for n in (1, 3, 16, 17):
        x = problem.inputs(n)
        np.testing.assert_array_equal(product.sums(x, wide=wide), exact_sums(problem, x)[0])


@pytest.mark.parametrize("wide", [False, True], ids=["rows", "wide"])
@pytest.mark.parametrize("isa", ISAS)
def test_the_largest_codes_do_not_overflow(isa, wide):
    values = np.full((2, 4, 16, 4), 127, np.int8)  # two strips of 16 columns
    values[1] = -127
    product = Product(isa, "dense16", "int8", 2, 16, [(None, None, values)], np.ones(32, np.float32))
    for sign in (1, -1):
        sums = product.sums(np.full((3, 16), sign, np.float32), wide=wide)
        np.testing.assert_array_equal(sums, np.tile(np.repeat([sign, -sign], 16) * 16 * 127 * 127, (3, 1)))


@pytest.mark.parametrize(("isa", "type_", "layout"), CASES)
def test_a_stream_has_the_same_bits_in_any_company(isa, type_, layout):
    problem = Problem(Shape(layout, type_, 3, 331), 1)
    product, x = problem.product(isa), problem.inputs(48)
    alone = np.concatenate([product.multiply(x[b : b + 1], wide=False) for b in range(len(x))])
    for n in range(1, 18):
        np.testing.assert_array_equal(product.multiply(x[:n], wide=False), alone[:n])
    wide = product.multiply(x, wide=True)
    for n in (16, 32):
        np.testing.assert_array_equal(product.multiply(x[:n], wide=True), wide[:n])


@pytest.mark.parametrize("layout", ["strip16", "csr"])
@pytest.mark.parametrize("type_", ["float32", "bfloat16"])
@pytest.mark.parametrize("isa", ISAS)
def test_columns_without_weights_are_never_read(isa, type_, layout):
    problem = Problem(Shape(layout, type_, 2, 67), 2, (0.3,))
    for n, wide in ((1, False), (5, False), (17, True)):
        x = problem.inputs(n)
        clean = problem.product(isa).multiply(x, wide=wide)
        for row in range(problem.shape.rows):
            poisoned = x.copy()
            poisoned[:, problem.matrices[0][16 * (row // 16) : 16 * (row // 16) + 16].any(axis=0) == 0] = (
                np.nan
            )
            dirty = problem.product(isa).multiply(poisoned, wide=wide)
            np.testing.assert_array_equal(dirty[:, row], clean[:, row])


@pytest.mark.parametrize("wide", [False, True], ids=["rows", "wide"])
@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("isa", ISAS)
def test_another_stream_that_is_nan_changes_nothing(isa, type_, wide):
    problem = Problem(Shape("strip16", type_, 2, 67), 3)
    product, x = problem.product(isa), problem.inputs(17)
    clean = product.multiply(x, wide=wide)
    x[4] = np.nan
    dirty = product.multiply(x, wide=wide)
    others = np.arange(17) != 4
    np.testing.assert_array_equal(dirty[others], clean[others])


def identity(isa: str, n: int) -> Product:
    """int8 products that are the codes of their first n ≤ 16 inputs."""
    starts, columns = np.minimum(np.arange(17), n).astype(np.uint32), np.arange(n, dtype=np.uint16)
    return Product(
        isa, "csr", "int8", 1, n, [(starts, columns, np.ones(n, np.int8))], np.ones(16, np.float32)
    )


@pytest.mark.parametrize("wide", [False, True], ids=["rows", "wide"])
@pytest.mark.parametrize("isa", ISAS)
def test_codes_are_rounded_half_to_even_and_clamped(isa, wide):
    x = np.array(
        [0.5, 1.5, 2.5, -0.5, -1.5, -126.5, 126.5, -127, 0.49999997, 127.6, -128, 1e30, -np.inf], np.float32
    )
    for n in (1, 3, 17):
        sums = identity(isa, len(x)).sums(np.tile(x, (n, 1)), wide=wide, x_scale=1.0)
        expected = [0, 2, 2, 0, -2, -126, 126, -127, 0, 127, -127, 127, -127]
        np.testing.assert_array_equal(sums[:, : len(x)], [expected] * n)


@pytest.mark.parametrize("wide", [False, True], ids=["rows", "wide"])
@pytest.mark.parametrize("isa", ISAS)
def test_what_is_no_number_has_a_code_too(isa, wide):
    """The same on every instruction set: the lowest."""
    x = np.full((1, 5), np.nan, np.float32)
    np.testing.assert_array_equal(identity(isa, 5).sums(x, wide=wide, x_scale=1.0)[0, :5], [-127] * 5)


@pytest.mark.parametrize("isa", ISAS)
def test_silence_is_zero_in_int8(isa):
    problem = Problem(Shape("strip16", "int8", 2, 40), 4)
    assert not problem.product(isa).multiply(np.zeros((2, 40), np.float32), wide=False).any()


def test_timing_gives_one_figure_a_call():
    problem = Problem(Shape("strip16", "float32", 2, 40), 5)
    seconds = problem.product(ISAS[0]).time(problem.inputs(4), wide=False, calls=7)
    assert len(seconds) == 7
    assert min(seconds) > 0


def test_what_does_not_fit_is_refused():
    problem = Problem(Shape("strip16", "int8", 2, 40), 6)
    with pytest.raises(ValueError, match="`x` has 41 columns; the matrix has 40"):
        problem.product(ISAS[0]).multiply(np.zeros((1, 41), np.float32), wide=False)
    with pytest.raises(ValueError, match="`row_scales`, one for each of the 32 rows"):
        Product(ISAS[0], "strip16", "int8", 2, 40, problem.pieces, np.ones(31, np.float32))
    with pytest.raises(ValueError, match="`strip8` is none of strip16, dense16, tile4, tile8, csr"):
        Product(ISAS[0], "strip8", "int8", 2, 40, [])
    with pytest.raises(ValueError, match="`int4` is none of float32, bfloat16, int8"):
        Product(ISAS[0], "strip16", "int4", 2, 40, [])
    with pytest.raises(ValueError, match=r"no kernels `sse9` for this processor: choose among .*scalar"):
        Product("sse9", "strip16", "float32", 2, 40, [])
    with pytest.raises(TypeError):
        Product(ISAS[0], "strip16", "float32", 2, 40, problem.pieces)
