"""What streams answer to calls in the wrong order, from the wrong thread, or on the wrong side of a fork."""

import itertools
import os
import threading
from collections.abc import Callable

import numpy as np
import pytest

from sparrot import Final, Recognizer, Stream
from sparrot.engine import DecodingOptions, decode_streams, set_threads, threads
from streaming import every, finals, pieces
from tone_model import RATE_HZ, features_of, sound, write_tone_model

TEXT = "ab c^a___ac"
ALL_C = "ccccccccc ccc___cc"  # which the level `small` does not hear


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tone_model(tmp_path_factory.mktemp("model") / "tones.sparrot")


@pytest.fixture(scope="module")
def recognizer(path):
    return Recognizer.load(path)


@pytest.fixture(scope="module")
def given_recognizer(tmp_path_factory):
    return Recognizer.load(write_tone_model(tmp_path_factory.mktemp("model") / "given.sparrot", given=True))


@pytest.fixture(autouse=True)
def one_thread_again():
    yield
    set_threads(1)


def texts(events) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


def started(calls: list[Callable[[], None]]) -> list[threading.Thread]:
    made = [threading.Thread(target=call) for call in calls]
    for thread in made:
        thread.start()
    return made


# Order


def test_a_stream_may_be_closed_twice_and_left_after_that(recognizer):
    with recognizer.stream() as stream:
        stream.close()
        stream.close()
    with pytest.raises(RuntimeError, match=r"poll\(\) was called on a closed stream; open another one"):
        stream.poll()


def test_a_finished_stream_still_answers_and_takes_no_audio(recognizer):
    stream = recognizer.stream()
    stream.accept_waveform(sound("ab"), RATE_HZ)
    assert texts(stream.finish()) == ["ab"]
    stream.set_level("small")
    decode_streams([stream])
    assert stream.finish() == stream.poll() == stream.finish() == []
    assert stream.pending_s == 0
    with pytest.raises(RuntimeError, match=r"accept_waveform\(\) was called after finish\(\); open another"):
        stream.accept_waveform(sound("a"), RATE_HZ)


def test_an_error_inside_with_closes_the_stream_and_comes_out(recognizer):
    with pytest.raises(KeyError), recognizer.stream() as stream:
        raise KeyError
    with pytest.raises(RuntimeError, match="closed stream"):
        stream.finish()


# Audio


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_stream_goes_on_after_audio_that_is_not_finite(recognizer, wrong):
    stream, wave = recognizer.stream(), sound("ab")
    stream.accept_waveform(wave[:3000], RATE_HZ)
    stream.poll()
    with pytest.raises(ValueError, match="sample 5 is"):
        stream.accept_waveform(np.where(np.arange(100) == 5, wrong, wave[:100]), RATE_HZ)
    stream.accept_waveform(wave[3000:], RATE_HZ)
    assert texts(stream.finish()) == ["ab"]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e39])
def test_a_stream_goes_on_after_features_that_are_not_finite(given_recognizer, wrong):
    stream, frames = given_recognizer.stream(), features_of(sound("ab"))
    broken = frames[:3].astype(np.float64)
    broken[1, 2] = wrong
    stream.accept_features(frames[:7])
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        stream.accept_features(broken)
    stream.accept_features(frames[7:])
    assert texts(stream.finish()) == ["ab"]


def test_audio_whose_energy_no_float32_holds_is_refused_before_it_is_queued(recognizer):
    stream = recognizer.stream()
    with pytest.raises(ValueError, match=r"sample 0 is 1e\+18; samples must be in .* at most 1e\+12$"):
        stream.accept_waveform(np.full(RATE_HZ, 1e18), RATE_HZ)
    stream.accept_waveform(sound("ab"), RATE_HZ)
    assert texts(stream.finish()) == ["ab"]


@pytest.mark.parametrize("rate_hz", [8_000, RATE_HZ, 48_000])
def test_the_loudest_audio_that_is_taken_has_features(recognizer, rate_hz):
    """It alternates, which differences enlarge most; below the limit, as resampling overshoots."""
    stream = recognizer.stream()
    stream.accept_waveform(np.resize([1e12 / 2, -1e12 / 2], rate_hz), rate_hz)
    assert stream.poll() + stream.finish() is not None


