import pytest

from sparrot.corpora import fsdd
from sparrot.corpora.manifest import read_manifest


@pytest.fixture
def source(make_sound, tmp_path):
    for speaker in ("ann", "bob"):
        for digit in (0, 9):
            for index in (0, 4, 5, 9, 10, 49):
                make_sound(f"fsdd/recordings/{digit}_{speaker}_{index}.wav", 80 + index)
    (tmp_path / "fsdd" / "recordings" / "notes.wav").write_text("no recording")
    return tmp_path / "fsdd"


def ids(path):
    return [utterance.id for utterance in read_manifest(path)]


def test_the_index_decides_the_split(source, tmp_path):
    manifests = fsdd.prepare(source, tmp_path / "out")
    assert set(manifests) == {"train", "dev", "test"}
    for split, indices in (("test", (0, 4)), ("dev", (5, 9)), ("train", (10, 49))):
        expected = [f"{digit}_{name}_{i}" for name in ("ann", "bob") for digit in (0, 9) for i in indices]
        assert ids(manifests[split]) == expected


def test_a_recording_has_its_text_speaker_and_duration(source, tmp_path):
    last = read_manifest(fsdd.prepare(source, tmp_path / "out")["train"])[-1]
    assert (last.id, last.text, last.speaker, last.split) == ("9_bob_49", "nine", "bob", "train")
    assert last.duration == 129 / 8000
    assert last.audio_path == source / "recordings" / "9_bob_49.wav"


def test_a_speaker_can_be_left_out(source, tmp_path):
    manifests = fsdd.prepare(source, tmp_path / "out", left_out="ann")
    assert len(ids(manifests["left_out"])) == 12
    for split in ("train", "dev", "test"):
        assert {utterance.speaker for utterance in read_manifest(manifests[split])} == {"bob"}


def test_unknown_speakers_and_empty_folders_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"cannot leave out 'eve': the speakers in .* are ann, bob"):
        fsdd.prepare(source, tmp_path / "out", left_out="eve")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no recording in"):
        fsdd.prepare(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_digits_and_indices_are_numbers(source):
    recordings = fsdd.recordings(source)
    assert [fsdd.digit_and_index(r) for r in recordings[:7]] == [
        (0, 0), (0, 4), (0, 5), (0, 9), (0, 10), (0, 49), (9, 0),
    ]  # fmt: skip
