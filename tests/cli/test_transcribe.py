import io
import json
import os
import shutil
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparrot.cli.main import run
from sparrot.engine import set_threads, threads
from tone_model import RATE_HZ, features_of, sound, write_tone_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models of audio and of given features, and recordings: one and two in stereo, short and none."""
    folder = tmp_path_factory.mktemp("transcribe")
    write_tone_model(folder / "tones.sparrot")
    write_tone_model(folder / "given.sparrot", given=True)
    silent = np.zeros_like(sound("abc ab"))
    soundfile.write(folder / "one.wav", np.stack([sound("abc ab"), silent], axis=1), RATE_HZ)
    soundfile.write(folder / "two.flac", sound("c____a", 44_100), 44_100)
    soundfile.write(folder / "short.wav", np.zeros(160, np.float32), RATE_HZ)
    soundfile.write(folder / "none.wav", np.zeros(0, np.float32), RATE_HZ)
    (folder / "talk.wav").write_text("no audio")
    np.save(folder / "frames.npy", features_of(sound("ab")))
    return folder


@pytest.fixture
def transcribe(folder, capsys, monkeypatch):
    """Runs `sparrot transcribe` in the folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(folder)

    def call(*arguments, model="tones.sparrot"):
        code = run(["transcribe", "--model", model, *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_a_line_a_segment(transcribe):
    assert transcribe("one.wav") == (0, "abc ab\n", "")
    assert transcribe("two.flac") == (0, "c\na\n", "")


def test_lines_of_several_recordings_name_theirs(transcribe):
    assert transcribe("one.wav", "two.flac") == (0, "one.wav: abc ab\ntwo.flac: c\ntwo.flac: a\n", "")


def test_level(transcribe):
    assert transcribe("one.wav", "--level", "small") == (0, "ab ab\n", "")


def test_a_sparsity_is_the_nearest_stop_and_its_name_is_told(transcribe):
    told = "level 0.83: the nearest stop is small\n"
    assert transcribe("one.wav", "--level", "0.83") == (0, "ab ab\n", told)


@pytest.mark.parametrize("level", ["1.5", "-0.1", "nan", "83%"])
def test_what_is_no_sparsity_is_refused(transcribe, level):
    code, out, err = transcribe("one.wav", "--level", level)
    assert (code, out) == (2, "")
    assert f"no level `{level}` in tones.sparrot" in err
    assert "A number from 0 to 1 means the stop of the nearest sparsity" in err


def test_an_unknown_level_is_refused_with_the_nearest(transcribe):
    code, out, err = transcribe("one.wav", "--level", "smal")
    assert (code, out) == (2, "")
    assert err == (
        "sparrot: no level `smal` in tones.sparrot: it holds large (0 %) and small (1 %). "
        "Did you mean `small`? A number from 0 to 1 means the stop of the nearest sparsity, and "
        "`sparrot inspect tones.sparrot` lists them all.\n"
    )


@pytest.mark.parametrize("decoder", [["--decoder", "greedy"], ["--decoder", "beam", "--beam", "4"]])
def test_decoders(transcribe, decoder):
    assert transcribe("one.wav", *decoder) == (0, "abc ab\n", "")


@pytest.mark.parametrize(("name", "model"), [("one.wav", "tones.sparrot"), ("frames.npy", "given.sparrot")])
def test_the_decoder_is_the_one_named(transcribe, monkeypatch, name, model):
    made = []
    monkeypatch.setattr(
        "sparrot.engine.decoding.PrefixBeamDecoder", lambda beam, bias: made.append(beam) or Deaf()
    )
    assert transcribe(name, "--decoder", "beam", "--beam", "4", model=model)[0] == 0
    assert made == [4]


class Deaf:
    trailing_blanks = n_tokens = n_stable = 0

    def accept_logits(self, *arguments):
        pass

    def reset(self):
        pass

    def hypothesis(self):
        return types.SimpleNamespace(tokens=())

    def final_hypotheses(self):
        return (self.hypothesis(),)


@pytest.mark.parametrize("n", ["0", "-1", "257", "10000"])
def test_an_impossible_number_of_threads_is_refused(transcribe, n):
    sentence = f"sparrot: the engine computes on 1 to 256 threads; got {n}\n"
    assert transcribe("one.wav", "--threads", n) == (2, "", sentence)


@pytest.mark.parametrize("n", ["1.5", "two", ""])
def test_a_number_of_threads_is_whole(transcribe, n):
    code, printed, error = transcribe("one.wav", "--threads", n)
    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert "Invalid value for '--threads': Input should be a valid integer" in error


def test_threads_are_set(transcribe):
    assert transcribe("one.wav", "--threads", "2") == (0, "abc ab\n", "")
    assert threads() == 2
    set_threads(1)


def test_an_impossible_beam_is_refused(transcribe):
    assert transcribe("one.wav", "--beam", "0") == (
        2,
        "",
        "sparrot: a beam search keeps at least 1 hypothesis; got a beam of 0\n",
    )


@pytest.mark.parametrize(("channel", "text"), [("mix", "abc ab\n"), ("0", "abc ab\n"), ("1", "")])
def test_channels(transcribe, channel, text):
    assert transcribe("one.wav", "--channel", channel) == (0, text, "")


@pytest.mark.parametrize(
    ("channel", "sentence"),
    [
        ("2", "one.wav has 2 channel(s)"),
        ("left", "--channel is `mix` or the number of a channel, from 0; got `left`"),
    ],
)
def test_a_channel_that_is_not_there_is_refused(transcribe, channel, sentence):
    code, out, err = transcribe("one.wav", "--channel", channel)
    assert (code, out) == (2, "")
    assert sentence in err


def test_json_is_an_object_a_recording(transcribe):
    code, out, _ = transcribe("one.wav", "two.flac", "--format", "json")
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["file"], first["text"], first["level"]) == ("one.wav", "abc ab", "large")
    word = first["segments"][0]["words"][1]
    assert (word["text"], word["level"]) == ("ab", "large")
    assert word["start"] == pytest.approx(0.8, abs=0.02)
    assert word["end"] == pytest.approx(1.0, abs=0.04)
    assert word["confidence"] > 0.9
    assert [segment["reason"] for segment in second["segments"]] == ["endpoint", "finish"]


def test_subtitles(transcribe):
    _, srt, _ = transcribe("two.flac", "--format", "srt")
    assert srt.startswith("1\n00:00:00,0")
    assert srt.count(" --> ") == 2
    _, vtt, _ = transcribe("two.flac", "--format", "vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.0")


@pytest.mark.parametrize("name", ["short.wav", "none.wav"])
@pytest.mark.parametrize(("format", "text"), [("text", ""), ("srt", ""), ("vtt", "WEBVTT\n")])
def test_next_to_no_audio_is_an_empty_transcript(transcribe, name, format, text):
    assert transcribe(name, "--format", format) == (0, text, "")


def test_stdin(transcribe, folder, monkeypatch):
    sounds = io.BytesIO((folder / "two.flac").read_bytes())
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=sounds))
    assert transcribe("-", "--format", "text") == (0, "c\na\n", "")


