import json

import pytest

from sparrot.corpora import games
from sparrot.corpora.manifest import Utterance, read_manifest


def write_corpus(folder, make_sound, rows):
    make_sound(f"{folder.name}/a.wav", 800)
    line = {"audio_path": "a.wav", "duration": 9.0, "text": "go", "speaker": "joe"}
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line | row) + "\n" for row in rows))


def splits(manifests):
    return {split: [u.id for u in read_manifest(path)] for split, path in manifests.items()}


def test_dev_of_fotaq_is_halved_by_dialogue_file(tmp_path, make_sound):
    # sha256("fotaq/JAS") = 5b…, sha256("fotaq/PRIN1.DOG") = 99…
    rows = [
        {"id": f"{split}-{source}-{i}", "split": split, "source": source}
        for split in ("train", "dev")
        for source in ("JAS", "PRIN1.DOG")
        for i in (1, 2)
    ]
    source = tmp_path / "fotaq"
    source.mkdir()
    write_corpus(source, make_sound, rows)
    assert splits(games.prepare_fotaq(source, tmp_path / "out")) == {
        "train": ["train-JAS-1", "train-JAS-2", "train-PRIN1.DOG-1", "train-PRIN1.DOG-2"],
        "tune": ["dev-JAS-1", "dev-JAS-2"],
        "final": ["dev-PRIN1.DOG-1", "dev-PRIN1.DOG-2"],
    }
    assert read_manifest(tmp_path / "out" / "tune.jsonl")[0].duration == 0.1


def bass_line(number, section):
    return Utterance(
        id=number,
        duration=1.0,
        text="",
        audio_path="/a.flac",
        others={} if section is None else {"section": section},
    )


@pytest.mark.parametrize(
    ("number", "section", "source"),
    [
        ("50007", 0, "bass/0/0"),
        ("50031", 0, "bass/0/0"),
        ("50032", 0, "bass/0/1"),
        ("50601", 1, "bass/1/0"),
        ("50632", 1, "bass/1/1"),
        ("53392", 4, "bass/4/0"),
        ("53411", 4, "bass/4/0"),
        ("53412", 4, "bass/4/1"),
    ],
)
def test_a_block_of_bass_is_32_texts_of_a_section(number, section, source):
    assert games.bass_source(bass_line(number, section)) == source


def test_dev_of_bass_is_halved_by_block(tmp_path, make_sound):
    # sha256("bass/0/0") = 73…, of "bass/0/1" = 33…, of "bass/0/3" = b2…
    numbers = [50000 + 32 * block + offset for block in (0, 1, 3) for offset in (0, 31)]
    rows = [{"id": str(number), "split": "dev", "section": 0} for number in numbers]
    source = tmp_path / "bass"
    source.mkdir()
    write_corpus(source, make_sound, rows)
    assert splits(games.prepare_bass(source, tmp_path / "out")) == {
        "tune": ["50000", "50031", "50032", "50063"],
        "final": ["50096", "50127"],
    }


def test_a_line_that_does_not_say_its_source_is_refused():
    with pytest.raises(ValueError, match="'x' of Flight of the Amazon Queen lacks the field `source`"):
        games.fotaq_source(bass_line("x", None))
    for number, section in (("x", 0), ("50007", None), ("50007", 8), ("50007", "0")):
        with pytest.raises(ValueError, match=f"{number!r} of Beneath a Steel Sky needs a number as id"):
            games.bass_source(bass_line(number, section))


def test_about_half_of_many_sources_go_to_each_half():
    halves = [games.half_of(f"fotaq/{i}.DOG") for i in range(1000)]
    assert set(halves) == {"tune", "final"}
    assert 450 <= halves.count("tune") <= 550
