from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.corpora.manifest import Utterance
from sparrot.corpora.packaged import folder, packaged_recordings, packaged_strings
from sparrot.corpora.packaging import packaged_list
from sparrot.corpora.strings import StringShape, draw_strings, training_strings

RECORDINGS = packaged_recordings("test")


def recordings_of(counts: list[int]) -> list[Utterance]:
    """Recordings of as many speakers as there are counts."""
    return [
        Utterance(
            id=f"{speaker}-{index}",
            audio_path=Path(f"/{speaker}.wav"),
            start=index / 8,
            duration=0.125,
            text="one two"[: 3 + 4 * (index % 2)],
            speaker=f"s{speaker}",
            split="test",
        )
        for speaker, count in enumerate(counts)
        for index in range(count)
    ]


def uses(strings: list[Utterance]) -> Counter:
    return Counter(name for string in strings for name in string.others["recordings"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(4, 30), min_size=1, max_size=5), st.integers(1, 200), st.integers(0, 5))
def test_every_recording_is_used_equally_often(counts, n_strings, seed):
    recordings = recordings_of([max(counts)] * len(counts))
    n_strings = max(n_strings, len(counts))
    strings = draw_strings(recordings, n_strings, seed)
    assert len(strings) == len({string.id for string in strings}) == n_strings
    used = uses(strings)
    each = [used[recording.id] for recording in recordings]
    assert max(each) - min(each) <= 1
    assert sum(each) == pytest.approx(4 * n_strings, abs=len(counts))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(10, 60), min_size=1, max_size=5), st.integers(0, 5))
def test_speakers_with_more_recordings_have_more_strings(counts, seed):
    recordings = recordings_of(counts)
    strings = draw_strings(recordings, len(recordings), seed)
    used = uses(strings)
    assert max(used.values()) - min(used[recording.id] for recording in recordings) <= 1
    n_of = Counter(string.speaker for string in strings)
    for speaker, count in enumerate(counts):
        assert n_of[f"s{speaker}"] == pytest.approx(count, abs=2)


def test_a_string_is_of_one_speaker_and_says_what_its_segments_say():
    by_id = {recording.id: recording for recording in RECORDINGS}
    for string in draw_strings(RECORDINGS, 600, 7):
        parts = [by_id[name] for name in string.others["recordings"]]
        assert {part.speaker for part in parts} == {string.speaker}
        assert string.text == " ".join(part.text for part in parts)
        assert string.split == "test"
        for part, segment in zip(parts, string.segments, strict=True):
            assert (part.audio_path, part.start, part.duration) == (
                segment.audio_path, segment.start, segment.duration,
            )  # fmt: skip
        total = sum(segment.gap + segment.duration for segment in string.segments) + string.tail
        assert string.duration == pytest.approx(total, abs=1e-6)


def test_silences_fill_their_ranges_in_whole_milliseconds():
    silences = defaultdict(list)
    for string in draw_strings(RECORDINGS, 3000, 7):
        silences["lead-in"].append(string.segments[0].gap)
        silences["gap"] += [segment.gap for segment in string.segments[1:]]
        silences["tail"].append(string.tail)
    in_ms = {name: {round(1000 * value, 6) for value in values} for name, values in silences.items()}
    assert in_ms == {
        "lead-in": set(range(100, 301)),
        "gap": set(range(50, 301)),
        "tail": set(range(100, 301)),
    }


def test_lengths_are_spread_evenly():
    lengths = Counter(len(string.segments) for string in draw_strings(RECORDINGS, 600, 7))
    assert set(lengths) == set(range(1, 8))
    assert all(75 <= n <= 96 for n in lengths.values())  # 600 / 7 = 86


def test_speakers_are_mixed():
    first = Counter(string.speaker for string in draw_strings(RECORDINGS, 600, 7)[:60])
    assert len(first) == 6


def test_the_seed_decides_and_the_order_of_recordings_does_not():
    drawn = draw_strings(RECORDINGS, 50, 3)
    assert draw_strings(RECORDINGS[::-1], 50, 3) == drawn
    assert [s.text for s in draw_strings(RECORDINGS, 50, 4)] != [s.text for s in drawn]


def test_training_strings_are_fresh_in_every_epoch():
    texts = [
        [string.text for string in training_strings(RECORDINGS, 60, seed, epoch)]
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0), (11, 1), (1, 11))
    ]
    assert texts[0] == texts[3]
    assert len({tuple(text) for text in texts}) == 5


