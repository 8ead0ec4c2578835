"""Reading any file at any rate, and a resampler whose pieces are the whole."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.audio import (
    MAX_HELD_BACK_S,
    Samples,
    StreamResampler,
    Waveform,
    checked_samples,
    max_held_back,
    read_audio,
    resample,
)


def tone(seconds: float, rate_hz: int, frequency_hz: float = 440.0) -> Samples:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def written(path: Path, samples: np.ndarray, rate_hz: int, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


def wav_bytes(samples: np.ndarray, rate_hz: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


# Formats. The error of b-bit rounding is half a step, 2^-b; a step more at full scale.


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0.0)]
)
def test_a_wav_file_is_read_to_its_last_bit(tmp_path: Path, subtype: str, step: float):
    samples = tone(0.1, 16_000)
    heard = read_audio(written(tmp_path / "a.wav", samples, 16_000, subtype))
    assert heard.sample_rate_hz == 16_000
    assert heard.samples.dtype == np.float32
    assert len(heard.samples) == len(samples)
    assert abs(heard.samples - samples).max() <= step


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str):
    samples = tone(1.0, 16_000)
    heard = read_audio(written(tmp_path / f"a.{suffix}", samples, 16_000))
    n = min(len(heard.samples), len(samples))
    assert heard.sample_rate_hz == 16_000
    assert abs(len(heard.samples) - len(samples)) <= 2 * 1152  # an encoder may pad by two MP3 frames
    spectrum = abs(np.fft.rfft(heard.samples[:n]))
    assert np.argmax(spectrum) * 16_000 / n == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(heard.samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 192_000])
def test_the_rate_is_that_of_the_file(tmp_path: Path, rate_hz: int):
    assert read_audio(written(tmp_path / "a.wav", tone(0.05, rate_hz), rate_hz)).sample_rate_hz == rate_hz


def test_a_file_without_samples_is_no_error(tmp_path: Path):
    heard = read_audio(written(tmp_path / "a.wav", np.zeros(0, np.float32), 16_000))
    assert len(heard.samples) == 0
    assert resample(heard, 8_000).duration == 0.0


def test_a_hundredth_of_a_second_is_read(tmp_path: Path):
    assert read_audio(written(tmp_path / "a.wav", tone(0.01, 16_000), 16_000)).duration == 0.01


# Channels and parts


def test_channels_are_averaged_or_picked(tmp_path: Path):
    left, right = tone(0.1, 8_000, 300), tone(0.1, 8_000, 1_000)
    path = written(tmp_path / "a.wav", np.stack([left, right], axis=1), 8_000, "FLOAT")
    np.testing.assert_array_equal(read_audio(path, 0).samples, left)
    np.testing.assert_array_equal(read_audio(path, 1).samples, right)
    np.testing.assert_array_equal(read_audio(path).samples, (left + right) / 2)


@pytest.mark.parametrize("channel", [2, -1, True, "left", None])
def test_a_channel_that_is_not_there_is_refused(tmp_path: Path, channel: object):
    path = written(tmp_path / "a.wav", np.zeros((8, 2), np.float32), 8_000)
    with pytest.raises(ValueError, match=r"a\.wav has 2 channel\(s\), numbered from 0"):
        read_audio(path, channel)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_part_is_the_slice_of_the_whole(tmp_path: Path, suffix: str):
    path = written(tmp_path / f"a.{suffix}", tone(1.0, 16_000), 16_000)
    whole = read_audio(path).samples
    part = read_audio(path, start=0.25, duration=0.125).samples
    np.testing.assert_array_equal(part, whole[4_000:6_000])
    np.testing.assert_array_equal(read_audio(path, start=0.875, duration=9.0).samples, whole[14_000:])
    assert len(read_audio(path, start=1.0).samples) == 0


def test_a_part_after_the_end_is_refused(tmp_path: Path):
    path = written(tmp_path / "a.wav", tone(0.5, 16_000), 16_000)
    with pytest.raises(ValueError, match=r"a\.wav ends after 0\.500 s; cannot start reading at 0\.6 s"):
        read_audio(path, start=0.6)


@pytest.mark.parametrize("part", [{"start": -0.1}, {"start": float("nan")}, {"duration": float("inf")}])
def test_impossible_parts_are_refused(tmp_path: Path, part: dict[str, float]):
    with pytest.raises(ValueError, match="must be from 0 to"):
        read_audio(tmp_path / "unread.wav", **part)


# What is not audio


@pytest.mark.parametrize("name", ["notes.txt", "notes.wav", "notes.raw", "notes.mp3"])
def test_text_is_not_audio(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text("this is a text file, whatever it is called\n" * 20)
    with pytest.raises(ValueError, match=rf"{name} is not audio that can be read: ") as refused:
        read_audio(path)
    assert "\n" not in str(refused.value)


def test_no_bytes_at_all_are_not_audio(tmp_path: Path):
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.wav is not audio"):
        read_audio(tmp_path / "empty.wav")


def test_a_damaged_flac_file_is_refused(tmp_path: Path):
    path = written(tmp_path / "a.flac", tone(1.0, 16_000, 3_000), 16_000)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 :] = bytes(len(raw) - len(raw) // 2)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.flac is damaged"):
        read_audio(path)


@pytest.mark.parametrize("n_said", [26_000, 2**36 - 1])
def test_a_header_that_announces_more_than_there_is_costs_no_memory(tmp_path: Path, n_said: int):
    path = written(tmp_path / "a.flac", tone(1.0, 16_000), 16_000)
    raw = bytearray(path.read_bytes())
    raw[21] = raw[21] & 0xF0 | n_said >> 32  # the low 36 bits of bytes 18 to 25, after marker and header
    raw[22:26] = (n_said & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.flac is damaged"):
        read_audio(path)


def test_a_recording_of_many_blocks_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples = np.stack([tone(0.5, 8_000), tone(0.5, 8_000, 300)], axis=1)
    path = written(tmp_path / "a.wav", samples, 8_000, "FLOAT")
    whole, part = read_audio(path), read_audio(path, start=0.1, duration=0.2)
    for n_values in (2_000, 1_999, 3, 8_000):
        monkeypatch.setattr("sparrot.audio._BLOCK_VALUES", n_values)
        np.testing.assert_array_equal(read_audio(path).samples, whole.samples)
        np.testing.assert_array_equal(read_audio(path, start=0.1, duration=0.2).samples, part.samples)


def test_a_name_that_is_not_utf_8_is_read(tmp_path: Path):
    path = written(tmp_path / "a.wav", tone(0.1, 8_000), 8_000)
    odd = path.rename(tmp_path / os.fsdecode(b"bad\xff.wav"))
    assert read_audio(odd).duration == read_audio(str(odd)).duration == 0.1


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        read_audio(tmp_path / "gone.wav")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        read_audio(str(tmp_path))


# Streams of bytes


def test_a_buffer_is_read_like_a_file(tmp_path: Path):
    raw = wav_bytes(tone(0.2, 16_000))
    (tmp_path / "a.wav").write_bytes(raw)
    heard = read_audio(io.BytesIO(raw), start=0.1)
    np.testing.assert_array_equal(heard.samples, read_audio(tmp_path / "a.wav").samples[1_600:])


@pytest.mark.parametrize("by_name", [False, True])
def test_a_pipe_that_cannot_seek_is_read_to_its_end(by_name: bool):
    samples = tone(2.0, 16_000)  # more than a pipe holds
    raw = wav_bytes(samples)
    reading, writing = os.pipe()

    def send() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(raw)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    with os.fdopen(reading, "rb") as pipe:
        heard = read_audio(f"/dev/fd/{reading}" if by_name else pipe)
    sender.join()
    assert abs(heard.samples - samples).max() <= 2**-15


def test_the_unknown_length_that_programs_write_into_pipes_is_understood():
    samples = tone(0.2, 16_000)
    raw = bytearray(wav_bytes(samples))
    raw[4:8] = raw[40:44] = b"\xff\xff\xff\xff"
    assert abs(read_audio(io.BytesIO(raw)).samples - samples).max() <= 2**-15


def test_a_buffer_that_is_not_audio_is_refused():
    with pytest.raises(ValueError, match="the audio stream is not audio that can be read"):
        read_audio(io.BytesIO(b"GET / HTTP/1.1"))


# Waveforms and samples


def test_a_waveform_checks_itself():
    with pytest.raises(TypeError, match="float32 array of samples, got int16"):
        Waveform(np.zeros(4, np.int16), 8_000)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float32 array of samples, got list"):
        Waveform([0.0], 8_000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one channel, got samples of shape \(4, 2\)"):
        Waveform(np.zeros((4, 2), np.float32), 8_000)


@pytest.mark.parametrize("rate", [0, -8_000, 16_000.0, "16000", True, 2_000_000])
def test_impossible_rates_are_refused(rate: object):
    with pytest.raises(ValueError, match="a sampling rate is a whole number of hertz"):
        Waveform(np.zeros(4, np.float32), rate)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a sampling rate is a whole number of hertz"):
        StreamResampler(16_000, rate)  # type: ignore[arg-type]


def test_samples_are_float32_and_not_copied_without_need():
    samples = tone(0.01, 8_000)
    assert checked_samples(samples) is samples
    assert checked_samples(samples.astype(np.float64)).dtype == np.float32
    assert checked_samples([]).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_by_position(bad: float):
    samples = np.zeros(10, np.float32)
    samples[[7, 9]] = bad
    with pytest.raises(ValueError, match="sample 7 is"):
        StreamResampler(16_000, 8_000).push(samples)
    with pytest.raises(ValueError, match="sample 7 is"):
        StreamResampler(8_000, 8_000).push(samples)
    with pytest.raises(ValueError, match="sample 7 is"):
        resample(Waveform(samples, 16_000), 8_000)


def test_samples_that_float32_cannot_hold_are_refused():
    with pytest.raises(ValueError, match=r"sample 1 is 1e\+39; samples must be finite"):
        checked_samples(np.array([0.0, 1e39]))


def test_samples_of_unknown_scale_or_several_channels_are_refused():
    with pytest.raises(TypeError, match="divide 16-bit integers by 32768"):
        checked_samples(np.zeros(4, np.int16))
    with pytest.raises(ValueError, match="pick or mix first"):
        checked_samples(np.zeros((4, 1), np.float32))


# Resampling


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000, 192_000])
def test_a_tone_stays_the_same_tone(rate_hz: int):
    """MQ passes a tone well below both Nyquist rates to 16 bits: 2^-15 of full scale, away from the ends."""
    heard = resample(Waveform(tone(0.5, rate_hz), rate_hz), 16_000)
    assert heard.sample_rate_hz == 16_000
    assert abs(len(heard.samples) - 8_000) <= 1
    middle = slice(1_600, 6_400)
    assert abs(heard.samples[middle] - tone(0.5, 16_000)[middle]).max() < 2**-15


def test_what_the_new_rate_cannot_hold_is_removed():
    """MQ stops the band above the new half rate by 90 dB or more."""
    heard = resample(Waveform(tone(0.5, 48_000, 11_000.0), 48_000), 16_000)
    assert abs(heard.samples[1_600:-1_600]).max() < 0.5 * 10 ** (-90 / 20)


def test_equal_rates_change_nothing():
    waveform = Waveform(tone(0.1, 8_000), 8_000)
    assert resample(waveform, 8_000) is waveform
    stream = StreamResampler(8_000, 8_000)
    np.testing.assert_array_equal(stream.push(waveform.samples), waveform.samples)
    assert len(stream.finish()) == 0


RATES = st.sampled_from(
    [(8_000, 16_000), (16_000, 8_000), (44_100, 16_000), (11_025, 8_000), (48_000, 16_000)]
)


@settings(max_examples=60, deadline=None)
@given(RATES, st.integers(0, 6_000), st.lists(st.integers(0, 1_500), max_size=8), st.integers(0, 99))
def test_any_cut_is_the_whole_bit_for_bit(rates: tuple[int, int], n: int, cuts: list[int], seed: int):
    samples = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    stream = StreamResampler(*rates)
    pieces = [stream.push(piece) for piece in np.split(samples, np.cumsum(cuts))]
    whole = resample(Waveform(samples, rates[0]), rates[1]).samples
    np.testing.assert_array_equal(np.concatenate([*pieces, stream.finish()]), whole)
    assert abs(len(whole) - n * rates[1] / rates[0]) <= 1


@pytest.mark.parametrize("rates", [(16_000, 8_000), (8_000, 16_000), (44_100, 16_000)])
def test_single_samples_are_the_whole_bit_for_bit(rates: tuple[int, int]):
    import soxr

    samples = tone(0.05, rates[0])
    stream = StreamResampler(*rates)
    pieces = [stream.push(samples[i : i + 1]) for i in range(len(samples))]
    pieced = np.concatenate([*pieces, stream.finish()])
    np.testing.assert_array_equal(pieced, soxr.resample(samples, *rates, quality="MQ"))


HELD_BACK = [(8_000, 16_000, 0.120), (16_000, 8_000, 0.120), (48_000, 16_000, 0.042), (44_100, 8_000, 0.084)]


@pytest.mark.parametrize(("from_hz", "to_hz", "most_s"), HELD_BACK)
def test_a_stream_holds_back_no_more_than_is_said(from_hz: int, to_hz: int, most_s: float):
    stream, millisecond = StreamResampler(from_hz, to_hz), np.zeros(from_hz // 1_000, np.float32)
    n_heard = np.cumsum([len(stream.push(millisecond)) for _ in range(2_000)])
    pushed_s = np.arange(1, 2_001) * (len(millisecond) / from_hz)
    assert 0.75 * most_s < (pushed_s - n_heard / to_hz).max() < most_s <= MAX_HELD_BACK_S


COMMON_HZ = (8_000, 11_025, 16_000, 44_100, 48_000)


@pytest.mark.parametrize("from_hz", COMMON_HZ)
@pytest.mark.parametrize("to_hz", [8_000, 16_000])
@pytest.mark.parametrize("longest_s", [0.005, 0.1, 1.0])
def test_the_most_that_is_held_back_is_not_exceeded_in_any_cut(from_hz: int, to_hz: int, longest_s: float):
    """And it is no exaggeration: short pieces come within 2 ms of it."""
    stream, random, most_s = StreamResampler(from_hz, to_hz), np.random.default_rng(0), 0.0
    n_pushed = n_heard = 0
    for n in random.integers(1, round(from_hz * longest_s), 500):
        n_pushed, n_heard = n_pushed + n, n_heard + len(stream.push(np.zeros(n, np.float32)))
        most_s = max(most_s, n_pushed / from_hz - n_heard / to_hz)
    assert most_s <= max_held_back(from_hz, to_hz)
    assert longest_s > 0.005 or max_held_back(from_hz, to_hz) - most_s < 0.002


@pytest.mark.parametrize("rates", [(1, 8_000), (8_000, 39), (1_000_000, 4_000)])
def test_rates_that_are_too_far_apart_are_refused(rates: tuple[int, int]):
    with pytest.raises(ValueError, match="no rate of speech is 200 times another"):
        StreamResampler(*rates)
    assert len(resample(Waveform(np.zeros(8, np.float32), 40), 8_000).samples) == 1_600


@pytest.mark.parametrize("to_hz", [8_000, 16_000])
def test_a_finished_resampler_refuses_more(to_hz: int):
    stream = StreamResampler(16_000, to_hz)
    stream.finish()
    with pytest.raises(ValueError, match="this resampler is finished"):
        stream.push(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="this resampler is finished"):
        stream.finish()
