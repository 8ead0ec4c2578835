import io
import threading
import time
import tracemalloc

import numpy as np
import pytest
import soundfile

from sparrot import FormatError, Recognizer, Stream
from sparrot.audio import StreamResampler, Waveform
from sparrot.engine import DecodingOptions, Final
from sparrot.model_file import ModelFile
from tone_model import CHUNK, HOP_S, RATE_HZ, STACK, features_of, silence, sound, write_tone_model

TEXT = "abc ca____^ab c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def path(folder):
    return write_tone_model(folder / "tones.sparrot")


@pytest.fixture(scope="module")
def recognizer(path):
    return Recognizer.load(path)


@pytest.fixture(scope="module")
def whole_file_recognizer(folder):
    return Recognizer.load(write_tone_model(folder / "both.sparrot", bidirectional=True))


@pytest.fixture(scope="module")
def given_recognizer(folder):
    return Recognizer.load(write_tone_model(folder / "given.sparrot", given=True))


def streamed(recognizer, wave, level=None):
    with recognizer.stream(level) as stream:
        stream.accept_waveform(wave, RATE_HZ)
        return tuple(event for event in stream.poll() + stream.finish() if isinstance(event, Final))


def names(recognizer):
    return [level.name for level in recognizer.levels()]


# Loading


def test_what_a_recogniser_says_of_itself(recognizer):
    assert recognizer.name == "tones"
    assert names(recognizer) == ["large", "small"]
    assert recognizer.level == "large"
    assert recognizer.streaming
    assert recognizer.sample_rate_hz == RATE_HZ
    assert recognizer.resolution == STACK * HOP_S


def test_the_level_chosen_at_loading_is_the_default(path):
    recognizer = Recognizer.load(path, level="small")
    assert recognizer.stream().level == "small"
    assert recognizer.transcribe(sound("abc"), RATE_HZ).text == "ab"
    assert recognizer.transcribe(sound("abc"), RATE_HZ, level="large").text == "abc"


def test_an_unknown_level_is_refused_with_the_nearest(path, recognizer):
    sentence = r"no level `smal` in .*tones\.sparrot: it holds large .* and small .*\. Did you mean `small`\?"
    with pytest.raises(ValueError, match=sentence):
        Recognizer.load(path, level="smal")
    with pytest.raises(ValueError, match=sentence):
        Recognizer(ModelFile.open(path), "smal")
    for call in (recognizer.stream, recognizer.prepare):
        with pytest.raises(ValueError, match=sentence):
            call("smal")
    with pytest.raises(ValueError, match=sentence):
        recognizer.transcribe(sound("a"), RATE_HZ, level="smal")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "x.sparrot").write_bytes(b"RIFF" * 100)
    with pytest.raises(FormatError):
        Recognizer.load(tmp_path / "x.sparrot")
    with pytest.raises(FileNotFoundError):
        Recognizer.load(tmp_path / "y.sparrot")


def test_a_damaged_level_is_refused_at_loading(path, tmp_path):
    damaged = bytearray(path.read_bytes())
    damaged[damaged.rindex(np.float32(12).tobytes())] ^= 1  # the weight that makes a c, which only large has
    (tmp_path / "damaged.sparrot").write_bytes(damaged)
    with pytest.raises(FormatError):
        Recognizer.load(tmp_path / "damaged.sparrot", level="large")
    assert names(Recognizer.load(tmp_path / "damaged.sparrot", level="small")) == ["large", "small"]
    Recognizer.load(tmp_path / "damaged.sparrot", level="large", verify=False)


def test_a_package_without_its_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("sparrot.engine.recognizer.PACKAGED_MODEL", tmp_path / "digits.sparrot")
    with pytest.raises(
        ValueError, match=r"no model was named, and the packaged one is missing .*digits\.sparrot"
    ):
        Recognizer.load()


def test_no_path_is_the_packaged_model(path, monkeypatch):
    monkeypatch.setattr("sparrot.engine.recognizer.PACKAGED_MODEL", path)
    assert Recognizer.load().name == "tones"


