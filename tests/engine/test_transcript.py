import json

import pytest

from sparrot.engine import Final, Transcript, Word
from sparrot.engine.transcript import cues


def segment(number, *words):
    """A segment of words given as (text, start, end)."""
    return Final.of(number, tuple(Word(t, a, b, 0.87654321, "small") for t, a, b in words), "endpoint")


TWO = Transcript(
    (segment(0, ("one", 0.0104, 0.4), ("two", 0.5, 0.91)), segment(1, ("a<b", 3661.5, 3662.0))),
    3670.25,
    "small",
)
NOTHING = Transcript((), 0.01, "large")


def test_text_joins_segments():
    assert TWO.text == "one two a<b"
    assert [word.text for word in TWO.words] == ["one", "two", "a<b"]
    assert TWO.to_text() == "one two\na<b\n"


def test_a_final_sums_its_words_up():
    final = Final.of(4, (Word("a", 1.0, 2.0, 0.5, "x"), Word("b", 3.0, 4.0, 1.0, "y")), "limit")
    assert (final.segment, final.text, final.start, final.end) == (4, "a b", 1.0, 4.0)
    assert (final.confidence, final.reason) == (0.75, "limit")


def test_json():
    described = json.loads(json.dumps(TWO.to_json()))
    assert described["text"] == "one two a<b"
    assert described["duration"] == 3670.25
    assert described["level"] == "small"
    assert described["segments"][0] == {
        "text": "one two",
        "start": 0.01,
        "end": 0.91,
        "confidence": 0.8765,
        "reason": "endpoint",
        "words": [
            {"text": "one", "start": 0.01, "end": 0.4, "confidence": 0.8765, "level": "small"},
            {"text": "two", "start": 0.5, "end": 0.91, "confidence": 0.8765, "level": "small"},
        ],
    }


def test_srt():
    assert TWO.to_srt() == (
        "1\n00:00:00,010 --> 00:00:01,010\none two\n\n2\n01:01:01,500 --> 01:01:02,500\na<b\n"
    )


def test_vtt_escapes_what_begins_a_tag():
    assert TWO.to_vtt() == (
        "WEBVTT\n\n00:00:00.010 --> 00:00:01.010\none two\n\n01:01:01.500 --> 01:01:02.500\na&lt;b\n"
    )


def test_a_cue_is_shown_for_a_second_unless_the_next_one_comes_before():
    words = (("a", 0.0, 0.03), ("b", 0.2, 1.9), ("c", 2.0, 2.03))
    segments = tuple(segment(number, word) for number, word in enumerate(words))
    shown = [line for line in Transcript(segments, 2.1, "small").to_srt().splitlines() if "-->" in line]
    assert shown == [
        "00:00:00,000 --> 00:00:00,200",
        "00:00:00,200 --> 00:00:01,900",
        "00:00:02,000 --> 00:00:03,000",
    ]


def test_no_word_reaches_beyond_the_recording():
    heard = (segment(0, ("one", 0.01, 0.1)), segment(1, ("two", 0.2, 0.235), ("three", 0.235, 0.242)))
    clipped = Transcript.within(heard, 0.229, "small")
    assert [(word.start, word.end) for word in clipped.words] == [(0.01, 0.1), (0.2, 0.229), (0.229, 0.229)]
    assert (clipped.segments[1].start, clipped.segments[1].end) == (0.2, 0.229)
    assert clipped.segments[0] == heard[0]
    assert Transcript.within(heard, 0.242, "small") == Transcript(heard, 0.242, "small")


def test_nothing_heard_is_nothing_written():
    assert NOTHING.text == NOTHING.to_text() == NOTHING.to_srt() == ""
    assert NOTHING.to_vtt() == "WEBVTT\n"
    assert NOTHING.to_json()["segments"] == []


def words_of_cues(*words):
    return [[word.text for word in cue] for cue in cues(Transcript((segment(0, *words),), 100.0, "small"))]


def test_a_pause_over_a_second_cuts_a_cue():
    assert words_of_cues(("a", 0, 1), ("b", 2.0, 3), ("c", 4.1, 5)) == [["a", "b"], ["c"]]


def test_a_cue_lasts_at_most_seven_seconds():
    assert words_of_cues(("a", 0, 3), ("b", 3, 7), ("c", 7, 8), ("d", 8, 9)) == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(("length", "expected"), [(42, 1), (43, 2)])
def test_a_cue_has_at_most_84_characters(length, expected):
    assert len(words_of_cues(("x" * 41, 0, 1), ("y" * length, 1, 2))) == expected


def test_a_word_that_is_too_long_is_a_cue_of_its_own():
    assert words_of_cues(("a", 0, 9), ("b", 9, 10)) == [["a"], ["b"]]
