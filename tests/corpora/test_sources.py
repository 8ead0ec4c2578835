import pytest

from sparrot.corpora.manifest import Utterance, write_manifest
from sparrot.corpora.packaged import packaged_recordings, packaged_strings
from sparrot.corpora.sources import read_source, read_sources


@pytest.fixture
def manifest(make_sound, tmp_path):
    path = make_sound("a.wav")
    write_manifest(tmp_path / "m.jsonl", [Utterance(id="a", audio_path=path, duration=0.1, text="one")])
    return str(tmp_path / "m.jsonl")


def test_a_source_is_a_manifest_or_packaged(manifest):
    assert [u.id for u in read_source(manifest)] == ["a"]
    assert read_source("packaged:dev") == packaged_recordings("dev")
    assert read_source("packaged:strings/test") == packaged_strings("test")


def test_sources_come_one_after_another(manifest):
    utterances = read_sources(["packaged:test", manifest])
    assert [u.id for u in utterances] == [*(r.id for r in packaged_recordings("test")), "a"]
    assert read_sources([]) == []


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("packaged:tset", ValueError, "no packaged recordings of the split 'tset'"),
        ("packaged:strings/train", ValueError, "no packaged strings 'train'"),
        ("none.jsonl", FileNotFoundError, "there is no manifest none.jsonl"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source, error, said):
    with pytest.raises(error, match=said):
        read_source(source)


def test_missing_files_of_a_manifest_are_named(manifest, tmp_path):
    (tmp_path / "a.wav").unlink()
    with pytest.raises(ValueError, match=r"m\.jsonl needs 1 file\(s\) that cannot be found: .*a\.wav"):
        read_source(manifest)