def test_a_level_is_read_once_whoever_asks_first(path, monkeypatch):
    model = ModelFile.open(path)
    read_stop, read = model.read_stop, []

    def slow_read(stop, allocate):
        read.append(stop)
        time.sleep(0.1)
        return read_stop(stop, allocate)

    monkeypatch.setattr(model, "read_stop", slow_read)
    recognizer = Recognizer(model)
    threads = [threading.Thread(target=recognizer.prepare, args=("large",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [0, 1]


def test_a_sparser_level_leaves_the_denser_one_unread(path):
    recognizer = Recognizer.load(path, level="small")
    assert recognizer._model.network.n_stops == 1
    recognizer.prepare("large")
    assert recognizer._model.network.n_stops == 2


def test_mapped_weights_recognise_the_same(path):
    copied, mapped = Recognizer.load(path), Recognizer.load(path, weights="map")
    for level in ("large", "small"):
        assert streamed(mapped, sound("abc"), level) == streamed(copied, sound("abc"), level)


def test_weights_are_copied_or_mapped(path):
    with pytest.raises(ValueError, match="choose `copy` or `map`, not `mmap`"):
        Recognizer.load(path, weights="mmap")


# Whole recordings


@pytest.mark.parametrize("level", ["large", "small"])
@pytest.mark.parametrize("options", [DecodingOptions(), DecodingOptions(decoder="beam")])
def test_a_whole_recording_reads_as_it_does_in_a_stream(recognizer, level, options):
    wave = sound(TEXT)
    with recognizer.stream(level, options) as stream:
        stream.accept_waveform(wave, RATE_HZ)
        events = stream.poll() + stream.finish()
    transcript = recognizer.transcribe(wave, RATE_HZ, level=level, options=options)
    assert transcript.segments == tuple(event for event in events if isinstance(event, Final))
    assert transcript.text == {"large": "abc ca zb c", "small": "ab a zb"}[level]
    assert transcript.level == level
    assert transcript.duration == len(wave) / RATE_HZ


def test_long_recordings_are_cut_like_short_ones(recognizer, monkeypatch):
    wave = sound(TEXT)
    whole = recognizer.transcribe(wave, RATE_HZ)
    monkeypatch.setattr("sparrot.engine.segments.PIECE_FRAMES", 37)
    assert recognizer.transcribe(wave, RATE_HZ) == whole


def test_files_of_any_format_rate_and_channels(recognizer, tmp_path):
    for name, rate_hz, subtype in (
        ("a.wav", 48_000, "PCM_U8"),
        ("b.flac", 22_050, "PCM_24"),
        ("c.wav", 192_000, "PCM_16"),
    ):
        wave = sound("abc a", rate_hz)
        soundfile.write(tmp_path / name, np.stack([wave, wave], axis=1), rate_hz, subtype=subtype)
        transcript = recognizer.transcribe(tmp_path / name)
        assert transcript.text == "abc a"
        assert transcript.duration == pytest.approx(1.0)
        assert recognizer.transcribe(str(tmp_path / name)) == transcript


def test_binary_files_and_waveforms(recognizer, tmp_path):
    wave, file = sound("ba"), io.BytesIO()
    soundfile.write(file, wave, RATE_HZ, format="WAV", subtype="FLOAT")
    file.seek(0)
    from_file = recognizer.transcribe(file)
    assert from_file == recognizer.transcribe(Waveform(wave, RATE_HZ)) == recognizer.transcribe(wave, RATE_HZ)
    assert from_file.text == "ba"


def test_a_channel_of_a_file_is_picked(recognizer, tmp_path):
    wave = sound("ba")
    soundfile.write(tmp_path / "two.wav", np.stack([silence(wave.size / RATE_HZ), wave], axis=1), RATE_HZ)
    texts = [recognizer.transcribe(tmp_path / "two.wav", channel=channel).text for channel in (0, 1)]
    assert texts == ["", "ba"]
    assert recognizer.transcribe(wave, RATE_HZ, channel=0).text == "ba"
    with pytest.raises(ValueError, match="a waveform has one channel; there is no channel 1"):
        recognizer.transcribe(wave, RATE_HZ, channel=1)


def test_a_file_is_decoded_in_constant_memory(recognizer, tmp_path, monkeypatch):
    """What could be kept of a minute of sound at 44.1 kHz: 10 MB as float32."""
    monkeypatch.setattr("sparrot.audio._BLOCK_VALUES", 2**14)
    wave = np.tile(sound("ab___", 44_100), 20)

    def peak_of(n_waves):
        soundfile.write(tmp_path / "long.wav", np.tile(wave, n_waves), 44_100)
        tracemalloc.start(1)
        try:
            recognizer.transcribe(tmp_path / "long.wav")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_of(1)
    short, long = peak_of(1), peak_of(4)
    assert long - short < 300_000  # the words of a minute, and no samples of it


def test_samples_are_counted_over_blocks(recognizer, tmp_path, monkeypatch):
    monkeypatch.setattr("sparrot.audio._BLOCK_VALUES", 1000)
    wave = sound("ab")
    wave[2345] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, RATE_HZ, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"cannot transcribe .*nan.wav: sample 2345 is nan"):
        recognizer.transcribe(tmp_path / "nan.wav")


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_next_to_no_audio_reads_nothing(recognizer, whole_file_recognizer, seconds):
    for each in (recognizer, whole_file_recognizer):
        assert each.transcribe(silence(seconds), RATE_HZ).segments == ()


def test_a_file_that_is_no_audio_is_refused(recognizer, tmp_path):
    (tmp_path / "talk.wav").write_text("hello")
    with pytest.raises(ValueError, match=r"talk\.wav is not audio"):
        recognizer.transcribe(tmp_path / "talk.wav")


def test_samples_need_their_rate_and_nothing_else_does(recognizer):
    with pytest.raises(ValueError, match="sample_rate_hz goes with an array of samples"):
        recognizer.transcribe(sound("a"))
    with pytest.raises(ValueError, match="sample_rate_hz goes with an array of samples"):
        recognizer.transcribe(Waveform(sound("a"), RATE_HZ), RATE_HZ)


def test_samples_that_are_not_finite_are_refused(recognizer):
    with pytest.raises(ValueError, match="sample 0 is nan"):
        recognizer.transcribe(np.array([np.nan], np.float32), RATE_HZ)


# Models that need whole recordings


def test_a_bidirectional_model_reads_whole_recordings(whole_file_recognizer):
    transcript = whole_file_recognizer.transcribe(sound("ab ca"), RATE_HZ)
    assert transcript.text == "ab ca"
    assert [final.reason for final in transcript.segments] == ["finish"]
    assert whole_file_recognizer.transcribe(silence(1.0), RATE_HZ).segments == ()


def test_a_bidirectional_model_refuses_to_stream(whole_file_recognizer):
    assert not whole_file_recognizer.streaming
    assert whole_file_recognizer.latency() is None
    with pytest.raises(ValueError, match="`tones` cannot stream: a layer of it runs backwards in time"):
        whole_file_recognizer.stream()


# Models of given features


def test_given_features_read_like_the_audio_they_are_of(recognizer, given_recognizer):
    wave = sound(TEXT)
    transcript = given_recognizer.transcribe_features(features_of(wave))
    assert transcript.segments == recognizer.transcribe(wave, RATE_HZ).segments
    assert transcript.duration == pytest.approx(len(features_of(wave)) * HOP_S)
    assert given_recognizer.sample_rate_hz is None


def test_feature_files(given_recognizer, tmp_path):
    frames = features_of(sound("ab c"))
    np.save(tmp_path / "a.npy", frames)
    count = np.array([frames.size], ">i4").tobytes()
    (tmp_path / "a.mfc").write_bytes(count + frames.astype(">f4").tobytes())
    expected = given_recognizer.transcribe_features(frames)
    assert expected.text == "ab c"
    assert given_recognizer.transcribe(tmp_path / "a.npy") == expected
    assert given_recognizer.transcribe(str(tmp_path / "a.mfc")) == expected


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (np.zeros((3, 5), np.float32), r"float32 \(3, 5\); the model takes float features \(n_frames, 11\)"),
        (np.zeros((3, 11), np.int64), "int64"),
        (np.array([None]), "no NumPy array that can be read"),
    ],
)
def test_feature_files_of_another_kind_are_refused(given_recognizer, tmp_path, frames, sentence):
    np.save(tmp_path / "a.npy", frames, allow_pickle=True)
    with pytest.raises(ValueError, match=sentence):
        given_recognizer.transcribe(tmp_path / "a.npy")


