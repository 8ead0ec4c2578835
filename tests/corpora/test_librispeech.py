import pytest

from sparrot.corpora import librispeech
from sparrot.corpora.manifest import read_manifest


@pytest.fixture
def source(make_sound, tmp_path):
    for subset, speaker, chapter in (("dev-clean", "84", "121123"), ("test-other", "367", "130732")):
        folder = f"LibriSpeech/{subset}/{speaker}/{chapter}"
        texts = []
        for number in (0, 1):
            name = f"{speaker}-{chapter}-{number:04d}"
            make_sound(f"{folder}/{name}.flac", 1600 * (number + 1), 16000)
            texts.append(f"{name} DON'T GO {'ON ' * number}".strip() + "\n")
        (tmp_path / folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(texts))
    (tmp_path / "LibriSpeech" / "README.TXT").write_text("about it")
    return tmp_path


def described(path):
    return [(u.id, u.text, u.speaker, u.split, u.duration) for u in read_manifest(path)]


@pytest.mark.parametrize("place", ["", "LibriSpeech"])
def test_every_subset_is_a_split(source, tmp_path, place):
    manifests = librispeech.prepare(source / place, tmp_path / "out")
    assert set(manifests) == {"dev-clean", "test-other"}
    assert described(manifests["dev-clean"]) == [
        ("84-121123-0000", "don't go", "84", "dev-clean", 0.1),
        ("84-121123-0001", "don't go on", "84", "dev-clean", 0.2),
    ]
    assert described(manifests["test-other"])[1][2:] == ("367", "test-other", 0.2)


def test_one_subset_alone(source, tmp_path, monkeypatch):
    monkeypatch.chdir(source / "LibriSpeech" / "dev-clean")
    manifests = librispeech.prepare(".", tmp_path / "out")
    assert [len(described(path)) for path in manifests.values()] == [2]
    assert set(manifests) == {"dev-clean"}


def test_what_is_missing_is_named(source, tmp_path):
    (source / "LibriSpeech/dev-clean/84/121123/84-121123-0001.flac").unlink()
    with pytest.raises(ValueError, match=r"121123\.trans\.txt, line 2: there is no 84-121123-0001\.flac"):
        librispeech.prepare(source, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no LibriSpeech in"):
        librispeech.prepare(tmp_path / "empty", tmp_path / "out")