def test_trimmed_strings_lose_up_to_a_share_of_half_their_starts_and_ends():
    whole = {r.id: r for r in RECORDINGS}
    lost = []
    for string in training_strings(RECORDINGS, 300, 0, 0, StringShape(trim=0.25)):
        for name, segment in zip(string.others["recordings"], string.segments, strict=True):
            recording = whole[name]
            before = segment.start - (recording.start or 0.0)
            lost += [before / recording.duration, 1 - (before + segment.duration) / recording.duration]
        words = sum(s.gap + s.duration for s in string.segments)
        assert string.duration == pytest.approx(words + string.tail, abs=1e-5)
    cut = [share for share in lost if share > 1e-5]
    assert 0.45 < len(cut) / len(lost) < 0.55
    assert max(cut) <= 0.25 + 1e-5
    assert 0.11 < sum(cut) / len(cut) < 0.14  # half of the most
    assert min(lost) > -1e-5
    with pytest.raises(ValueError, match=r"`trim` is at least 0 and below 0.5"):
        StringShape(trim=0.5)


@pytest.mark.parametrize("trim", [0.0, 0.3])
def test_rotated_strings_end_some_recordings_with_their_start(trim):
    whole = {r.id: r for r in RECORDINGS}
    n_rotated, n_words, points = 0, 0, []
    for string in training_strings(RECORDINGS, 300, 0, 0, StringShape(trim=trim, rotate=0.25)):
        words = list(string.segments)
        assert words[0].gap >= 0.1
        assert string.duration == pytest.approx(
            sum(s.gap + s.duration for s in words) + string.tail, abs=1e-5
        )
        for name in string.others["recordings"]:
            recording, first = whole[name], words.pop(0)
            begin, n_words = recording.start or 0.0, n_words + 1
            assert first.audio_path == recording.audio_path
            if words and words[0].gap == 0.0:  # gaps between recordings are at least 50 ms
                second, n_rotated = words.pop(0), n_rotated + 1
                assert first.start + first.duration == pytest.approx(begin + recording.duration)
                assert second.start == pytest.approx(begin)
                assert second.start + second.duration <= first.start + 2e-6
                points.append((first.start - begin) / recording.duration)
            assert begin - 1e-9 <= first.start
            assert first.start + first.duration <= begin + recording.duration + 1e-6
        assert not words
    assert 0.19 < n_rotated / n_words < 0.3
    assert 0.45 < sum(points) / len(points) < 0.55 + trim / 4
    with pytest.raises(ValueError, match=r"`rotate` is a share between 0 and 1; got 1.5"):
        StringShape(rotate=1.5)


def test_another_shape():
    shape = StringShape(digits=(2, 3), lead_in_ms=(0, 0), gap_ms=(10, 10), tail_ms=(5, 5))
    for string in draw_strings(RECORDINGS, 120, 0, shape):
        assert [segment.gap for segment in string.segments] == [0.0, *[0.01] * (len(string.segments) - 1)]
        assert 2 <= len(string.segments) <= 3
        assert string.tail == 0.005


@pytest.mark.parametrize(
    "fields", [{"digits": (0, 7)}, {"digits": (3, 2)}, {"gap_ms": (-1, 3)}, {"tail_ms": (5, 4)}]
)
def test_a_range_that_falls_is_refused(fields):
    with pytest.raises(ValueError, match=f"`{next(iter(fields))}` is a range from"):
        StringShape(**fields)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="5 strings of 6 speakers"):
        draw_strings(RECORDINGS, 5, 0)
    with pytest.raises(ValueError, match="there are no recordings"):
        draw_strings([], 5, 0)
    nobody = Utterance(id="x", audio_path=Path("/x.wav"), duration=1.0, text="one")
    with pytest.raises(ValueError, match="cannot join recording 'x'"):
        draw_strings([nobody], 1, 0)
    with pytest.raises(ValueError, match="cannot make 1 strings of 1 to 7 words out of 0 words"):
        draw_strings(recordings_of([1, 400]), 2, 0)


@pytest.mark.parametrize(("split", "n_strings", "n_uses"), [("test", 600, 8), ("dev", 300, 4)])
def test_the_committed_lists_are_those_that_are_drawn(split, n_strings, n_uses):
    committed = packaged_strings(split)
    assert committed == packaged_list(folder() / "manifest.jsonl", split)
    assert len(committed) == n_strings
    assert uses(committed) == dict.fromkeys((r.id for r in packaged_recordings(split)), n_uses)
