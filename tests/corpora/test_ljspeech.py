import json

import pytest

from sparrot.corpora import ljspeech
from sparrot.corpora.manifest import read_manifest


def test_the_original_layout(tmp_path, make_sound):
    make_sound("LJSpeech-1.1/wavs/LJ001-0001.wav", 2205, 22050)
    metadata = tmp_path / "LJSpeech-1.1" / "metadata.csv"
    metadata.write_text('LJ001-0001|In 1455, "well-known" men|In fourteen fifty-five, "well-known" men\n')
    manifests = ljspeech.prepare(tmp_path / "LJSpeech-1.1", tmp_path / "out")
    assert set(manifests) == {"test"}
    [clip] = read_manifest(manifests["test"])
    assert clip.text == "in fourteen fifty five well known men"
    assert (clip.id, clip.speaker, clip.split, clip.duration) == ("LJ001-0001", "lj", "test", 0.1)


def test_a_part_with_a_manifest(tmp_path, make_sound):
    make_sound("part/a.flac", 1600, 16000)
    line = {
        "id": "a",
        "audio_path": "a.flac",
        "duration": 9.0,
        "text": "go",
        "speaker": "lj",
        "split": "train",
    }
    (tmp_path / "part" / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    [clip] = read_manifest(ljspeech.prepare(tmp_path / "part", tmp_path / "out")["test"])
    assert (clip.split, clip.duration) == ("test", 0.1)


def test_what_is_no_lj_speech_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no LJ Speech in .*metadata\.csv"):
        ljspeech.prepare(tmp_path, tmp_path / "out")
    (tmp_path / "metadata.csv").write_text("LJ001-0001|one|one\nLJ001-0002|two\n")
    with pytest.raises(ValueError, match=r"metadata\.csv, line 2: .*'LJ001-0002|two'"):
        ljspeech.prepare(tmp_path, tmp_path / "out")
    (tmp_path / "metadata.csv").write_text("LJ001-0001|one|one\n")
    with pytest.raises(FileNotFoundError, match=r"wavs/LJ001-0001\.wav"):
        ljspeech.prepare(tmp_path, tmp_path / "out")
