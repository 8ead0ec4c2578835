"""Levels that change in mid-stream, and streams that share a recogniser."""

import itertools
import threading

import pytest

from sparrot import Final, Recognizer
from sparrot.engine import DecodingOptions, decode_streams
from streaming import every, finals, pieces
from tone_model import CHUNK, RATE_HZ, silence, sound, write_tone_model

BEAM = DecodingOptions(decoder="beam", beam=4)
ENDLESS = DecodingOptions(endpoints=None)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return Recognizer.load(write_tone_model(tmp_path_factory.mktemp("model") / "tones.sparrot"))


# Levels


def test_a_level_is_used_from_the_next_chunk_on(recognizer):
    stream, wave = recognizer.stream(options=ENDLESS), sound("cbcbcb")
    for number, piece in enumerate(pieces(wave, every(0.4, wave))):
        stream.set_level("small" if number == 1 else "large")
        stream.accept_waveform(piece, RATE_HZ)
        stream.poll()
    (final,) = stream.finish()
    assert final.text == "cbbcb"
    frames = [frame for frame, _ in stream.trace]
    assert [level for _, level in stream.trace] == ["large", "small", "large"]
    assert all(frame % CHUNK == 0 for frame in frames)


def test_switching_keeps_the_recurrent_state(recognizer):
    stream, wave = recognizer.stream(), sound("^aaaaa")
    for number, piece in enumerate(pieces(wave, every(0.2, wave))):
        stream.set_level(["large", "small"][number % 2])
        stream.accept_waveform(piece, RATE_HZ)
        stream.poll()
    (final,) = stream.finish()
    assert final.text == "zzzzz"
    assert len(stream.trace) > 3


def test_switching_to_an_equal_level_changes_nothing(recognizer):
    """Neither level ever sees a tone c, so every cut between them gives the bits of one level."""
    wave, stream = sound("ab ^a b"), recognizer.stream()
    for number, piece in enumerate(pieces(wave, every(0.1, wave))):
        stream.set_level(["small", "large"][number % 2])
        stream.accept_waveform(piece, RATE_HZ)
        stream.poll()
    (mixed,) = stream.finish()
    (whole,) = finals(recognizer.stream(), wave)
    assert [(w.text, w.start, w.end) for w in mixed.words] == [(w.text, w.start, w.end) for w in whole.words]
    assert mixed.confidence == pytest.approx(whole.confidence, abs=1e-3)


