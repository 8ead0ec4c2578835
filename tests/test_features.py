"""Features against a float64 reference, statistics, and streams whose pieces are the whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import reference_features as reference
from sparrot.audio import Samples
from sparrot.features import (
    FeatureConfig,
    FeatureStatistics,
    OnlineFeatures,
    compute_features,
    normalise,
)

ROUNDING = 2.0**-24  # half a unit in the last place of float32, relative
MODELS = [(16_000, 40), (8_000, 23), (11_025, 30), (16_000, 80), (48_000, 80)]


def make_sound(kind: str, rate_hz: int) -> Samples:
    """A quarter of a second of noise, loud or quiet, on a constant, under a tone, or of a tone alone."""
    time = np.arange(rate_hz // 4) / rate_hz
    noise = np.random.default_rng(3).standard_normal(len(time))
    tone = np.sin(2 * np.pi * 440 * time)
    sounds = {
        "noise": 0.1 * noise,
        "quiet": 1e-4 * noise,
        "constant": 0.9 + 1e-4 * noise,
        "speech-like": 0.5 * tone + 1e-3 * noise,
        "tone": tone,
        "silence": 0 * noise,
    }
    return sounds[kind].astype(np.float32)


def expected_log_mel(samples: Samples, rate_hz: int, n_mels: int) -> tuple[np.ndarray, np.ndarray]:
    """The float64 reference and how far float32 may be from it.

    The float32 frame and its FFT are off by η |S| in total, η = (log2 n_fft + 3) half units in the last place
    (one a butterfly stage; one each for mean, pre-emphasis and window); a filter's edges, float32 numbers of
    mels, by ω = 2 · mel(rate / 2) · rounding / width in weight. So, T the energy of the frame and S_m that
    under filter m,

        |δE_m| ≤ 2 η √(E_m T) + η² T + ω S_m,    |δ ln E_m| ≤ |δE_m| / max(E_m, floor)
    """
    power = reference.power_spectra(samples, rate_hz)
    n_fft = 2 * power.shape[1]
    filters = reference.mel_filters(n_mels, n_fft, rate_hz, 20.0, rate_hz / 2)
    energy, frame, under = power @ filters.T, power.sum(axis=1, keepdims=True), power @ (filters > 0).T
    eta = (np.log2(n_fft) + 3) * ROUNDING
    width = (reference.mel(rate_hz / 2) - reference.mel(20.0)) / (n_mels + 1)
    omega = 2 * reference.mel(rate_hz / 2) * ROUNDING / width
    error = 2 * eta * np.sqrt(energy * frame) + eta**2 * frame + omega * under
    floored = np.maximum(energy, reference.ENERGY_FLOOR)
    return np.log(floored), error / floored + 16 * ROUNDING  # the logarithm is below 16 in size


@pytest.mark.parametrize("kind", ["noise", "quiet", "constant", "speech-like", "tone", "silence"])
@pytest.mark.parametrize(("rate_hz", "n_mels"), MODELS)
def test_log_mel_is_within_rounding_of_float64(rate_hz: int, n_mels: int, kind: str):
    """The tolerance is `expected_log_mel`'s bound, of which less than half is used."""
    samples = make_sound(kind, rate_hz)
    expected, tolerance = expected_log_mel(samples, rate_hz, n_mels)
    heard = compute_features(samples, FeatureConfig(sample_rate_hz=rate_hz, n_mels=n_mels))
    assert heard.dtype == np.float32
    assert heard.shape == expected.shape
    assert np.all(abs(heard - expected) <= tolerance)


@pytest.mark.parametrize("kind", ["noise", "quiet", "speech-like"])
def test_cepstra_are_within_rounding_of_float64(kind: str):
    """A coefficient, a sum over mels, may be off by the bounds of those and its own rounding."""
    samples = make_sound(kind, 16_000)
    log_mel, tolerance = expected_log_mel(samples, 16_000, 40)
    heard = compute_features(samples, FeatureConfig(kind="mfcc"))
    assert heard.shape == (len(log_mel), 13)
    own = 40 * ROUNDING * np.sqrt(2 / 40) * abs(log_mel).sum(axis=1, keepdims=True)
    bound = np.sqrt(2 / 40) * tolerance.sum(axis=1, keepdims=True) + own
    assert np.all(abs(heard - reference.cepstra(log_mel, 13)) <= bound)


