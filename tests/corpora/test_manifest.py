import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.corpora.manifest import (
    Segment,
    Utterance,
    missing_files,
    read_leniently,
    read_manifest,
    write_manifest,
    write_splits,
)

LINE = {"id": "a", "audio_path": "a.wav", "duration": 1.5, "text": "yes"}
SEGMENT = {"audio_path": "a.wav", "start": 0.5, "duration": 1.0, "gap": 0.25}
JOINED = {"id": "a", "segments": [SEGMENT], "tail": 0.5, "duration": 1.75, "text": "yes"}


def manifest_of(folder: Path, *lines: object) -> Path:
    path = folder / "m.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def read(folder: Path, *lines: object) -> list[Utterance]:
    return read_manifest(manifest_of(folder, *lines), require_files=False)


def test_a_line_is_read_with_an_absolute_path_and_its_other_fields(tmp_path):
    [utterance] = read(tmp_path, LINE | {"speaker": "fash", "split": "dev", "start": 2, "source": "X.DOG"})
    assert utterance == Utterance(
        id="a",
        audio_path=tmp_path / "a.wav",
        start=2,
        duration=1.5,
        text="yes",
        speaker="fash",
        split="dev",
        others={"source": "X.DOG"},
    )


def test_segments_are_read(tmp_path):
    [utterance] = read(tmp_path, JOINED)
    assert utterance.tail == 0.5
    assert utterance.segments == (Segment(audio_path=tmp_path / "a.wav", start=0.5, duration=1.0, gap=0.25),)
    assert utterance.paths() == [tmp_path / "a.wav"]


def test_the_order_is_kept_and_blank_lines_count_as_lines(tmp_path):
    assert [u.id for u in read(tmp_path, LINE | {"id": "b"}, "\n", LINE)] == ["b", "a"]
    with pytest.raises(ValueError, match=r"m\.jsonl, line 3: "):
        read(tmp_path, LINE, "\n", {})


def without(line: dict, field: str) -> dict:
    return {name: value for name, value in line.items() if name != field}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "a", \n', "not a JSON object"),
        ("[" * 200_000 + "\n", "not a JSON object (it is nested too deeply)"),
        ("9" * 5000 + "\n", "Exceeds the limit"),
        ("[1]\n", "an utterance is a JSON object, not [1]"),
        (without(LINE, "id"), "needs the field `id`, which is missing"),
        (without(LINE, "text"), "needs the field `text`"),
        (without(LINE, "duration"), "needs the field `duration`"),
        (LINE | {"text": None}, "needs the field `text`"),
        (LINE | {"text": 7}, "`text` must be a string; got 7"),
        (LINE | {"duration": "1.5"}, "`duration` must be a number of seconds; got '1.5'"),
        (LINE | {"duration": True}, "`duration` must be a number of seconds; got True"),
        (
            LINE | {"duration": float("nan")},
            "`duration` must be a number of seconds from 0 to 1e+09; got nan",
        ),
        (LINE | {"duration": float("inf")}, "got inf"),
        (LINE | {"duration": 10**400}, "`duration` must be a number of seconds from 0"),
        (LINE | {"duration": -0.1}, "got -0.1"),
        (LINE | {"start": -1}, "`start` must be a number of seconds from 0"),
        (LINE | {"speaker": 3}, "`speaker` must be a string"),
        (LINE | {"id": ""}, "`id` is empty"),
        (
            without(LINE, "audio_path"),
            "exactly one of `audio_path`, `feature_path` and `segments`; this one has 0",
        ),
        (LINE | {"feature_path": "a.mfc"}, "this one has 2"),
        (JOINED | {"start": 1.0}, "`start` has a meaning only beside `audio_path`"),
        (JOINED | {"segments": SEGMENT}, "`segments` must be a list"),
        (JOINED | {"segments": ["a.wav"]}, "a segment is a JSON object, not 'a.wav'"),
        (JOINED | {"segments": [without(SEGMENT, "gap")]}, "a segment needs the field `gap`"),
        (JOINED | {"segments": [SEGMENT | {"speed": 2}]}, "audio_path, start, duration, gap; got `speed`"),
        (JOINED | {"segments": [SEGMENT | {"gap": -1.0}]}, "`gap` must be a number of seconds from 0"),
        (JOINED | {"tail": float("nan")}, "`tail` must be a number of seconds from 0"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, told):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, LINE | {"id": "first"}, line)
    assert str(caught.value).startswith(f"cannot read {tmp_path / 'm.jsonl'}, line 2: ")
    assert told in str(caught.value)


