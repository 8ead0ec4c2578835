import json

import pytest

from sparrot.corpora import table
from sparrot.corpora.manifest import read_manifest
from sparrot.corpora.table import Columns

SECOND = '{"audio_path": "wav/b.wav", "text": "no"}'


@pytest.fixture(autouse=True)
def sounds(make_sound):
    make_sound("wav/a.wav", 800)
    make_sound("wav/b.wav", 1600)


def test_a_csv_with_its_own_names(tmp_path):
    (tmp_path / "t.csv").write_text(
        "wav_filename,wav_filesize,transcript,client,part\n"
        'wav/a.wav,1644,"Go, on!",ann,dev\n'
        "wav/b.wav,9,No,bob,train\n"
    )
    columns = Columns(audio="wav_filename", text="transcript", speaker="client", split="part")
    manifests = table.prepare(tmp_path / "t.csv", tmp_path / "out", columns)
    assert set(manifests) == {"dev", "train"}
    [utterance] = read_manifest(manifests["dev"])
    assert (utterance.id, utterance.text, utterance.speaker, utterance.duration) == (
        "a",
        "Go, on!",
        "ann",
        0.1,
    )
    assert utterance.audio_path == tmp_path / "wav" / "a.wav"
    normal = table.prepare(tmp_path / "t.csv", tmp_path / "out", columns, normalised=True)
    assert read_manifest(normal["dev"])[0].text == "go on"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "audio_path\ttext\tkey\nwav/a.wav\tgo, on\t1\nwav/b.wav\tno\t2\n"),
        (
            "t.jsonl",
            json.dumps({"audio_path": "wav/a.wav", "text": "go, on", "key": 1})
            + "\n"
            + json.dumps({"audio_path": "wav/b.wav", "text": "no", "key": 2, "more": None})
            + "\n",
        ),
    ],
)
def test_other_forms_of_tables(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    manifests = table.prepare(tmp_path / name, tmp_path / "out", Columns(id="key"))
    assert set(manifests) == {"all"}
    assert [(u.id, u.text, u.duration, u.speaker) for u in read_manifest(manifests["all"])] == [
        ("1", "go, on", 0.1, None),
        ("2", "no", 0.2, None),
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "t.csv",
            "path,text\nwav/a.wav,go\n",
            "line 2: there is no column 'audio_path'; the columns are path, text",
        ),
        ("t.csv", "audio_path,text\nwav/a.wav\n", "line 2: there is no column 'text'"),
        ("t.jsonl", '{"audio_path": "wav/a.wav", "text": "go"}\n{"audio\n', "line 2: not a JSON object"),
        ("t.jsonl", "[1]\n", "line 1: there is no column 'audio_path'"),
        ("t.csv", "audio_path,text\nt.csv,go\n", r"line 2: cannot read .*t\.csv: not audio"),
        ("t.csv", "audio_path,text\n", "no utterance was found"),
        ("t.csv", "", "no utterance was found"),
        ("t.csv", "audio_path,text\nwav/a.wav,go, on\n", "line 2: the row has 3 cells, and the header has 2"),
        ("t.csv", 'audio_path,text\nwav/a.wav,"go" on\n', r"line 2: ',' expected after '\"'"),
        ("t.csv", 'audio_path,text\n\nwav/a.wav,"go\nwav/b.wav,no\n\n', "line 3: unexpected end of data"),
        ("t.csv", 'audio_path,text\nwav/a.wav,"go' + "x" * 200_000 + '"\n', "line 2: field larger than"),
        ("t.csv", 'audio_path,text\nwav/a.wav,"one\nwav/b.wav,two"\n', "line 2: its text 'one.*two' holds a"),
        ("t.tsv", "audio_path\ttext\nwav/a.wav\tone\rtwo\n", "line 3: there is no column 'text'"),
        ("t.jsonl", '{"audio_path": "wav/a.wav", "text": "a\\tb"}\n', "line 1: its text 'a.tb' holds a tab"),
        ("t.jsonl", '{"audio_path": "wav/a.wav", "text": "a\\u2028b"}\n', "holds a tab or a line break"),
        ("t.jsonl", "[" * 200_000 + "\n", "line 1: not a JSON object"),
        ("t.xlsx", "audio_path,text\n", r"a table is a file \.csv, \.tsv or \.jsonl"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=told):
        table.prepare(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_quote_in_a_tsv_is_a_character(tmp_path):
    (tmp_path / "t.tsv").write_text('audio_path\ttext\nwav/a.wav\t"one two\nwav/b.wav\tthree" x\n')
    manifests = table.prepare(tmp_path / "t.tsv", tmp_path / "out")
    assert [(u.id, u.text) for u in read_manifest(manifests["all"])] == [("a", '"one two'), ("b", 'three" x')]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "audio_path,text\r\n\r\nwav/a.wav,go\r\n\r\nwav/b.wav,no\r\n"),
        ("t.tsv", "audio_path\ttext\n\nwav/a.wav\tgo\nwav/b.wav\tno\n\n"),
        ("t.jsonl", '\n{"audio_path": "wav/a.wav", "text": "go"}\n \n' + SECOND + "\n\n"),
    ],
)
def test_blank_lines_and_a_byte_order_mark_are_ignored(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
    manifests = table.prepare(tmp_path / name, tmp_path / "out")
    assert [(u.id, u.text) for u in read_manifest(manifests["all"])] == [("a", "go"), ("b", "no")]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_that_is_not_utf_8_is_refused_by_its_name(tmp_path, name):
    rows = {
        "t.csv": "audio_path,text\nwav/a.wav,né\n",
        "t.jsonl": '\n{"audio_path": "wav/a.wav", "text": "né"}\n',
    }
    (tmp_path / name).write_bytes(rows[name].encode("latin-1"))
    with pytest.raises(ValueError, match=rf"cannot read .*{name}, line 2: byte \d+ of the line is not UTF-8"):
        table.prepare(tmp_path / name, tmp_path / "out")


def test_two_rows_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("audio_path,text\nwav/a.wav,go\nwav/a.wav,on\n")
    with pytest.raises(ValueError, match="1 ids are used twice, 'a' first"):
        table.prepare(tmp_path / "t.csv", tmp_path / "out")