@pytest.mark.parametrize("kind", ["noise", "quiet", "constant", "speech-like", "tone", "silence"])
@pytest.mark.parametrize(("rate_hz", "window_ms"), [(16_000, 20), (8_000, 25), (11_025, 20)])
def test_a_spectrogram_is_within_rounding_of_float64(rate_hz: int, window_ms: float, kind: str):
    """Sums of float64 are off by far less than the rounding to float32 of a logarithm below 16 in size."""
    samples = make_sound(kind, rate_hz)
    config = FeatureConfig(kind="spectrogram", sample_rate_hz=rate_hz, window_ms=window_ms)
    heard = compute_features(samples, config)
    expected, cancelled = reference.spectrogram(samples, config.window_samples, config.shift_samples)
    assert heard.dtype == np.float32
    assert heard.shape == expected.shape
    assert config.input_width == heard.shape[1] == config.window_samples // 2 + 1
    assert np.all(abs(heard - expected) <= 16 * ROUNDING + cancelled)


def test_a_tone_is_at_its_frequency_in_a_spectrogram():
    config = FeatureConfig(kind="spectrogram", window_ms=20)
    tone = np.sin(2 * np.pi * 2_000 * np.arange(4_000) / 16_000).astype(np.float32)
    assert config.input_width == 161
    assert set(compute_features(tone, config).argmax(axis=1)) == {40}  # 50 Hz apart


def test_a_tone_is_in_the_filter_at_its_frequency():
    config = FeatureConfig(n_mels=20, low_hz=0.0, high_hz=4_000.0)
    centres = 700 * (np.exp(np.linspace(0, reference.mel(4_000), 22)[1:-1] / 1127) - 1)
    for m in (3, 10, 19):
        tone = np.sin(2 * np.pi * centres[m] * np.arange(4_000) / 16_000).astype(np.float32)
        assert set(compute_features(tone, config).argmax(axis=1)) == {m}


def test_digital_silence_is_finite_and_as_loud_as_16_bit_silence():
    """At most 3 nats (13 dB) apart, where kaldi's 16-bit scale would have them up to 23 apart."""
    config = FeatureConfig()
    digital = compute_features(np.zeros(16_000, np.float32), config)
    rounding_error = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32) / 32_768
    np.testing.assert_allclose(digital, np.log(2.0**-23), rtol=1e-6)
    assert 0 < (compute_features(rounding_error, config) - digital).max() < 3


# Lengths


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(0, 0), (1, 0), (160, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)],
)
def test_a_frame_needs_a_whole_window(n_samples: int, n_frames: int):
    frames = compute_features(np.ones(n_samples, np.float32), FeatureConfig())
    assert frames.shape == (n_frames, 40)
    assert frames.dtype == np.float32
    assert FeatureConfig().n_frames(n_samples) == n_frames


CONFIGS = st.builds(
    dict,
    kind=st.sampled_from(["log_mel", "mfcc", "spectrogram"]),
    sample_rate_hz=st.integers(1_000, 48_000),
    window_ms=st.floats(5, 60),
    shift_ms=st.floats(1, 60),
    n_mels=st.integers(3, 80),
    low_hz=st.floats(0, 300),
)


@settings(max_examples=100, deadline=None)
@given(CONFIGS, st.integers(0, 9_000))
def test_every_configuration_that_is_accepted_works(fields: dict[str, object], n_samples: int):
    try:
        config = FeatureConfig.from_json({**fields, "n_mfcc": 3})
    except ValueError:
        assume(False)
    frames = compute_features(np.random.default_rng(1).standard_normal(n_samples).astype(np.float32), config)
    assert frames.shape == (config.n_frames(n_samples), config.input_width)
    assert np.isfinite(frames).all()
    assert len(frames) < 2 or (np.ptp(frames, axis=0) > 0).all()


def test_lengths_that_are_no_whole_number_of_samples_are_rounded_down():
    config = FeatureConfig(sample_rate_hz=11_025)
    assert (config.window_samples, config.shift_samples) == (275, 110)  # 275.6 and 110.25
    assert config.frame_rate_hz == 11_025 / 110
    assert FeatureConfig().frame_rate_hz == 100.0
    assert FeatureConfig().frame_centre_s == 0.0125


