import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sparrot.corpora.manifest import Utterance, write_manifest
from sparrot.train.augmentation import WaveAugmentation, changed_speed, mixed_with_noise, spec_augmented
from sparrot.train.config import AugmentConfig, Noise, SpecAugment


def tone(hz: float, n_samples: int = 8000, amplitude: float = 0.1) -> np.ndarray:
    """A sine at 8000 samples a second."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(n_samples) / 8000)).astype(np.float32)


def white(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


# masks on features


@given(
    st.integers(0, 40),
    st.integers(1, 12),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 99),
    st.data(),
)
def test_masks_are_bands_and_spans_within_their_limits(n_frames, width, n_bands, n_spans, seed, data):
    config = SpecAugment(
        frequency_masks=n_bands,
        frequency_width=data.draw(st.integers(1, 15)),
        time_masks=n_spans,
        time_width=data.draw(st.integers(1, 30)),
        time_share=data.draw(st.floats(0.01, 1)),
    )
    frames = np.ones((n_frames, width), np.float32)
    masked = spec_augmented(frames, config, np.random.default_rng(seed)) == 0
    assert (frames == 1).all()
    rows, columns = masked.all(1), masked.all(0)
    np.testing.assert_array_equal(masked, rows[:, None] | columns[None, :])
    longest = min(config.time_width, int(n_frames * config.time_share))
    if not masked.all():
        assert columns.sum() <= n_bands * config.frequency_width
        assert rows.sum() <= n_spans * longest
    if n_bands == 1 and n_spans == 0 and n_frames > 0:
        assert columns.sum() < width  # never the whole frame


def test_every_width_and_place_of_a_mask_comes_up():
    config = SpecAugment(frequency_masks=1, frequency_width=3, time_masks=1, time_width=4, time_share=1.0)
    frames = np.ones((8, 6), np.float32)
    spans, bands = set(), set()
    for seed in range(400):
        masked = spec_augmented(frames, config, np.random.default_rng(seed)) == 0
        spans.add(tuple(np.flatnonzero(masked.all(1))))
        bands.add(tuple(np.flatnonzero(masked.all(0))))
    assert spans == {tuple(range(a, a + n)) for n in range(5) for a in range(9 - n)}
    assert bands == {tuple(range(a, a + n)) for n in range(4) for a in range(7 - n)}


# speed


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
def test_speed_changes_duration_and_pitch(factor):
    faster = changed_speed(tone(500), 8000, factor)
    assert len(faster) == pytest.approx(8000 / factor, abs=1)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster)), 80_000))
    assert spectrum.argmax() / 10 == pytest.approx(500 * factor, abs=1)
    middle = faster[1000:-1000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.1 / np.sqrt(2), rel=1e-3)


def test_speed_1_changes_nothing():
    samples = tone(500)
    assert changed_speed(samples, 8000, 1.0) is samples


# noise


@given(st.floats(-20, 60), st.integers(1, 500), st.integers(1, 800), st.integers(0, 9))
def test_noise_is_mixed_in_at_the_ratio_that_was_drawn(snr_db, n_speech, n_noise, seed):
    speech, noise = white(n_speech, seed), 0.01 * white(n_noise, seed + 1)
    config = Noise(manifest="", snr_db=(snr_db, snr_db))
    added = mixed_with_noise(speech, noise, config, np.random.default_rng(seed)).astype(np.float64) - speech
    ratio_db = 10 * np.log10(np.mean(speech.astype(np.float64) ** 2) / np.mean(added**2))
    rounding_db = 20 * np.log10(1 + 2**-23 * 10 ** (snr_db / 20) * 4)  # of the sum, against weak noise
    assert ratio_db == pytest.approx(snr_db, abs=rounding_db + 1e-3)


def test_noise_is_a_stretch_of_the_recording_that_may_wrap_round():
    noise = np.arange(1.0, 8.0, dtype=np.float32)
    starts = set()
    for seed in range(60):
        mixed = mixed_with_noise(
            np.ones(10, np.float32), noise, Noise(manifest=""), np.random.default_rng(seed)
        )
        added = mixed - 1
        order = np.rint(added / added.min()).astype(int)
        np.testing.assert_array_equal(np.diff(order) % 7, 1)
        starts.add(order[0])
    assert starts == set(range(1, 8))


def test_signal_to_noise_ratios_are_spread_evenly():
    speech, noise, ratios = np.ones(10, np.float32), np.ones(10, np.float32), []
    for seed in range(300):
        config = Noise(manifest="", snr_db=(0.0, 20.0))
        added = mixed_with_noise(speech, noise, config, np.random.default_rng(seed)) - speech
        ratios.append(-10 * np.log10(np.mean(added**2)))
    assert np.histogram(ratios, bins=4, range=(0, 20))[0].min() > 50
    assert min(ratios) > -1e-3
    assert max(ratios) < 20.001


@pytest.mark.parametrize(
    ("speech", "noise"), [(np.zeros(0, np.float32), tone(9)), (tone(9), np.zeros(5, np.float32))]
)
def test_no_speech_or_silent_noise_changes_nothing(speech, noise):
    mixed = mixed_with_noise(speech, noise, Noise(manifest=""), np.random.default_rng(0))
    np.testing.assert_array_equal(mixed, speech)


# all of them


def noise_manifest(folder, *waves: np.ndarray) -> str:
    """A manifest of recordings at 16 kHz."""
    utterances = []
    for i, wave in enumerate(waves):
        soundfile.write(folder / f"{i}.wav", wave, 16_000, "FLOAT")
        utterances.append(
            Utterance(id=f"noise{i}", audio_path=folder / f"{i}.wav", duration=len(wave) / 16_000, text="")
        )
    write_manifest(folder / "noise.jsonl", utterances)
    return str(folder / "noise.jsonl")


def test_noise_is_read_at_the_rate_of_the_features(tmp_path):
    config = AugmentConfig(noise=Noise(manifest=noise_manifest(tmp_path, white(1600), white(800))))
    assert [len(noise) for noise in WaveAugmentation.load(config, 8000).noises] == [800, 400]
    assert WaveAugmentation.load(AugmentConfig(), 8000).noises == ()


@pytest.mark.parametrize("silent", [np.zeros(0, np.float32), np.zeros(50, np.float32)])
def test_silent_noise_is_refused(tmp_path, silent):
    config = AugmentConfig(noise=Noise(manifest=noise_manifest(tmp_path, white(1600), silent)))
    with pytest.raises(ValueError, match=r"cannot mix in the noise of .*: `noise1` is silent or empty"):
        WaveAugmentation.load(config, 8000)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (AugmentConfig(), False),
        (AugmentConfig(spec=SpecAugment()), False),
        (AugmentConfig(speed=(1.1,)), True),
        (AugmentConfig(gain_db=(0, 1)), True),
        (AugmentConfig(noise=Noise(manifest="")), True),
    ],
)
def test_what_changes_waves(config, changes):
    assert WaveAugmentation(config).changes_waves == changes


def test_speed_noise_and_gain_come_in_this_order():
    speech, noise = tone(500), tone(700)
    config = AugmentConfig(
        speed=(0.8, 1.25), gain_db=(-6, 6), noise=Noise(manifest="", probability=1.0, snr_db=(3, 9))
    )
    augmented = WaveAugmentation(config, (noise,))(speech, 8000, np.random.default_rng(3))
    random = np.random.default_rng(3)
    expected = changed_speed(speech, 8000, float(random.choice((0.8, 1.25))))
    random.random()
    random.integers(1)
    expected = mixed_with_noise(expected, noise, config.noise, random)
    expected = expected * np.float32(10 ** (random.uniform(-6, 6) / 20))
    np.testing.assert_array_equal(augmented, expected)
    assert augmented.dtype == np.float32


def test_noise_comes_as_often_as_its_probability():
    config = AugmentConfig(noise=Noise(manifest="", probability=0.3))
    augment = WaveAugmentation(config, (white(50),))
    speech = tone(500, 50)
    noisy = [not np.array_equal(augment(speech, 8000, np.random.default_rng(i)), speech) for i in range(500)]
    assert 0.24 < np.mean(noisy) < 0.36
