import dataclasses
import struct

import numpy as np
import pytest
import soundfile

from sparrot.corpora.check import Problem, check, check_manifest
from sparrot.corpora.manifest import Segment, Utterance
from sparrot.corpora.packaged import packaged_recordings, packaged_strings
from sparrot.text import CharacterTokens, train_sentencepiece

LETTERS = CharacterTokens(tuple("abcdefghijklmnopqrstuvwxyz' "))


@pytest.fixture
def utterance(make_sound):
    """A clean utterance of one second."""
    return Utterance(id="u", audio_path=make_sound("a.wav", 8000), duration=1.0, text="go on")


def kinds(report):
    return [(problem.kind, problem.utterance) for problem in report.problems]


def test_a_clean_manifest_is_measured(make_sound):
    utterances = [
        Utterance(id=str(n), audio_path=make_sound(f"{n}.wav", 80 * n), duration=n / 100, text="a")
        for n in range(50, 151)
    ]
    report = check(utterances, LETTERS)
    assert report.problems == ()
    assert report.n_utterances == 101
    assert report.hours == pytest.approx(101 / 3600)
    assert report.percentiles == pytest.approx({0: 0.5, 5: 0.55, 50: 1.0, 95: 1.45, 100: 1.5})


def test_the_packaged_recordings_are_clean():
    for utterances in (
        packaged_recordings("train"),
        packaged_recordings("dev"),
        packaged_strings("dev")[::9],
    ):
        assert check(utterances, LETTERS).problems == ()


def test_files_that_cannot_be_read_are_found(utterance, tmp_path, make_sound):
    (tmp_path / "text.wav").write_text("no audio at all")
    cut = make_sound("cut.flac", 80_000)
    cut.write_bytes(cut.read_bytes()[:-2000])
    broken = [
        dataclasses.replace(utterance, id=name, audio_path=tmp_path / f"{name}")
        for name in ("text.wav", "none.wav", "cut.flac")
    ]
    report = check([utterance, *broken])
    assert kinds(report) == [
        ("unreadable", "text.wav"),
        ("unreadable", "none.wav"),
        ("unreadable", "cut.flac"),
    ]
    assert report.durations == (1.0,)
    assert report.n_utterances == 4


@pytest.mark.parametrize(("value", "named"), [(np.nan, "nan"), (np.inf, "inf")])
def test_samples_that_are_not_finite_are_found(utterance, tmp_path, value, named):
    samples = np.zeros(8000, np.float32)
    samples[4321] = value
    soundfile.write(tmp_path / "float.wav", samples, 8000, "FLOAT")
    report = check([dataclasses.replace(utterance, audio_path=tmp_path / "float.wav")])
    told = f"sample 4321 is {named}; samples must be finite"
    assert report.problems == (Problem("unreadable", "u", told),)
    assert report.durations == ()


def test_features_are_read_too(tmp_path):
    path = tmp_path / "a.mfc"
    path.write_bytes(struct.pack(">i", 130) + bytes(130 * 4))
    given = Utterance(id="a", feature_path=path, duration=0.1, text="go on")
    assert check([given]).problems == ()
    assert check([given]).durations == (0.1,)
    assert check([dataclasses.replace(given, text="xy" * 5)]).problems == ()
    assert kinds(check([dataclasses.replace(given, text="xy" * 5 + "x")])) == [("too_short", "a")]
    path.write_bytes(path.read_bytes()[:-1])
    assert kinds(check([given])) == [("unreadable", "a")]
    np.save(tmp_path / "a.npy", np.zeros((10, 7), np.float32))
    assert check([dataclasses.replace(given, feature_path=tmp_path / "a.npy")]).durations == (0.1,)


def test_a_wrong_duration_is_found_beyond_50_ms(utterance):
    for declared, n_found in ((0.951, 0), (1.049, 0), (0.949, 1), (1.051, 1)):
        report = check([dataclasses.replace(utterance, duration=declared)])
        assert kinds(report) == [("wrong_duration", "u")] * n_found
        assert report.durations == (1.0,)
    assert report.problems[0].explanation == "the manifest says 1.051 s, the file has 1.000 s"


def test_the_duration_of_joined_segments_is_that_of_their_sound(utterance):
    segment = Segment(audio_path=utterance.audio_path, start=0.0, duration=0.5, gap=0.25)
    string = Utterance(id="s", segments=(segment, segment), tail=0.5, duration=2.0, text="go")
    assert check([string]).durations == (2.0,)
    assert kinds(check([dataclasses.replace(string, duration=1.5)])) == [("wrong_duration", "s")]


def test_characters_without_a_token_are_counted(utterance):
    others = [dataclasses.replace(utterance, id=name, start=0.0, text=text) for name, text in
              (("v", "Go: up, ON"), ("w", "a, b,"))]  # fmt: skip
    others[1] = dataclasses.replace(others[1], start=0.1, duration=0.9)
    report = check([utterance, *others], LETTERS)
    assert report.characters == {",": 3, "G": 1, ":": 1, "O": 1, "N": 1}
    assert kinds(report) == [("unknown_character", "v"), ("unknown_character", "w")]
    assert report.problems[0].explanation == "no token for ',' ':' 'G' 'N' 'O' in 'Go: up, ON'"
    assert report.problems[1].explanation == "no token for ',' in 'a, b,'"
    assert check([utterance, *others]).problems == ()


def test_sentencepiece_tokens_will_do(utterance):
    tokens = train_sentencepiece(["go on", "no go", "on and on", "good dog"], 9)
    found = check([utterance, dataclasses.replace(utterance, id="v", start=0.0, text="go xy")], tokens)
    assert kinds(found) == [("unknown_character", "v")]
    assert found.characters == {"x": 1, "y": 1}


