import pytest

from sparrot.corpora import kaldi
from sparrot.corpora.manifest import read_manifest


@pytest.fixture
def source(make_sound, tmp_path):
    """A directory of two recordings, `one` by a relative path."""
    make_sound("data/train/wav/one.wav", 800)
    two = make_sound("two.flac", 8000)
    folder = tmp_path / "data" / "train"
    (folder / "wav.scp").write_text(f"one wav/one.wav\ntwo   {two}\n")
    (folder / "text").write_text("one GO ON\ntwo yes\n")
    (folder / "utt2spk").write_text("one ann\ntwo bob\n")
    return folder


def add_segments(source, *lines):
    (source / "segments").write_text("".join(f"{line}\n" for line in lines))
    (source / "text").write_text("u1 ONE\nu2 TWO\n")
    (source / "utt2spk").write_text("u1 ann\nu2 ann\n")


def test_whole_recordings(source, tmp_path):
    manifests = kaldi.prepare(source, tmp_path / "out")
    assert manifests == {"train": tmp_path / "out" / "train.jsonl"}
    one, two = read_manifest(manifests["train"])
    assert (one.id, one.text, one.speaker, one.duration, one.start) == ("one", "GO ON", "ann", 0.1, None)
    assert one.audio_path == source / "wav" / "one.wav"
    assert (two.id, two.audio_path, two.duration) == ("two", tmp_path / "two.flac", 1.0)


def test_texts_can_be_normalised(source, tmp_path):
    one, _ = read_manifest(kaldi.prepare(source, tmp_path / "out", normalised=True)["train"])
    assert one.text == "go on"


def test_segments(source, tmp_path):
    add_segments(source, "u1 two 0.25 0.75", "u2 two 0.5 1.0")
    one, two = read_manifest(kaldi.prepare(source, tmp_path / "out")["train"])
    assert (one.id, one.start, one.duration, one.text) == ("u1", 0.25, 0.5, "ONE")
    assert (two.id, two.start, two.duration, two.audio_path) == ("u2", 0.5, 0.5, tmp_path / "two.flac")


@pytest.mark.parametrize(
    "line", ["u1 three 0 1", "u1 two 0.5 0.5", "u1 two 0.5 -1", "u1 two 0.5", "u1 two a b", "u1 two -1 1"]
)
def test_a_wrong_segment_is_refused(source, tmp_path, line):
    add_segments(source, line, "u2 two 0.5 1.0")
    with pytest.raises(ValueError, match=f"got {line.removeprefix('u1 ')!r}"):
        kaldi.prepare(source, tmp_path / "out")


def test_segments_beyond_the_end_of_the_recording_are_refused(source, tmp_path):
    add_segments(source, "u1 two 0.25 0.75", "u2 two 0.5 1.01")
    with pytest.raises(ValueError, match=r"'two 0\.5 1\.01'.*; `two` ends after 1\.000 s"):
        kaldi.prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_keys_and_values_are_separated_by_any_blanks(source, tmp_path):
    (source / "wav.scp").write_text("one\twav/one.wav\r\ntwo \t wav/one.wav\n")
    (source / "text").write_text("\ufeffone\tGO  ON\ntwo\n")
    (source / "utt2spk").write_text("one\tann\ntwo\tbob\n")
    one, two = read_manifest(kaldi.prepare(source, tmp_path / "out")["train"])
    assert (one.id, one.text, one.speaker) == ("one", "GO  ON", "ann")
    assert (two.id, two.text, two.audio_path) == ("two", "", one.audio_path)
    add_segments(source, "u1\ttwo\t0.05\t0.1", "u2\tone 0 0.1")
    first, _ = read_manifest(kaldi.prepare(source, tmp_path / "out")["train"])
    assert (first.id, first.start, first.duration) == ("u1", 0.05, 0.05)


def test_a_file_that_is_not_utf_8_is_named(source, tmp_path):
    (source / "text").write_bytes("one yes\ntwo né\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"cannot read .*text, line 2: byte 5 of the line is not UTF-8"):
        kaldi.prepare(source, tmp_path / "out")


def test_commands_are_refused_and_never_run(source, tmp_path):
    trace = tmp_path / "trace"
    (source / "wav.scp").write_text(f"one touch {trace} |\n")
    with pytest.raises(
        ValueError, match=r"`wav\.scp` has the command 'touch .*\|', and commands are not run"
    ):
        kaldi.prepare(source, tmp_path / "out")
    assert not trace.exists()


def test_what_is_missing_is_named(source, tmp_path):
    (source / "text").write_text("two yes\n")
    with pytest.raises(ValueError, match="1 of 2 utterances are not in `text`, one first"):
        kaldi.prepare(source, tmp_path / "out")
    (source / "text").write_text("one yes\ntwo yes\n")
    (source / "utt2spk").unlink()
    with pytest.raises(ValueError, match="has a file `utt2spk`"):
        kaldi.prepare(source, tmp_path / "out")
    (source / "wav.scp").write_text("one wav/three.wav\n")
    with pytest.raises(ValueError, match=r"`wav\.scp` names 'wav/three\.wav'"):
        kaldi.prepare(source, tmp_path / "out")


@pytest.mark.parametrize("text", ["one yes\none no\n", "one yes\n\ntwo no\n"])
def test_a_key_that_is_missing_or_repeated_is_refused(source, tmp_path, text):
    (source / "text").write_text(text)
    with pytest.raises(ValueError, match="text, line 2: every line begins with a key of its own"):
        kaldi.prepare(source, tmp_path / "out")
