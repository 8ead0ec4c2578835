import json

import numpy as np
import pytest
import soundfile

from sparrot.cli.main import run
from sparrot.corpora.manifest import Utterance, read_manifest, write_manifest
from sparrot.corpora.packaged import folder, packaged_recordings
from sparrot.corpora.strings import draw_strings
from sparrot.text import train_sentencepiece


@pytest.fixture
def sounds(tmp_path):
    """Two recordings of spoken digits, and a table of them."""
    for name in ("0_ann_0", "7_bob_12"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(4000, np.int16), 8000)
    (tmp_path / "t.csv").write_text("file,said\n0_ann_0.wav,Zero!\n7_bob_12.wav,Seven!\n")
    return tmp_path


def told(capsys):
    """What was printed on stderr, a single line."""
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


def test_prepare_prints_the_manifests(sounds, tmp_path, capsys):
    assert run(["data", "prepare", "fsdd", str(sounds), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == [str(tmp_path / "out" / f"{split}.jsonl") for split in ("test", "train")]
    assert [u.id for u in read_manifest(tmp_path / "out" / "train.jsonl")] == ["7_bob_12"]


def test_prepare_leaves_a_speaker_out(sounds, tmp_path):
    assert run(["data", "prepare", "fsdd", str(sounds), str(tmp_path / "out"), "--left-out", "ann"]) == 0
    assert [u.speaker for u in read_manifest(tmp_path / "out" / "left_out.jsonl")] == ["ann"]


def test_prepare_a_table(sounds, tmp_path):
    columns = ["--column", "audio=file", "--column", "text=said", "--normalise"]
    assert run(["data", "prepare", "table", str(sounds / "t.csv"), str(tmp_path / "out"), *columns]) == 0
    assert [u.text for u in read_manifest(tmp_path / "out" / "all.jsonl")] == ["zero", "seven"]


@pytest.mark.parametrize(
    ("corpus", "options", "sentence"),
    [
        ("fsd", [], "there is no corpus `fsd`: it must be one of an4, bass, fotaq, fsdd"),
        ("fsd", [], "Did you mean `fsdd`?"),
        ("an4", ["--left-out", "ann"], "--left-out has a meaning for fsdd only, not for an4"),
        ("fsdd", ["--normalise"], "--normalise has a meaning for kaldi and table only, not for fsdd"),
        ("fsdd", ["--column", "text=said"], "--column has a meaning for table only, not for fsdd"),
        ("table", ["--column", "txt=said"], "a field of audio, text, id, speaker, split; got txt=said"),
        ("table", ["--column", "text"], "--column needs FIELD=NAME"),
        ("fsdd", ["--left-out", "eve"], "cannot leave out 'eve'"),
        ("kaldi", [], "a Kaldi directory has a file `wav.scp`"),
        ("fotaq", [], "there is no manifest"),
        ("fsdd", ["--lft-out", "x"], "Did you mean `--left-out`?"),
    ],
)
def test_prepare_refuses_in_one_sentence(sounds, tmp_path, capsys, corpus, options, sentence):
    assert run(["data", "prepare", corpus, str(sounds), str(tmp_path / "out"), *options]) == 2
    assert sentence in told(capsys)
    assert not (tmp_path / "out").exists()


def test_strings_are_drawn_from_a_manifest_or_the_packaged_recordings(tmp_path, capsys):
    out = tmp_path / "deep" / "strings.jsonl"
    assert run(["data", "strings", "packaged:test", str(out), "--number", "12", "--seed", "5"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert read_manifest(out) == draw_strings(packaged_recordings("test"), 12, 5)
    again = ["data", "strings", str(folder() / "manifest.jsonl"), str(out), "--number", "7"]
    assert run(again) == 0
    assert len(read_manifest(out)) == 7
    assert run(["data", "strings", "packaged:test", str(out), "--number", "3"]) == 2
    assert "cannot draw 3 strings of 6 speakers" in capsys.readouterr().err


def test_check_of_a_clean_manifest(capsys):
    assert run(["data", "check", str(folder() / "strings-dev.jsonl"), "--tokens", "efghinorstuvwxz "]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("300 utterances, 0.222 h\n")
    assert printed.endswith("no problem found\n")


@pytest.fixture
def flawed(sounds, tmp_path):
    """A manifest with a clean line, one with a capital and one without a file."""
    path = tmp_path / "m.jsonl"
    write_manifest(
        path,
        [
            Utterance(id="a", audio_path=sounds / "0_ann_0.wav", duration=0.5, text="zero"),
            Utterance(id="b", audio_path=sounds / "7_bob_12.wav", duration=0.5, text="Seven"),
            Utterance(id="c", audio_path=sounds / "none.wav", duration=0.5, text="one"),
        ],
    )
    return path


def test_check_says_what_is_wrong(flawed, capsys):
    assert run(["data", "check", str(flawed), "--tokens", "enorsvz"]) == 1
    printed = capsys.readouterr().out
    assert "no token for 'S': 1 times\n" in printed
    assert "unreadable: 1\n" in printed
    assert "  b: no token for 'S' in 'Seven'\n" in printed
    assert "none.wav" in printed
    assert "no problem found" not in printed


def test_check_reports_lines_that_are_no_utterances_and_repeated_ids(flawed, capsys):
    clean, *others = flawed.read_text().splitlines()
    nan = '{"id": "d", "audio_path": "a.wav", "duration": NaN, "text": ""}'
    flawed.write_text("\n".join([clean, '{"id": "a"}', *others, nan, clean]) + "\n")
    assert run(["data", "check", str(flawed), "--json"]) == 1
    described = json.loads(capsys.readouterr().out)
    assert described["counts"] == {"malformed": 2, "duplicate": 2, "unreadable": 1}
    assert described["utterances"] == 4
    assert run(["data", "check", str(flawed)]) == 1
    printed = capsys.readouterr().out
    assert "  line 2: an utterance needs the field `duration`, which is missing\n" in printed
    assert "  line 5: `duration` must be a number of seconds from 0 to 1e+09; got nan\n" in printed
    assert "  a: another utterance has this id\n" in printed
    assert "  c: " in printed


def test_check_as_json(flawed, capsys):
    assert run(["data", "check", str(flawed), "--tokens", "enorsvz", "--json"]) == 1
    described = json.loads(capsys.readouterr().out)
    assert described["counts"] == {"unknown_character": 1, "unreadable": 1}
    assert described["utterances"] == 3


def test_check_takes_the_reduction_and_pieces(flawed, tmp_path, capsys):
    model = tmp_path / "pieces.model"
    model.write_bytes(train_sentencepiece(["zero one Seven", "Seven zero", "one one"], 12).model)
    assert run(["data", "check", str(flawed), "--tokens", str(model), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["counts"] == {"unreadable": 1}
    assert run(["data", "check", str(flawed), "--reduction", "20", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["counts"] == {"too_short": 2, "unreadable": 1}


def test_check_shows_a_few_of_many_problems(sounds, tmp_path, capsys):
    many = [
        Utterance(id=f"u{i}", audio_path=tmp_path / f"none-{i}.wav", duration=1.0, text="go")
        for i in range(50)
    ]
    write_manifest(tmp_path / "m.jsonl", many)
    assert run(["data", "check", str(tmp_path / "m.jsonl")]) == 1
    assert capsys.readouterr().out.endswith("  … and 30 more; --json has them all\n")


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (None, [], "there is no manifest"),
        ("", [], "is empty"),
        ("", ["--reduction", "0"], "--reduction"),
        ("", ["--tokens", "/none/pieces.model"], "pieces.model"),
    ],
)
def test_check_refuses_in_one_sentence(tmp_path, capsys, content, options, sentence):
    if content is not None:
        (tmp_path / "m.jsonl").write_text(content)
    assert run(["data", "check", str(tmp_path / "m.jsonl"), *options]) == 2
    assert sentence in told(capsys)
