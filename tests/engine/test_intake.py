"""What may go into a stream, and what is refused."""

import numpy as np
import pytest

from sparrot import Final, Recognizer
from sparrot.engine import DecodingOptions, EndpointRules
from sparrot.engine.intake import FeatureIntake
from sparrot.features import FeatureConfig
from streaming import finals
from tone_model import RATE_HZ, features_of, silence, sound, tone, write_tone_model


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return Recognizer.load(write_tone_model(tmp_path_factory.mktemp("model") / "tones.sparrot"))


@pytest.fixture(scope="module")
def given_recognizer(tmp_path_factory):
    return Recognizer.load(write_tone_model(tmp_path_factory.mktemp("model") / "given.sparrot", given=True))


# What is refused


def test_more_than_may_wait_is_refused_whole(recognizer):
    stream = recognizer.stream()
    stream.accept_waveform(silence(29), RATE_HZ)
    with pytest.raises(
        RuntimeError, match=r"holds 29\.00 s .* 2\.00 s more, over the 30 s that may wait: call poll"
    ):
        stream.accept_waveform(silence(2), RATE_HZ)
    assert stream.pending_s == 29
    stream.poll()
    stream.accept_waveform(silence(2), RATE_HZ)


def test_a_refused_first_piece_leaves_the_rate_open(recognizer):
    stream = recognizer.stream()
    with pytest.raises(RuntimeError, match="may wait"):
        stream.accept_waveform(silence(31, 8000), 8000)
    stream.accept_waveform(silence(1), RATE_HZ)


def test_audio_after_finish_is_refused(recognizer):
    stream = recognizer.stream()
    stream.finish()
    with pytest.raises(RuntimeError, match=r"accept_waveform\(\) was called after finish\(\)"):
        stream.accept_waveform(sound("a"), RATE_HZ)
    assert stream.finish() == stream.poll() == []


def test_a_closed_stream_is_refused_by_everything(recognizer):
    with recognizer.stream() as stream:
        stream.accept_waveform(sound("a"), RATE_HZ)
    for call in (stream.poll, stream.finish, lambda: stream.accept_waveform([], RATE_HZ)):
        with pytest.raises(RuntimeError, match="closed stream; open another one"):
            call()
    stream.close()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_audio_that_is_not_finite_is_refused_and_not_queued(recognizer, wrong):
    stream, wave = recognizer.stream(), silence(0.1)
    wave[17] = wrong
    with pytest.raises(ValueError, match="sample 17"):
        stream.accept_waveform(wave, RATE_HZ)
    assert stream.pending_s == 0


def test_another_rate_in_mid_stream_is_refused(recognizer):
    stream = recognizer.stream()
    stream.accept_waveform(sound("a"), RATE_HZ)
    with pytest.raises(ValueError, match=r"its first piece, 16000 Hz; got a piece at 8000 Hz"):
        stream.accept_waveform(sound("a", 8000), 8000)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "error"),
    [
        (np.zeros((10, 2), np.float32), RATE_HZ, ValueError),
        (np.zeros(10, np.int16), RATE_HZ, TypeError),
        (np.zeros(10, np.float32), 0, ValueError),
        (np.zeros(10, np.float32), 16000.5, ValueError),
    ],
)
def test_what_is_no_audio_is_refused(recognizer, samples, rate_hz, error):
    with pytest.raises(error):
        recognizer.stream().accept_waveform(samples, rate_hz)


@pytest.mark.parametrize(
    "make",
    [
        lambda: EndpointRules(length=0),
        lambda: DecodingOptions(decoder="fast"),
        lambda: DecodingOptions(beam=0),
        lambda: DecodingOptions(max_pending_s=float("nan")),
    ],
)
def test_impossible_options_are_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("rate_hz", [8_000, RATE_HZ])
def test_the_end_of_the_audio_is_heard(recognizer, rate_hz):
    """A tone of 30 ms, most of which the resampler holds back until the stream is finished."""
    wave = np.concatenate([silence(0.5, rate_hz), tone("b", 0.1, rate_hz)[: round(0.03 * rate_hz)]])
    (final,) = finals(recognizer.stream(), wave, rate_hz=rate_hz)
    assert final.text == "b"


# Given features


def test_given_features_stream_like_audio(recognizer, given_recognizer):
    wave = sound("ab c____a")
    stream, frames = given_recognizer.stream(), features_of(sound("ab c____a"))
    for start in range(0, len(frames), 7):
        stream.accept_features(frames[start : start + 7])
    heard = [event for event in stream.finish() if isinstance(event, Final)]
    assert heard == finals(recognizer.stream(), wave)


def test_given_features_are_copied():
    frames = np.ones((2, 3), np.float32)
    intake = FeatureIntake(FeatureConfig(kind="given", width=3), 30.0)
    intake.accept(frames)
    frames[:] = 0
    np.testing.assert_array_equal(intake.take(), np.ones((2, 3)))


def test_a_waveform_for_a_model_of_given_features_is_refused(given_recognizer, recognizer):
    with pytest.raises(ValueError, match="`tones` was trained on given features of 11 values"):
        given_recognizer.stream().accept_waveform(sound("a"), RATE_HZ)
    with pytest.raises(ValueError, match="`tones` computes its own log_mel features"):
        recognizer.stream().accept_features(features_of(sound("a")))


def test_features_of_another_width_are_refused(given_recognizer):
    with pytest.raises(ValueError, match=r"\(n, 11\), got \(5, 12\)"):
        given_recognizer.stream().accept_features(np.zeros((5, 12), np.float32))