def test_a_recording_that_cannot_be_read_does_not_stop_the_others(transcribe):
    code, out, err = transcribe("talk.wav", "one.wav", "missing.wav")
    assert code == 2
    assert out == "one.wav: abc ab\n"
    first, second = err.splitlines()
    assert first.startswith("sparrot: talk.wav is not audio")
    assert second == "sparrot: missing.wav: no such file or directory"


def test_output_into_a_file(transcribe, tmp_path):
    assert transcribe("one.wav", "two.flac", "-o", tmp_path / "out.txt") == (0, "", "")
    assert (tmp_path / "out.txt").read_text() == "one.wav: abc ab\ntwo.flac: c\ntwo.flac: a\n"


def test_a_file_holds_what_could_be_transcribed(transcribe, tmp_path):
    code, _, err = transcribe("one.wav", "talk.wav", "two.flac", "-o", tmp_path / "out.txt")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("sparrot: talk.wav is not audio")
    assert (tmp_path / "out.txt").read_text() == "one.wav: abc ab\ntwo.flac: c\ntwo.flac: a\n"


def test_a_file_of_nothing_is_not_written(transcribe, tmp_path):
    (tmp_path / "out.txt").write_text("before")
    assert transcribe("talk.wav", "-o", tmp_path / "out.txt")[0] == 2
    assert (tmp_path / "out.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("output", ["one.wav", "./one.wav", "link.txt", "tones.sparrot", "folder"])
def test_nothing_that_is_read_is_written_over(transcribe, folder, tmp_path, monkeypatch, output):
    for name in ("one.wav", "tones.sparrot"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("link.txt").symlink_to("one.wav")
    Path("folder").mkdir()
    os.link("one.wav", "folder/one.txt")  # the transcript's name is another one of the recording
    before = Path("one.wav").read_bytes(), Path("tones.sparrot").read_bytes()
    code, out, err = transcribe("one.wav", "-o", output)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "would be written over" in err
    assert "which is read: name another output" in err
    assert (Path("one.wav").read_bytes(), Path("tones.sparrot").read_bytes()) == before
    assert Path("folder/one.txt").samefile("one.wav")


@pytest.mark.parametrize(
    ("output", "sentence"),
    [("no/out.txt", "no/out.txt: no such file or directory"), (".", "cannot write one.txt: it is not a reg")],
)
def test_where_to_write_is_checked_before_anything_is_decoded(
    transcribe, tmp_path, monkeypatch, output, sentence
):
    monkeypatch.setattr("sparrot.cli.transcribe._transcribed", lambda *_: pytest.fail("it was decoded"))
    (tmp_path / "one.txt").mkdir()
    shutil.copy("one.wav", tmp_path)
    shutil.copy("tones.sparrot", tmp_path)
    monkeypatch.chdir(tmp_path)
    code, _, err = transcribe("one.wav", "-o", output)
    assert code == 2
    assert err.startswith(f"sparrot: {sentence}")


def test_output_into_a_folder(transcribe, tmp_path):
    assert transcribe("one.wav", "talk.wav", "two.flac", "-o", tmp_path, "--format", "srt")[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.srt", "two.srt"]
    assert transcribe("one.wav", "-o", tmp_path) == (0, "", "")
    assert (tmp_path / "one.txt").read_text() == "abc ab\n"


def test_recordings_of_one_name_into_one_folder_are_refused(transcribe, tmp_path):
    code, _, err = transcribe("one.wav", "x/one.flac", "-o", tmp_path)
    assert code == 2
    assert "several recordings would be written to" in err
    assert "one.txt: transcribe them into different folders" in err


def test_subtitles_of_several_recordings_need_a_folder(transcribe):
    code, _, err = transcribe("one.wav", "two.flac", "--format", "srt")
    assert code == 2
    assert err == "sparrot: srt holds one recording and 2 were named: name an existing folder with -o\n"


def test_a_device_is_written_to_and_not_replaced(transcribe):
    assert transcribe("one.wav", "-o", "/dev/null") == (0, "", "")
    assert Path("/dev/null").is_char_device()


def test_a_pipe_by_name(transcribe, folder):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write((folder / "one.wav").read_bytes()[:60_000])  # no more than a pipe holds
    with os.fdopen(reading, "rb"):
        assert transcribe(f"/dev/fd/{reading}")[:2] == (0, "abc a\n")


def test_a_closed_stdin_is_told(transcribe, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert transcribe("-") == (
        2,
        "",
        "sparrot: stdin is closed, and `-` is to be read from it: name a file\n",
    )


@pytest.fixture
def odd_name(folder, tmp_path):
    """A recording whose name is not UTF-8."""
    return shutil.copy(folder / "one.wav", tmp_path / os.fsdecode(b"bad\xff.wav"))


def test_a_name_that_is_not_utf_8_in_json_and_files(transcribe, odd_name, tmp_path):
    code, out, _ = transcribe(odd_name, "--format", "json")
    assert (code, json.loads(out)["file"]) == (0, str(tmp_path / "bad\ufffd.wav"))
    assert transcribe(odd_name, "one.wav", "-o", tmp_path / "out.txt") == (0, "", "")
    assert (tmp_path / "out.txt").read_bytes() == os.fsencode(odd_name) + b": abc ab\none.wav: abc ab\n"


def test_a_name_that_is_not_utf_8_is_printed_as_it_is(folder, odd_name):
    command = [sys.executable, "-m", "sparrot", "transcribe", "--model", "tones.sparrot", odd_name, "one.wav"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == os.fsencode(odd_name) + b": abc ab\none.wav: abc ab\n"


def test_samples_that_are_not_finite_are_told_with_their_file(transcribe, tmp_path):
    samples = np.zeros(200, np.float32)
    samples[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE_HZ, "FLOAT")
    code, out, err = transcribe(tmp_path / "nan.wav", "one.wav")
    assert (code, out) == (2, "one.wav: abc ab\n")
    fact = "sample 100 is nan; samples must be finite"
    assert err == f"sparrot: cannot transcribe {tmp_path / 'nan.wav'}: {fact}\n"
    np.save(tmp_path / "nan.npy", np.full((3, 11), np.nan, np.float32))
    code, _, err = transcribe(tmp_path / "nan.npy", model="given.sparrot")
    assert code == 2
    assert str(tmp_path / "nan.npy") in err


def test_a_recording_that_no_memory_can_hold_is_told(transcribe, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "slow.wav", np.zeros(200_000, np.float32), 1)
    code, out, err = transcribe(tmp_path / "slow.wav", "one.wav")
    assert (code, out, err.count("\n")) == (2, "one.wav: abc ab\n", 1)
    assert err.startswith(
        f"sparrot: cannot transcribe {tmp_path / 'slow.wav'}: cannot resample from 1 to 16000"
    )

    def full(*_):
        raise MemoryError

    monkeypatch.setattr("sparrot.engine.recordings.open_audio", full)
    assert transcribe("one.wav") == (2, "", "sparrot: one.wav: this needs more memory than there is\n")


def test_a_run_folder_is_a_model(transcribe, folder, tmp_path):
    code, _, err = transcribe("one.wav", model=str(tmp_path))
    assert code == 2
    assert err.startswith(
        f"sparrot: the run {tmp_path} has no model.sparrot: it is written when training ends"
    )
    shutil.copy(folder / "tones.sparrot", tmp_path / "model.sparrot")
    assert transcribe("one.wav", model=str(tmp_path)) == (0, "abc ab\n", "")


def test_the_name_of_an_open_file_is_appended_to(transcribe, tmp_path):
    (tmp_path / "log").write_text("before\n")
    with (tmp_path / "log").open("ab") as log:
        assert transcribe("one.wav", "-o", f"/dev/fd/{log.fileno()}") == (0, "", "")
    assert (tmp_path / "log").read_text() == "before\nabc ab\n"


def test_features(transcribe):
    assert transcribe("frames.npy", model="given.sparrot") == (0, "ab\n", "")


def test_recordings_of_the_wrong_kind_are_refused(transcribe):
    code, _, err = transcribe("one.wav", model="given.sparrot")
    assert code == 2
    assert err.startswith(
        "sparrot: cannot transcribe one.wav: `tones` was trained on given features of 11 values"
    )
    code, _, err = transcribe("frames.npy")
    assert code == 2
    assert err.startswith("sparrot: cannot transcribe frames.npy: `tones` computes its own log_mel features")


def test_a_model_that_is_none_is_refused(transcribe):
    code, _, err = transcribe("one.wav", model="one.wav")
    assert code == 2
    assert err.startswith("sparrot: cannot read one.wav as a model:")


def test_a_cut_model_works_with_a_warning(transcribe, folder):
    whole = (folder / "tones.sparrot").read_bytes()
    (folder / "cut.sparrot").write_bytes(whole[:-64])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = transcribe("one.wav", model="cut.sparrot")
    assert (code, out) == (0, "ab ab\n")
    assert err.startswith("sparrot: warning: cut.sparrot is cut at byte")
    assert err.count("\n") == 1