def test_words_and_partials_carry_their_level(recognizer):
    stream, wave = recognizer.stream("small"), sound("ab ab ")
    stream.accept_waveform(wave[: RATE_HZ // 2], RATE_HZ)
    assert stream.poll()[-1].level == "small"
    stream.set_level("large")
    stream.accept_waveform(wave[RATE_HZ // 2 :], RATE_HZ)
    (final,) = stream.finish()
    assert [word.level for word in final.words] == ["small", "large"]


def test_a_trace_replays(recognizer):
    wave, stream, heard = sound("cabc____cabcc a"), recognizer.stream(options=BEAM), []
    for number, piece in enumerate(pieces(wave, every(0.17, wave))):
        stream.set_level(["large", "small", "small"][number % 3])
        stream.accept_waveform(piece, RATE_HZ)
        heard += stream.poll()
    heard += stream.finish()
    again = recognizer.stream(options=BEAM, replay=stream.trace)
    assert finals(again, wave, [3, 40_000]) == [event for event in heard if isinstance(event, Final)]
    assert again.trace == stream.trace
    assert len(stream.trace) > 4


def test_a_replay_sets_its_own_levels(recognizer):
    with pytest.raises(RuntimeError, match="replays a trace"):
        recognizer.stream(replay=[(0, "large")]).set_level("small")


@pytest.mark.parametrize("trace", [[], [(4, "large")], [(0, "large"), (8, "small"), (8, "large")]])
def test_a_trace_that_does_not_rise_from_0_is_refused(recognizer, trace):
    with pytest.raises(ValueError, match="starts at frame 0 and rises"):
        recognizer.stream(replay=trace)


def test_an_unknown_level_is_refused_with_the_nearest(recognizer):
    stream = recognizer.stream()
    with pytest.raises(ValueError, match=r"no level `smal` .* Did you mean `small`"):
        stream.set_level("smal")
    with pytest.raises(ValueError, match="no level `huge`"):
        recognizer.stream(replay=[(0, "huge")])
    assert stream.level == "large"


# Many streams, many threads


def test_streams_decoded_together_say_what_they_say_alone(recognizer, monkeypatch):
    waves = [sound("ab"), sound("c____b a"), silence(0.3)]
    streams = [recognizer.stream() for _ in waves]
    for stream, wave in zip(streams, waves, strict=True):
        stream.accept_waveform(wave, RATE_HZ)
    decode_streams(streams)
    assert [stream.pending_s for stream in streams] == [0, 0, 0]
    with monkeypatch.context() as patched:
        patched.setattr("sparrot.engine.stream.step", None)  # nothing is left
        polled = [[e for e in stream.poll() if isinstance(e, Final)] for stream in streams]
    assert [[e.text for e in heard] for heard in polled] == [[], ["c"], []]
    rest = [[e for e in stream.finish() if isinstance(e, Final)] for stream in streams]
    alone = [finals(recognizer.stream(), wave) for wave in waves]
    assert [a + b for a, b in zip(polled, rest, strict=True)] == alone


def test_decoding_together_refuses_a_closed_stream_before_it_decodes_any(recognizer):
    open_one, closed = recognizer.stream(), recognizer.stream()
    open_one.accept_waveform(sound("a"), RATE_HZ)
    closed.close()
    with pytest.raises(RuntimeError, match="closed stream"):
        decode_streams([open_one, closed])
    assert open_one.pending_s > 0
    assert open_one.poll()


def test_decoding_together_refuses_a_stream_that_is_named_twice(recognizer):
    stream = recognizer.stream()
    with pytest.raises(ValueError, match="given one stream twice; name each stream once"):
        decode_streams([stream, stream])
    assert stream.poll() == []


def test_a_second_caller_is_refused_and_set_level_is_not(recognizer):
    stream, inside, leave = recognizer.stream(), threading.Event(), threading.Event()
    take = stream._intake.take

    def slow_take():
        inside.set()
        assert leave.wait(10)
        return take()

    stream._intake.take = slow_take
    first = threading.Thread(target=stream.poll)
    first.start()
    assert inside.wait(10)
    try:
        for call in (stream.poll, stream.finish, stream.close, lambda: stream.accept_waveform([], RATE_HZ)):
            with pytest.raises(RuntimeError, match="one caller at a time"):
                call()
        with pytest.raises(RuntimeError, match="one caller at a time"):
            decode_streams([stream])
        stream.set_level("small")
    finally:
        leave.set()
        first.join()
    assert stream.level == "small"
    assert stream.poll() == []


def test_threads_share_a_recognizer(recognizer):
    wave, results = sound("abc ^a"), {}

    def run(number):
        results[number] = finals(recognizer.stream(["large", "small"][number % 2]), wave, every(0.1, wave))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [finals(recognizer.stream(level), wave) for level in ("large", "small")]
    assert [results[number] for number in range(8)] == expected * 4


def test_levels_set_by_another_thread_never_tear_a_chunk(recognizer):
    stream, wave, stop = recognizer.stream(), sound("ab ^a b" * 3), threading.Event()

    def flicker():
        for level in itertools.cycle(["small", "large"]):
            stream.set_level(level)
            if stop.is_set():
                return

    other = threading.Thread(target=flicker)
    other.start()
    try:
        heard = finals(stream, wave, every(0.05, wave))
    finally:
        stop.set()
        other.join()
    replayed = finals(recognizer.stream(replay=stream.trace), wave)
    assert heard == replayed
