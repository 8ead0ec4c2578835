import struct

import numpy as np
import pytest
import soundfile

from sparrot.audio import Waveform, resample
from sparrot.corpora.loading import load_features, load_waveform, stored_waveform
from sparrot.corpora.manifest import Segment, Utterance
from sparrot.features import FeatureConfig, compute_features


def utterance_of(**fields) -> Utterance:
    return Utterance(**{"id": "u", "duration": 0.0, "text": "yes"} | fields)


def numbers(first, last):
    """The samples `first` … `last` − 1 of the sounds in conftest.py."""
    return np.arange(first, last, dtype=np.float32) / 32768


def test_a_whole_file_is_loaded_whatever_duration_says(make_sound):
    utterance = utterance_of(audio_path=make_sound("a.wav", 800), duration=0.05)
    np.testing.assert_array_equal(load_waveform(utterance, 8000), numbers(1, 801))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_part_is_exact_to_the_sample(make_sound, suffix):
    path = make_sound(f"a.{suffix}", 3000)
    for first, n_samples in ((0, 1), (1, 1), (1237, 801), (2999, 1), (0, 3000)):
        utterance = utterance_of(audio_path=path, start=first / 8000, duration=n_samples / 8000)
        np.testing.assert_array_equal(
            load_waveform(utterance, 8000), numbers(first + 1, first + n_samples + 1)
        )


def test_a_part_beyond_the_end_is_refused(make_sound):
    path = make_sound("a.wav", 800)
    with pytest.raises(ValueError, match=r"ends after 0\.100 s, too early for .* 0\.051 s from 0\.050 s"):
        load_waveform(utterance_of(audio_path=path, start=0.05, duration=0.051), 8000)
    with pytest.raises(ValueError, match=r"ends after 0\.100 s"):  # one sample short
        load_waveform(utterance_of(audio_path=path, start=0.05, duration=401 / 8000), 8000)
    with pytest.raises(ValueError, match="cannot start reading at"):
        load_waveform(utterance_of(audio_path=path, start=0.2, duration=0.1), 8000)


def joined(*segments, tail=0.0) -> Utterance:
    return utterance_of(
        segments=tuple(Segment(audio_path=p, start=s, duration=d, gap=g) for p, s, d, g in segments),
        tail=tail,
    )


def test_segments_are_joined_with_exact_zeros(make_sound):
    one, two = make_sound("a.wav", 800), make_sound("b.flac", 800, first=2000)
    string = joined((one, 0.01, 0.05, 0.1), (two, 0.0, 0.02, 0.00696), (one, 0.0, 0.001, 0.0), tail=0.013)
    expected = [
        *np.zeros(800), *numbers(81, 481),
        *np.zeros(56), *numbers(2000, 2160),
        *numbers(1, 9),
        *np.zeros(104),
    ]  # fmt: skip
    np.testing.assert_array_equal(load_waveform(string, 8000), np.float32(expected))


def test_a_string_is_resampled_once_as_a_whole(make_sound):
    string = joined((make_sound("a.wav"), 0.0, 0.1, 0.1), (make_sound("b.wav"), 0.0, 0.1, 0.1), tail=0.1)
    at_8_khz = load_waveform(string, 8000)
    expected = resample(Waveform(at_8_khz, 8000), 16000).samples
    np.testing.assert_array_equal(load_waveform(string, 16000), expected)
    assert stored_waveform(string).sample_rate_hz == 8000


def test_segments_of_two_rates_are_refused(make_sound):
    slow, fast = make_sound("a.wav"), make_sound("b.wav", sample_rate_hz=16000)
    with pytest.raises(ValueError, match="sampling rates of 8000 and 16000 Hz"):
        load_waveform(joined((slow, 0.0, 0.01, 0.0), (fast, 0.0, 0.01, 0.0)), 8000)


def test_features_of_sound_are_computed(make_sound):
    config = FeatureConfig(sample_rate_hz=8000)
    utterance = utterance_of(audio_path=make_sound("a.wav", 4000))
    features = load_features(utterance, config)
    np.testing.assert_array_equal(features, compute_features(numbers(1, 4001), config))
    assert features.shape == (48, 40)  # 1 + (4000 - 200) // 80


GIVEN = FeatureConfig(kind="given", width=13)


def sphinx_file(path, values):
    path.write_bytes(struct.pack(">i", values.size) + values.astype(">f4").tobytes())
    return path


def test_given_features_are_read_and_normalised(tmp_path):
    frames = np.arange(39, dtype=np.float32).reshape(3, 13)
    np.save(tmp_path / "a.npy", frames.astype(np.float64))
    config = GIVEN.with_statistics(np.full(13, 2.0), np.full(13, 4.0))
    (tmp_path / "up.NPY").write_bytes((tmp_path / "a.npy").read_bytes())
    for path in (tmp_path / "a.npy", tmp_path / "up.NPY", sphinx_file(tmp_path / "a.mfc", frames)):
        loaded = load_features(utterance_of(feature_path=path), config)
        np.testing.assert_array_equal(loaded, (frames - 2) / 4)
        assert loaded.dtype == np.float32


def test_manifest_and_configuration_must_fit(tmp_path, make_sound):
    given = utterance_of(feature_path=tmp_path / "a.mfc")
    with pytest.raises(ValueError, match=r"cannot load the sound of utterance 'u'.*a\.mfc"):
        load_waveform(given, 8000)
    with pytest.raises(ValueError, match="cannot compute log_mel features of utterance 'u'"):
        load_features(given, FeatureConfig())
    with pytest.raises(ValueError, match="cannot load given features of utterance 'u'"):
        load_features(utterance_of(audio_path=make_sound("a.wav")), GIVEN)


def test_stereo_is_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([[100, 300], [-2, 2]], np.int16), 8000)
    loaded = load_waveform(utterance_of(audio_path=tmp_path / "a.wav"), 8000)
    np.testing.assert_array_equal(loaded, np.float32([200 / 32768, 0]))
