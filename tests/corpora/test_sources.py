import pytest

from sparrot.corpora.manifest import Utterance, write_manifest
from sparrot.corpora.packaged import packaged_recordings, packaged_strings
from sparrot.corpora.sources import read_source, read_sources


def test_packaged_recordings_and_strings_have_names():
    assert read_source("packaged:dev") == packaged_recordings("dev")
    assert read_source("packaged:strings/test") == packaged_strings("test")


def test_everything_else_is_the_path_of_a_manifest(make_sound, tmp_path):
    utterance = Utterance(id="a", audio_path=make_sound("a.wav"), duration=0.1, text="yes")
    write_manifest(tmp_path / "m.jsonl", [utterance])
    assert read_source(str(tmp_path / "m.jsonl")) == [utterance]
    both = read_sources([str(tmp_path / "m.jsonl"), "packaged:dev"])
    assert both == [utterance, *packaged_recordings("dev")]


@pytest.mark.parametrize("name", ["packaged:none", "packaged:strings/train", "none.jsonl"])
def test_what_is_not_there_is_refused(name):
    with pytest.raises((ValueError, FileNotFoundError), match="no packaged|no manifest"):
        read_source(name)