def test_two_lines_with_one_id_are_both_named(tmp_path):
    with pytest.raises(ValueError, match=r"line 3: the id 'a' is also on line 1"):
        read(tmp_path, LINE, LINE | {"id": "b"}, LINE)


def test_manifests_that_are_missing_empty_or_no_text_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no manifest"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="is empty"):
        read(tmp_path, "\n")
    (tmp_path / "x.jsonl").write_bytes(b'{"id": "\xff"}')
    with pytest.raises(ValueError, match=r"line 1: byte 8 of the line is not UTF-8"):
        read_manifest(tmp_path / "x.jsonl")


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(LINE), encoding="utf-8-sig")
    assert [u.id for u in read_manifest(path, require_files=False)] == ["a"]


def test_lenient_reading_returns_the_good_lines_and_what_is_wrong_with_the_others(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n\n[1]\n{json.dumps(LINE)}\n")
    utterances, wrong = read_leniently(path)
    assert [u.id for u in utterances] == ["a", "a"]
    assert wrong == {3: "an utterance is a JSON object, not [1]"}
    path.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        read_leniently(path)


def test_missing_files_are_counted_at_once_and_the_first_named(tmp_path):
    (tmp_path / "2.wav").touch()
    path = manifest_of(tmp_path, *({**LINE, "id": str(i), "audio_path": f"{i}.wav"} for i in range(6)))
    with pytest.raises(ValueError) as caught:
        read_manifest(path)
    told = str(caught.value)
    assert "needs 5 file(s) that cannot be found" in told
    assert all(str(tmp_path / f"{i}.wav") in told for i in (0, 1, 3))
    assert str(tmp_path / "4.wav") not in told
    assert len(read_manifest(path, require_files=False)) == 6


def test_a_file_that_several_need_is_missing_once(tmp_path):
    twice = read(tmp_path, LINE, LINE | {"id": "b"}, JOINED | {"id": "c"})
    assert missing_files(twice) == [tmp_path / "a.wav"]


seconds = st.floats(0, 1e6)
names = st.text(min_size=1)


@st.composite
def utterances(draw: st.DrawFn, folder: Path) -> Utterance:
    kind = draw(st.sampled_from(["audio", "part", "features", "segments"]))
    path = folder / draw(st.sampled_from(["a.wav", "b/a.wav", "../a.wav"]))
    source: dict = {
        "audio": {"audio_path": path},
        "part": {"audio_path": path, "start": draw(seconds)},
        "features": {"feature_path": path},
        "segments": {
            "segments": (
                Segment(audio_path=path, start=draw(seconds), duration=draw(seconds), gap=draw(seconds)),
            ),
            "tail": draw(seconds),
        },
    }[kind]
    return Utterance(
        id=draw(names),
        duration=draw(seconds),
        text=draw(st.text()),
        speaker=draw(st.none() | names),
        split=draw(st.none() | names),
        others=draw(st.dictionaries(st.sampled_from(["source", "section"]), st.integers() | st.text())),
        **source,
    )


@settings(max_examples=40, deadline=None)  # every example reaches the disk
@given(data=st.data())
def test_what_is_written_is_read_again(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "round" / "trip"
    written = data.draw(st.lists(utterances(folder), min_size=1, max_size=4, unique_by=lambda u: u.id))
    write_manifest(folder / "m.jsonl", written)
    for before, after in zip(written, read_manifest(folder / "m.jsonl", require_files=False), strict=True):
        normal = {path: Path(str(path).replace("trip/../", "")) for path in before.paths()}
        segments = tuple(dataclasses.replace(s, audio_path=normal[s.audio_path]) for s in before.segments)
        paths = {
            name: normal[path]
            for name in ("audio_path", "feature_path")
            if (path := getattr(before, name)) is not None
        }
        assert after == dataclasses.replace(before, segments=segments, **paths)


def test_paths_are_written_relative_to_the_manifest(tmp_path):
    utterance = Utterance(id="a", audio_path=tmp_path / "wav" / "a.wav", duration=1.0, text="yes")
    write_manifest(tmp_path / "lists" / "deep" / "m.jsonl", [utterance])
    assert json.loads((tmp_path / "lists" / "deep" / "m.jsonl").read_text()) == {
        "id": "a",
        "duration": 1.0,
        "text": "yes",
        "audio_path": "../../wav/a.wav",
    }


def test_a_manifest_in_a_linked_folder_finds_its_files(tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    (tmp_path / "a.wav").touch()
    write_manifest(
        tmp_path / "link" / "m.jsonl", [Utterance(id="a", audio_path=tmp_path / "a.wav", duration=1, text="")]
    )
    assert read_manifest(tmp_path / "link" / "m.jsonl")[0].audio_path == tmp_path / "a.wav"
    assert read_manifest(tmp_path / "real" / "deep" / "m.jsonl")[0].audio_path == tmp_path / "a.wav"


def test_nothing_is_written_for_no_utterance_or_repeated_ids(tmp_path):
    utterance = Utterance(id="a", audio_path=tmp_path / "a.wav", duration=1.0, text="yes")
    with pytest.raises(ValueError, match="no utterance was found"):
        write_manifest(tmp_path / "m.jsonl", [])
    with pytest.raises(ValueError, match="1 ids are used twice, 'a' first"):
        write_manifest(tmp_path / "m.jsonl", [utterance, utterance])
    with pytest.raises(ValueError, match="no utterance was found"):
        write_splits(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_no_split_is_written_if_one_cannot_be(tmp_path):
    utterance = Utterance(id="a", audio_path=tmp_path / "a.wav", duration=1.0, text="yes", split="train")
    twice = [dataclasses.replace(utterance, split="dev")] * 2
    with pytest.raises(ValueError, match=r"dev\.jsonl: 1 ids are used twice, 'a' first"):
        write_splits(tmp_path / "out", [utterance, *twice])
    unwritable = dataclasses.replace(utterance, split="dev", text="\ud800")
    with pytest.raises(ValueError, match="surrogates"):
        write_splits(tmp_path / "out", [utterance, unwritable])
    assert list(tmp_path.iterdir()) == []


def test_splits_become_files(tmp_path):
    utterance = Utterance(id="a", audio_path=tmp_path / "a.wav", duration=1.0, text="yes", split="dev")
    others = [dataclasses.replace(utterance, id="b", split=None), dataclasses.replace(utterance, id="c")]
    paths = write_splits(tmp_path / "out", [utterance, *others])
    assert paths == {"dev": tmp_path / "out" / "dev.jsonl", "all": tmp_path / "out" / "all.jsonl"}
    assert [u.id for u in read_manifest(paths["dev"], require_files=False)] == ["a", "c"]


@pytest.mark.parametrize("split", ["../dev", "a/b", ".hidden", "a b"])
def test_a_split_that_cannot_be_a_file_is_refused(tmp_path, split):
    utterance = Utterance(id="a", audio_path=tmp_path / "a.wav", duration=1.0, text="yes", split=split)
    with pytest.raises(ValueError, match="a split cannot be called"):
        write_splits(tmp_path / "out", [utterance])
    assert not (tmp_path / "out").exists()