@pytest.mark.parametrize(
    ("n_samples", "text", "reduction", "n_frames"),
    [
        (8000, "x" * 49 + "y", 1, None),  # 98 frames of one second: 49 letters, 48 repeats, one letter
        (8000, "x" * 50, 1, 98),  # 99 needed
        (8000, "xy" * 25, 2, 49),  # 50 needed
        (8000, "xy" * 24 + "x", 2, None),
        (8000, "xy" * 16 + "x", 3, None),  # 33 frames: the last one is not full
        (8000, "xy" * 17, 3, 33),
        (200, "x", 1, None),  # exactly one window of 25 ms
        (199, "x", 1, 0),
        (279, "xy", 1, 1),
        (280, "xy", 1, None),
        (360, "xyz", 1, None),  # 1 + (0.045 − 0.025) / 0.010 is just under 3 in floating point
    ],
)
def test_a_text_needs_a_frame_a_token_and_one_between_equal_ones(
    make_sound, n_samples, text, reduction, n_frames
):
    given = Utterance(id="u", audio_path=make_sound("a.wav", n_samples), duration=n_samples / 8000, text=text)
    report = check([given], LETTERS, reduction=reduction)
    assert kinds(report) == ([] if n_frames is None else [("too_short", "u")])
    if n_frames is not None:
        assert f"are {n_frames} output frames" in report.problems[0].explanation


def test_pieces_are_counted_not_characters(make_sound):
    tokens = train_sentencepiece(["zero one two", "zero zero", "one two zero", "two one"], 12)
    text = "zero one"
    n_pieces = len(tokens.encode(text))
    assert n_pieces < 6
    n_samples = 200 + 80 * (n_pieces - 1)
    given = Utterance(id="u", audio_path=make_sound("a.wav", n_samples), duration=n_samples / 8000, text=text)
    assert check([given], tokens).problems == ()
    assert kinds(check([given])) == [("too_short", "u")]


def test_empty_texts_and_duplicates_are_found(utterance, make_sound):
    utterances = [
        utterance,
        dataclasses.replace(utterance, text=" "),
        dataclasses.replace(utterance, id="v", audio_path=make_sound("b.wav", 8000)),
        dataclasses.replace(utterance, id="w", start=0.5, duration=0.5),
        dataclasses.replace(utterance, id="x", start=0.5, duration=0.5),
    ]
    assert kinds(check(utterances)) == [
        ("duplicate", "u"),
        ("duplicate", "u"),
        ("duplicate", "x"),
        ("no_text", "u"),
    ]
    assert check(utterances).problems[2] == Problem("duplicate", "x", "it is the same recording as 'w'")


def test_sound_without_a_frame_is_too_short_for_any_text(make_sound):
    given = Utterance(id="u", audio_path=make_sound("a.wav", 199), duration=199 / 8000, text="")
    assert kinds(check([given])) == [("no_text", "u"), ("too_short", "u")]


def test_the_report_as_json(utterance, tmp_path):
    broken = dataclasses.replace(utterance, id="v", audio_path=tmp_path / "none.wav", text="a-b")
    described = check([utterance, broken], LETTERS).to_json()
    assert described["utterances"] == 2
    assert described["hours"] == pytest.approx(1 / 3600)
    assert described["duration_percentiles"] == {"0": 1.0, "5": 1.0, "50": 1.0, "95": 1.0, "100": 1.0}
    assert described["unknown_characters"] == {"-": 1}
    assert described["counts"] == {"unknown_character": 1, "unreadable": 1}
    assert described["problems"][0] == {
        "kind": "unknown_character",
        "utterance": "v",
        "explanation": "no token for '-' in 'a-b'",
    }


def test_nothing_readable_has_no_percentiles(utterance, tmp_path):
    report = check([dataclasses.replace(utterance, audio_path=tmp_path / "none.wav")])
    assert (report.percentiles, report.hours) == ({}, 0)


def test_a_reduction_below_one_is_refused(utterance):
    with pytest.raises(ValueError, match="1 or more; got 0"):
        check([utterance], reduction=0)


def test_every_line_of_a_manifest_is_checked(utterance, tmp_path):
    lines = [
        '{"id": "a", "audio_path": "a.wav", "duration": 1.0, "text": "go"}',
        "",
        '{"id": "b", "audio_path"',
        '{"id": "a", "audio_path": "none.wav", "duration": 1.0, "text": "on"}',
        '{"id": "c", "audio_path": "a.wav", "duration": 1.0}',
        '{"id": "d", "audio_path": "a.wav", "duration": 1.5, "text": "no"}',
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(lines) + "\n")
    report = check_manifest(path, LETTERS)
    assert kinds(report) == [
        ("malformed", "line 3"),
        ("malformed", "line 5"),
        ("duplicate", "a"),
        ("duplicate", "d"),
        ("unreadable", "a"),
        ("wrong_duration", "d"),
    ]
    assert report.problems[1].explanation == "an utterance needs the field `text`, which is missing"
    assert report.n_utterances == 3
    assert report.durations == (1.0, 1.0)


def test_a_manifest_of_malformed_lines_alone_has_a_report(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"[" * 200_000 + b"\n\xff\n1\n")
    report = check_manifest(tmp_path / "m.jsonl")
    assert kinds(report) == [("malformed", "line 1"), ("malformed", "line 2"), ("malformed", "line 3")]
    assert report.n_utterances == 0