# Streams


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        [
            FeatureConfig(),
            FeatureConfig(kind="mfcc", sample_rate_hz=8_000, n_mels=23),
            FeatureConfig(kind="spectrogram", window_ms=20),
        ]
    ),
    st.lists(st.integers(0, 1_000), max_size=12),
    st.integers(0, 99),
)
def test_any_cut_is_the_whole_bit_for_bit(config: FeatureConfig, cuts: list[int], seed: int):
    config = config.with_statistics(np.full(config.input_width, -4.0), np.full(config.input_width, 3.0))
    samples = np.random.default_rng(seed).standard_normal(4_000).astype(np.float32)
    stream = OnlineFeatures(config)
    pieces = [stream.push(piece) for piece in np.split(samples, np.cumsum(cuts))]
    pieced = np.concatenate([*pieces, stream.finish()])
    np.testing.assert_array_equal(pieced, compute_features(samples, config))


def test_single_samples_are_the_whole_and_frames_come_as_soon_as_they_can():
    samples = make_sound("noise", 8_000)
    stream = OnlineFeatures(FeatureConfig(sample_rate_hz=8_000, n_mels=23))
    pieces = [stream.push(samples[i : i + 1]) for i in range(len(samples))]
    expected = compute_features(samples, FeatureConfig(sample_rate_hz=8_000, n_mels=23))
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    assert np.flatnonzero([len(piece) for piece in pieces]).tolist() == list(range(199, 2_000, 80))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc, as on Linux")
def test_the_memory_of_a_stream_is_constant():
    """60,000 frames of 128 values would take 30 MB if they were kept; 8 MB is the allocator's slack."""
    stream = OnlineFeatures(FeatureConfig(window_ms=64, shift_ms=1, n_mels=128))
    second = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    stream.push(second)
    before = resident_bytes()
    for _ in range(60):
        stream.push(second)
    assert resident_bytes() - before < 8 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_finished_stream_refuses_more():
    stream = OnlineFeatures(FeatureConfig())
    stream.push(np.zeros(399, np.float32))
    assert stream.finish().shape == (0, 40)
    with pytest.raises(ValueError, match="this stream of features is finished"):
        stream.push(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="this stream of features is finished"):
        stream.finish()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_and_the_stream_goes_on(bad: float):
    samples = np.zeros(800, np.float32)
    samples[5] = bad
    with pytest.raises(ValueError, match="sample 5 is"):
        compute_features(samples, FeatureConfig())
    stream = OnlineFeatures(FeatureConfig())
    with pytest.raises(ValueError, match="sample 5 is"):
        stream.push(samples)
    assert len(stream.push(np.zeros(400, np.float32))) == 1


def test_integers_and_several_channels_are_refused():
    with pytest.raises(TypeError, match="divide 16-bit integers by 32768"):
        compute_features(np.zeros(800, np.int16), FeatureConfig())
    with pytest.raises(ValueError, match=r"one channel of shape \(n,\), got \(800, 2\)"):
        compute_features(np.zeros((800, 2), np.float32), FeatureConfig())


def test_given_features_cannot_be_computed():
    config = FeatureConfig(kind="given", width=13)
    assert config.input_width == 13
    with pytest.raises(ValueError, match="the model reads frames, not sound"):
        compute_features(np.zeros(800, np.float32), config)


# Normalisation and statistics


def test_normalised_features_have_mean_0_and_deviation_1():
    samples = make_sound("noise", 16_000)
    raw = compute_features(samples, FeatureConfig()).astype(np.float64)
    config = FeatureConfig().with_statistics(raw.mean(axis=0), raw.std(axis=0))
    heard = compute_features(samples, config)
    np.testing.assert_allclose(heard, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-5)
    np.testing.assert_array_equal(heard, normalise(raw.astype(np.float32), config))


def test_frames_without_statistics_come_back_as_they_are():
    frames = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert normalise(frames, FeatureConfig(kind="given", width=2)) is frames


