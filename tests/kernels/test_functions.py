"""What is computed value by value, or cell by cell, on every instruction set, against float64."""

import numpy as np
import pytest

from sparrot._core import Functions, available_kernels

UNIT = 2.0**-24
BOUND = 2.0**-22  # of tanh and sigmoid, absolute
ISAS = available_kernels()
LENGTHS = (0, 1, 3, 7, 8, 15, 16, 17, 33, 100)


@pytest.fixture(params=ISAS)
def functions(request) -> Functions:
    return Functions(request.param)


def random(*shape: int, spread: float = 3, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(np.float32)


def all_ranges() -> np.ndarray:
    """Every 4001st float32, NaN and infinities left out, and all the magnitudes near the bends."""
    x = np.arange(0, 2**32, 4001, dtype=np.uint32).view(np.float32)
    return np.concatenate([x[np.isfinite(x)], np.linspace(-20, 20, 400_001, dtype=np.float32)])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(np.asarray(x, np.float64) / 2)) / 2


@pytest.mark.parametrize(("name", "exact"), [("tanh", np.tanh), ("sigmoid", sigmoid)])
def test_curves_are_within_their_bound(functions, name, exact):
    x = all_ranges()
    error = abs(getattr(functions, name)(x) - exact(x.astype(np.float64)))
    assert error.max() <= BOUND, x[error.argmax()]


@pytest.mark.parametrize(("name", "low"), [("tanh", -1), ("sigmoid", 0)])
def test_curves_stay_inside_their_range_and_keep_nan(functions, name, low):
    y = getattr(functions, name)(all_ranges())
    assert y.min() >= low
    assert y.max() <= 1
    special = np.array([np.inf, -np.inf, np.nan, 0], np.float32)
    expected = np.array([1, low, np.nan, (low + 1) / 2], np.float32)
    np.testing.assert_array_equal(getattr(functions, name)(special), expected)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_a_value_has_the_same_bits_at_any_place(functions, name):
    x = random(100)
    whole = getattr(functions, name)(x)
    for n in LENGTHS:
        np.testing.assert_array_equal(getattr(functions, name)(x[100 - n :]), whole[100 - n :])


def test_clip_and_add_and_max_abs(functions):
    for n in LENGTHS:
        x, y = random(n), random(n, seed=1)
        np.testing.assert_array_equal(functions.clip(x, 2.0), np.clip(x, 0, 2))
        np.testing.assert_array_equal(functions.clip(x, np.inf), np.maximum(x, 0))
        np.testing.assert_array_equal(functions.add(x, y), x + y)
        assert functions.max_abs(x) == abs(x).max(initial=0)
    for place in range(20):
        x = random(20)
        x[place] = np.nan
        assert np.isnan(functions.clip(x, 20.0)[place])
        x[place] = -100
        assert functions.max_abs(x) == 100


def test_transpose_fills_up_with_zeros(functions):
    for rows in (0, 1, 2, 5, 8, 15, 16, 17, 33):
        for columns in (1, 3, 8, 16, 17, 40):
            x = random(rows, columns)
            for padded in (rows, -(-rows // 16) * 16, rows + 3):
                expected = np.zeros((columns, padded), np.float32)
                expected[:, :rows] = x.T
                np.testing.assert_array_equal(functions.transpose(x, padded), expected)


def test_layer_norm_is_within_rounding(functions):
    """To first order in u.

    The mean, a sum of n terms, is off by (n + 1) u mean|x|, the difference from it once more. The variance
    is off by twice that over the deviation, which the square root halves, and six operations round once each.
    """
    for n in (1, 3, 16, 17, 100, 1280):
        x, scale, shift = random(n, spread=5), random(n, seed=1), random(n, seed=2)
        exact = x.astype(np.float64)
        deviation = np.sqrt(exact.var() + 1e-5)
        normal = (exact - exact.mean()) / deviation
        value = normal * scale + shift
        centred = (n + 2) * UNIT * abs(exact).mean() / deviation  # in units of the deviation
        relative = centred + (n + 6) * UNIT
        error = (centred + abs(normal) * relative) * abs(scale) + UNIT * (abs(normal * scale) + abs(value))
        assert (abs(functions.layer_norm(x, scale, shift, 1e-5) - value) <= error).all()


@pytest.mark.parametrize("lanes", [16, 32, 48])
@pytest.mark.parametrize("strips", [0, 1, 3])
def test_lstm_is_within_rounding(functions, strips, lanes):
    sums, c = random(strips, 4, lanes), random(strips, lanes, spread=1, seed=1)
    new_c, h = functions.lstm(sums, c)
    i, f, g, o = sums.astype(np.float64).transpose(1, 0, 2)
    exact_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    # Each curve is off by BOUND, each of the three operations on |c| + 1 at most rounds once.
    error_c = BOUND * (abs(c) + 2) + 3 * UNIT * (abs(c) + 1)
    assert (abs(new_c - exact_c) <= error_c).all()
    assert (abs(h - sigmoid(o) * np.tanh(exact_c)) <= error_c + 2 * BOUND + UNIT).all()


@pytest.mark.parametrize("lanes", [16, 32, 48])
@pytest.mark.parametrize("strips", [0, 1, 3])
def test_gru_is_within_rounding(functions, strips, lanes):
    drive, product = random(strips, 3, lanes), random(strips, 3, lanes, seed=1)
    h = random(strips, lanes, spread=0.5, seed=2)
    (d_r, d_z, d_n), (p_r, p_z, p_n) = (
        part.astype(np.float64).transpose(1, 0, 2) for part in (drive, product)
    )
    z = sigmoid(d_z + p_z)
    m = np.tanh(d_n + sigmoid(d_r + p_r) * p_n)
    # A sum of two gates is rounded, and a curve of slope 1/4 or 1 makes less of it.
    gate = BOUND + UNIT * (abs(d_r + p_r) + abs(d_z + p_z))
    error_m = BOUND + abs(p_n) * gate + 2 * UNIT * (abs(d_n) + abs(p_n))
    gap = abs(h - m) + error_m
    error = error_m + abs(h) * UNIT + gap * gate + 3 * UNIT * (abs(m) + gap)
    assert (abs(functions.gru(drive, product, h) - (m + z * (h - m))) <= error).all()


def test_a_name_that_is_not_known_is_refused():
    with pytest.raises(
        ValueError, match=r"there are no kernels `mmx` for this processor: choose among .*scalar"
    ):
        Functions("mmx")