def test_a_waveform_for_a_model_of_given_features_is_refused(given_recognizer, recognizer, tmp_path):
    for recording in (sound("a"), tmp_path / "talk.wav"):
        with pytest.raises(
            ValueError, match=r"cannot transcribe .*: `tones` was trained on given features of 11"
        ):
            given_recognizer.transcribe(recording)
    with pytest.raises(
        ValueError, match=r"cannot transcribe .*a\.npy: `tones` computes its own log_mel features"
    ):
        recognizer.transcribe(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="computes its own"):
        recognizer.transcribe_features(features_of(sound("a")))


@pytest.mark.parametrize("given", [False, True])
def test_no_word_ends_after_the_recording(recognizer, given_recognizer, given):
    wave = sound("ab")[: round(0.215 * RATE_HZ)]  # soon after the second tone began
    heard = (
        given_recognizer.transcribe_features(features_of(wave))
        if given
        else recognizer.transcribe(wave, RATE_HZ)
    )
    assert heard.text == "ab"
    assert heard.segments[-1].end == heard.words[-1].end <= heard.duration


# Latency


def test_latency_is_that_of_a_stream(recognizer):
    """The first partial is there once the latency has passed since the tone began, not much earlier."""
    wave, stream, heard_at = sound("a"), recognizer.stream(), None
    step = 16
    for end in range(step, len(wave), step):
        stream.accept_waveform(wave[end - step : end], RATE_HZ)
        if stream.poll():
            heard_at = end / RATE_HZ
            break
    latency = recognizer.latency()
    assert latency.resampler == 0
    assert latency.chunk == pytest.approx(CHUNK * STACK * HOP_S)
    assert latency.total - 2 * HOP_S <= heard_at <= latency.total


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_the_resampler_adds_the_most_that_it_holds_back(recognizer, rate_hz):
    latency, stream, most_s = recognizer.latency(rate_hz), StreamResampler(rate_hz, RATE_HZ), 0.0
    piece = np.zeros(rate_hz // 1_000, np.float32)
    n_heard = 0
    for n_pushed in range(len(piece), 2 * rate_hz, len(piece)):
        n_heard += len(stream.push(piece))
        most_s = max(most_s, n_pushed / rate_hz - n_heard / RATE_HZ)
    assert most_s <= latency.resampler < most_s + 0.002
    assert latency.total == pytest.approx(recognizer.latency().total + latency.resampler)
    assert recognizer.latency(RATE_HZ).resampler == 0


def test_streams_are_made_by_recognisers(recognizer):
    assert isinstance(recognizer.stream(), Stream)
    assert recognizer.stream("small").level == "small"
