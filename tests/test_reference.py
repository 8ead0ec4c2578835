"""The truth of the other tests, against cases worked out by hand."""

from math import exp, log, tanh

import numpy as np
import pytest

import reference
from reference import Shape
from sparrot.architecture import Convolution, LayerNorm, Linear, Recurrent, Window


def test_window_of_three_with_stride_two_sees_zeros_outside():
    layer = Window("w", left=1, right=1, stride=2)
    assert reference.window(layer, [[1.0], [2.0], [3.0], [4.0]], 1) == [[0, 1, 2], [2, 3, 4]]


def test_window_completes_the_last_stack_with_zeros():
    layer = Window("w", left=0, right=1, stride=2)
    assert reference.window(layer, [[1.0, 2.0]] * 3, 2) == [[1, 2, 1, 2], [1, 2, 0, 0]]


def test_convolution_over_time_by_hand():
    layer = Convolution("c", channels=1, kernel=3, activation="relu")
    kernel = [[1.0, 10.0, 100.0, 1000.0, 1e4, 1e5]]  # (t, bin): t = -1 is 1, 10
    frames = [[1.0, 2.0], [3.0, 4.0]]
    at_0 = 100 * 1 + 1000 * 2 + 1e4 * 3 + 1e5 * 4
    at_1 = 1 * 1 + 10 * 2 + 100 * 3 + 1000 * 4
    assert reference.convolution(layer, Shape(2), kernel, [-21.0], frames) == [[at_0 - 21], [at_1 - 21]]


def test_convolution_over_bins_by_hand():
    layer = Convolution("c", channels=2, kernel=1, kernel_bins=3, stride_bins=2, activation="identity")
    kernel = [[1.0, 10.0, 100.0], [0.0, 1.0, 0.0]]
    made = reference.convolution(layer, Shape(3), kernel, [0.0, 0.5], [[1.0, 2.0, 3.0]])
    assert made == [[10 + 200, 2 + 30, 1.5, 3.5]]  # channel 0 at bins 0 and 2, then channel 1


def test_convolution_reads_the_channels_of_its_input_one_after_the_other():
    layer = Convolution("c", channels=1, kernel=1, kernel_bins=1, activation="identity")
    made = reference.convolution(layer, Shape(2, 2), [[1.0, 10.0]], [0.0], [[1.0, 2.0, 3.0, 4.0]])
    assert made == [[31, 42]]


def test_layer_norm_by_hand():
    made = reference.layer_norm(LayerNorm("n"), [1.0, 2.0], [0.0, 5.0], [[1.0, 3.0]])
    deviation = (1 + 1e-5) ** 0.5
    assert made[0] == pytest.approx([-1 / deviation, 2 / deviation + 5])


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("identity", [-2, 25]), ("relu", [0, 25]), ("clipped_relu", [0, 20]), ("tanh", [tanh(-2), tanh(25)])],
)
def test_linear_by_hand(activation, expected):
    layer = Linear("l", 2, activation)
    assert reference.linear(layer, [[1.0, -1.0], [2.0, 7.0]], [-1.0, 0.0], [[2.0, 3.0]]) == [expected]


def test_lstm_by_hand():
    layer = Recurrent("r", "lstm", 1)
    own = {"input": [[1.0], [2.0], [3.0], [4.0]], "recurrent": [[5.0]] * 4, "bias": [0.1, 0.2, 0.3, 0.4]}
    s = reference.sigmoid
    c0 = s(1.1) * tanh(3.3)
    h0 = s(4.4) * tanh(c0)
    c1 = s(2.2 + 5 * h0) * c0 + s(1.1 + 5 * h0) * tanh(3.3 + 5 * h0)
    h1 = s(4.4 + 5 * h0) * tanh(c1)
    assert np.ravel(reference.recurrent(layer, own, [[1.0], [1.0]])) == pytest.approx([h0, h1])


def test_projection_feeds_back_what_it_projects():
    layer = Recurrent("r", "lstm", 2, projection=1)
    own = {
        "input": [[1.0]] * 8,
        "recurrent": [[1.0]] * 8,
        "bias": [0.0] * 8,
        "projection": [[2.0, 3.0]],
    }
    s = reference.sigmoid
    c0 = s(1) * tanh(1)
    h0 = 5 * s(1) * tanh(c0)
    c1 = s(1 + h0) * c0 + s(1 + h0) * tanh(1 + h0)
    assert np.ravel(reference.recurrent(layer, own, [[1.0], [1.0]])) == pytest.approx(
        [h0, 5 * s(1 + h0) * tanh(c1)]
    )


def test_gru_by_hand():
    layer = Recurrent("r", "gru", 1)
    own = {
        "input": [[1.0], [2.0], [3.0]],
        "recurrent": [[4.0], [5.0], [6.0]],
        "bias": [0.1, 0.2, 0.3],
        "candidate_bias": [0.4],
    }
    s = reference.sigmoid
    n0 = tanh(3.3 + s(1.1) * 0.4)
    h0 = (1 - s(2.2)) * n0
    n1 = tanh(3.3 + s(1.1 + 4 * h0) * (6 * h0 + 0.4))
    z1 = s(2.2 + 5 * h0)
    assert np.ravel(reference.recurrent(layer, own, [[1.0], [1.0]])) == pytest.approx(
        [h0, (1 - z1) * n1 + z1 * h0]
    )


def test_two_directions_stand_side_by_side():
    layer = Recurrent("r", "rnn", 1, bidirectional=True)
    own = {"input": [[1.0]], "recurrent": [[1.0]], "bias": [0.0]}
    own |= {"reverse.input": [[2.0]], "reverse.recurrent": [[3.0]], "reverse.bias": [0.5]}
    last = tanh(2 * 0.2 + 0.5)
    expected = [[tanh(0.1), tanh(2 * 0.1 + 0.5 + 3 * last)], [tanh(0.2 + tanh(0.1)), last]]
    np.testing.assert_allclose(reference.recurrent(layer, own, [[0.1], [0.2]]), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("path", "labelling"),
    [([], ()), ([0, 0], ()), ([1, 1], (1,)), ([1, 0, 1], (1, 1)), ([0, 2, 2, 1, 0], (2, 1))],
)
def test_collapse_by_hand(path, labelling):
    assert reference.collapse(path) == labelling


def test_labellings_of_two_frames_by_hand():
    rows = np.log([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
    found = {labelling: exp(score) for labelling, score in reference.labellings(rows).items()}
    assert found == pytest.approx(
        {
            (): 0.05,
            (1,): 0.5 * 0.6 + 0.3 * 0.1 + 0.3 * 0.6,
            (2,): 0.5 * 0.3 + 0.2 * 0.1 + 0.2 * 0.3,
            (1, 2): 0.3 * 0.3,
            (2, 1): 0.2 * 0.6,
        }
    )


def test_best_alignment_and_its_runs_by_hand():
    rows = np.log([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]])
    assert reference.best_alignments(rows) == {(): (0, 0, 0), (1,): (0, 1, 0), (1, 1): (1, 0, 1)}
    assert reference.runs((0, 1, 1, 2, 0, 2)) == [(1, range(1, 3)), (2, range(3, 4)), (2, range(5, 6))]
    assert reference.labellings(rows)[()] == pytest.approx(log(0.5 * 0.1 * 0.8))