# Threads


def test_callers_of_one_stream_take_turns_or_are_refused(recognizer):
    """Whatever four threads call, it works or is refused, and all audio that was taken is heard once."""
    options = DecodingOptions(endpoints=None, max_pending_s=1e6)
    stream, wave, stop = recognizer.stream(options=options), sound("a"), threading.Event()
    refused, taken, wrong = [], [], []

    def give() -> None:
        stream.accept_waveform(wave, RATE_HZ)
        taken.append(wave)

    def call_all() -> None:
        calls = itertools.cycle([stream.poll, lambda: decode_streams([stream]), give])
        while not stop.is_set():
            try:
                next(calls)()
            except RuntimeError as error:
                (refused if "one caller at a time" in str(error) else wrong).append(str(error))
            except Exception as error:
                wrong.append(repr(error))

    callers = started([call_all] * 4)
    while not (len(refused) > 20 and len(taken) > 20) and not wrong:
        stop.wait(0.01)
    stop.set()
    for caller in callers:
        caller.join()
    assert wrong == []
    assert texts(stream.finish()) == ["a" * len(taken)]


def decoded_under_load(make: Callable[[], Recognizer], n_callers: int) -> list[tuple[Stream, list[Final]]]:
    """Streams of as many recognisers as callers, whose levels another thread sets all the time."""
    recognizers = [make() for _ in range(n_callers)]
    streams = [one.stream("small") for one in recognizers]
    heard: list[list[Final]] = [[] for _ in streams]
    stop, wave = threading.Event(), sound(ALL_C)

    def decode(number: int) -> None:
        heard[number] += finals(streams[number], wave, every(0.05, wave))

    def flicker() -> None:
        for level in itertools.cycle(["large", "small"]):
            for stream in streams:
                stream.set_level(level)
            if stop.is_set():
                return

    def prepare() -> None:
        for one in recognizers:
            one.prepare("large")

    others = started([flicker, prepare])
    callers = started([lambda number=number: decode(number) for number in range(n_callers)])
    for caller in callers:
        caller.join()
    stop.set()
    for other in others:
        other.join()
    return list(zip(streams, heard, strict=True))


@pytest.mark.parametrize("shared", [True, False])
def test_levels_set_and_read_by_others_change_only_the_level(path, recognizer, shared):
    """The streams replayed by one thread say the same, with one recogniser for all or one for each."""
    set_threads(2)
    one = Recognizer.load(path, "small")
    heard = decoded_under_load((lambda: one) if shared else (lambda: Recognizer.load(path, "small")), 4)
    set_threads(1)
    for stream, said in heard:
        assert finals(recognizer.stream(replay=stream.trace), sound(ALL_C)) == said


# Processes


def test_a_forked_child_goes_on_with_streams_and_starts_new_ones(recognizer):
    """So many streams that two threads share them, in the parent before and in the child."""
    set_threads(2)
    wave, streams = sound(TEXT), [recognizer.stream() for _ in range(40)]
    expected = recognizer.transcribe(wave, RATE_HZ)
    halves = pieces(wave, [len(wave) // 2])

    def give(piece: np.ndarray) -> None:
        for stream in streams:
            stream.accept_waveform(piece, RATE_HZ)
        decode_streams(streams)

    def is_right() -> bool:
        give(halves[1])
        said = [texts(stream.finish()) for stream in streams]
        right = [segment.text for segment in expected.segments]
        return said == [right] * len(streams) and recognizer.transcribe(wave, RATE_HZ) == expected

    give(halves[0])
    child = os.fork()
    if child == 0:
        os._exit(0 if is_right() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert is_right()


# Numbers of threads


@pytest.mark.parametrize("n", [0, -1, 257, 10_000, 2**70, 1.5, 2.0, "2", None, float("nan"), True])
def test_numbers_of_threads_that_make_no_sense_are_refused_in_one_sentence(n):
    with pytest.raises(ValueError, match=rf"computes on 1 to 256 threads; got {n!r}$"):
        set_threads(n)
    assert threads() == 1