def test_frames_of_another_width_or_not_finite_are_refused():
    config = FeatureConfig(kind="given", width=2)
    with pytest.raises(ValueError, match=r"the shape \(n, 2\), got \(3, 4\)"):
        normalise(np.zeros((3, 4), np.float32), config)
    with pytest.raises(ValueError, match=r"the shape \(n, 2\), got \(2,\)"):
        normalise(np.zeros(2, np.float32), config)
    with pytest.raises(ValueError, match="frame 1 of 3 holds NaN or infinity"):
        normalise(np.array([[0, 0], [0, np.nan], [np.inf, 0]], np.float32), config)
    with pytest.raises(ValueError, match="frame 0 of 1 holds NaN or infinity"):
        normalise(np.array([[0, 1e39]]), config)  # infinite as float32


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 99))
def test_statistics_of_pieces_are_those_of_the_whole(lengths: list[int], seed: int):
    """A large mean beside a small deviation: sums of squares would lose eight digits of the sixteen."""
    assume(sum(lengths) > 0)
    frames = 1e4 + np.random.default_rng(seed).standard_normal((sum(lengths), 3))
    statistics = FeatureStatistics(3)
    for piece in np.split(frames, np.cumsum(lengths)[:-1]):
        statistics.add(piece)
    assert statistics.n_frames == len(frames)
    np.testing.assert_allclose(statistics.mean, frames.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(statistics.std, frames.std(axis=0), rtol=1e-10, atol=1e-11)


def test_statistics_of_nothing_or_of_other_widths_are_refused():
    statistics = FeatureStatistics(3)
    with pytest.raises(ValueError, match="no frame was added"):
        _ = statistics.mean
    with pytest.raises(ValueError, match="no frame was added"):
        _ = statistics.std
    with pytest.raises(ValueError, match=r"the shape \(n, 3\), got \(4, 2\)"):
        statistics.add(np.zeros((4, 2)))


def test_a_value_that_never_varies_cannot_be_normalised():
    with pytest.raises(ValueError, match="value 1 of the features never varies"):
        FeatureConfig(kind="given", width=3).with_statistics([0, -16, 0], [1, 1e-6, 1])
    with pytest.raises(ValueError, match="value 0 of the features never varies"):
        FeatureConfig(kind="given", width=1).with_statistics([0], [np.nan])
    with pytest.raises(ValueError, match="statistics need 3 values, got 2 and 3"):
        FeatureConfig(kind="given", width=3).with_statistics([0, 0], [1, 1, 1])


# Configurations


def test_json_gives_back_the_same_configuration():
    config = FeatureConfig(kind="mfcc", high_hz=7_600.0).with_statistics(np.arange(13), np.full(13, 3.0))
    text = json.dumps(config.to_json())
    assert FeatureConfig.from_json(json.loads(text)) == config
    assert FeatureConfig.from_json({}) == FeatureConfig()


WRONG = [
    {"kind": "plp"},
    {"sample_rate_hz": 0},
    {"sample_rate_hz": 16_000.0},
    {"window_ms": 0},
    {"window_ms": float("nan")},
    {"window_ms": 0.1},
    {"shift_ms": 0.01},
    {"shift_ms": 26.0},
    {"n_mels": 2},
    {"n_mels": "40"},
    {"n_mels": True},
    {"n_mels": 10**9},
    {"kind": "mfcc", "n_mfcc": 41},
    {"n_mfcc": 0},
    {"low_hz": -1.0},
    {"low_hz": None},
    {"low_hz": True},
    {"high_hz": 8_001.0},
    {"high_hz": 20.0},
    {"high_hz": "8k"},
    {"width": 40},
    {"width": None, "kind": "given"},
    {"kind": "given", "width": 0},
    {"kind": "given", "width": 2, "mean": [0.0], "scale": [1.0, 1.0]},
    {"kind": "given", "width": 2, "scale": [1.0, 1.0]},
    {"kind": "given", "width": 1, "mean": [None], "scale": [1.0]},
    {"kind": "given", "width": 1, "mean": [float("nan")], "scale": [1.0]},
    {"kind": "given", "width": 1, "mean": [0.0], "scale": [float("inf")]},
    {"kind": "given", "width": True},
    {"kind": "mfcc", "n_mfcc": True},
    {"low_hz": -(10**400)},
    {"high_hz": 10**400},
    {"resampler": "soxr HQ"},
]


@pytest.mark.parametrize("fields", WRONG, ids=str)
def test_a_wrong_field_is_named(fields: dict[str, object]):
    with pytest.raises(ValueError, match=r"features of kind .*: \w+ cannot be") as refused:
        FeatureConfig.from_json(fields)
    if len(fields) == 1:
        assert f": {next(iter(fields))} cannot be" in str(refused.value)


def test_filters_narrower_than_a_bin_are_refused():
    assert FeatureConfig(n_mels=80).input_width == 80
    with pytest.raises(ValueError, match=r"n_mels = 128 is too many for a window of 25\.0 ms: mel filter 4"):
        FeatureConfig(n_mels=128, sample_rate_hz=8_000)


@pytest.mark.parametrize("described", [{"n_mel": 40}, [], None, "log_mel"])
def test_unknown_fields_are_refused(described: object):
    with pytest.raises(ValueError, match="features have fields among"):
        FeatureConfig.from_json(described)
