import pytest

from sparrot.architecture import Architecture, Convolution, Linear, Recurrent, Window
from sparrot.engine.timing import FrameClock, Latency
from sparrot.features import FeatureConfig

FEATURES = FeatureConfig(kind="log_mel", sample_rate_hz=16_000, window_ms=25.0, shift_ms=10.0, n_mels=8)
HALF_WINDOW = 0.0125


def clock(*layers):
    return FrameClock.of(Architecture(8, (*layers, Linear("out", 3))), FEATURES)


def test_a_frame_is_centred_in_its_window():
    assert clock() == FrameClock(hop=0.01, reduction=1, centre=HALF_WINDOW)


def test_stacking_moves_the_centre_to_the_middle_of_the_stack():
    assert clock(Window("stack", 0, 2, 3)) == FrameClock(0.01, 3, pytest.approx(HALF_WINDOW + 0.01))


def test_what_is_centred_moves_nothing():
    assert clock(Window("context", 2, 2), Convolution("c", 4, 5, 2)).centre == pytest.approx(HALF_WINDOW)


def test_time_reductions_multiply():
    made = clock(Window("stack", 0, 1, 2), Recurrent("lstm", "lstm", 4), Window("reduce", 0, 1, 2))
    assert made.reduction == 4
    assert made.frame == pytest.approx(0.04)
    assert made.centre == pytest.approx(HALF_WINDOW + 0.005 + 0.01)


def test_latency_adds_up():
    layers = (Window("stack", 0, 2, 3), Convolution("c", 4, 3, 1), Linear("out", 3))
    latency = Latency.of(Architecture(8, layers), FEATURES, chunk_frames=5)
    assert latency.window == pytest.approx(0.025)
    assert latency.right_context == pytest.approx(0.03)  # one later stack of three frames
    assert latency.chunk == pytest.approx(5 * 3 * 0.01)
    assert latency.total == pytest.approx(0.025 + 0.03 + 0.15)


def test_given_features_have_no_window_to_wait_for():
    given = FeatureConfig(kind="given", width=8)
    assert Latency.of(Architecture(8, (Linear("out", 3),)), given, 1).window == 0.0
