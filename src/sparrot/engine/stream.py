"""One caller's audio, decoded as it comes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from types import TracebackType

from numpy.typing import ArrayLike

from sparrot.audio import Seconds
from sparrot.engine.events import Event
from sparrot.engine.intake import FeatureIntake, Intake, WaveformIntake
from sparrot.engine.options import DecodingOptions
from sparrot.engine.prepared import PreparedModel
from sparrot.engine.segments import Segments, step
from sparrot.engine.trace import Replay, Trace, TraceLog
from sparrot.model_file import Level


class Stream:
    """A stream of audio and the words in it; made by `Recognizer.stream`.

        with recognizer.stream() as stream:
            while audio:
                stream.accept_waveform(samples, sample_rate_hz=8000)
                for event in stream.poll(): ...
            for event in stream.finish(): ...

    One caller at a time: a second one gets a RuntimeError, whatever it calls, save `set_level`, which
    any thread may call at any time. Memory is constant as long as segments end (`EndpointRules`).
    Any cut of the same audio gives the same `Final`s, bit for bit.
    """

    def __init__(
        self, model: PreparedModel, level: str, options: DecodingOptions, replay: Trace | None = None
    ) -> None:
        self._model = model
        self._level = level
        self._replay = None if replay is None else Replay(replay, model)
        self._trace = TraceLog()
        features = model.description.features
        kind = FeatureIntake if features.kind == "given" else WaveformIntake
        self._intake: Intake = kind(features, options.max_pending_s)
        self._segments = Segments(model, options)
        self._events: list[Event] = []
        self._finished = False
        self._closed = False
        self._busy = Lock()

    @property
    def level(self) -> str:
        """The level of the next chunk."""
        return self._level if self._replay is None else self._replay.level(self._segments.frame)

    @property
    def trace(self) -> tuple[tuple[int, str], ...]:
        """The level of every chunk decoded so far: (output frame of the stream, level) where it changed.

        It grows by 12 bytes a switch, the only thing that a stream keeps.
        `Recognizer.stream(replay=trace)` decodes the same audio to the same events.
        """
        return self._trace.entries()

    @property
    def pending_s(self) -> Seconds:
        """Audio accepted and not yet looked at by `poll`."""
        return self._intake.pending_s

    def set_level(self, level: Level) -> None:
        """Decodes at another level from the next chunk on; the recurrent state is kept.

        level: a name, or a number from 0 to 1 for the stop of the nearest sparsity.

        Raises: ValueError if the model has no such level, RuntimeError if the stream replays a trace.
        """
        if self._replay is not None:
            raise RuntimeError(
                "this stream replays a trace, which sets its levels; open one without `replay`"
            )
        self._level = self._model.name(level)

    def accept_waveform(self, samples: ArrayLike, sample_rate_hz: int) -> None:
        """Resamples and queues audio; decodes nothing.

        samples: float (n,), one channel in [-1, 1]; copied.
        Raises:  ValueError if they are not, hold NaN or infinity, change the sampling rate of the
                 stream, or if the model takes given features; TypeError on integers; RuntimeError if
                 more than `max_pending_s` would wait, or after `finish` or `close`.
        """
        with self._caller("accept_waveform", audio=True):
            if isinstance(self._intake, FeatureIntake):
                raise ValueError(no_waveform(self._model))
            self._intake.accept(samples, sample_rate_hz)

    def accept_features(self, frames: ArrayLike) -> None:
        """Normalises and queues frames (n, width) for a model of given features; decodes nothing.

        Raises: ValueError if they have another shape, are not finite, or if the model computes its own
                features; RuntimeError as `accept_waveform`.
        """
        with self._caller("accept_features", audio=True):
            if isinstance(self._intake, WaveformIntake):
                raise ValueError(no_features(self._model))
            self._intake.accept(frames)

    def poll(self) -> list[Event]:
        """Decodes what is ready and returns the events since the last call.

        Every `Final` since then, and after them at most one `Partial`: only if its text, words or
        stable part changed. Raises RuntimeError after `close`.
        """
        with self._caller("poll"):
            self._take()
            _decode_ready([self])
            return self._hand_over()

    def finish(self) -> list[Event]:
        """Completes the right context with zeros, ends the last segment, returns the last events.

        Later audio is an error; a second call returns nothing. Raises RuntimeError after `close`.
        """
        with self._caller("finish"):
            if not self._finished:
                self._intake.finish()
                self._take()
                self._finished = True
                self._segments.finish()
            _decode_ready([self])
            self._events += self._segments.end()
            return self._hand_over()

    def close(self) -> None:
        """Gives up the stream with whatever is undecoded; nothing but `close` may follow."""
        if not self._closed:
            with self._caller("close"):
                self._closed = True
                self._intake.take()
                self._events.clear()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _caller(self, verb: str, *, audio: bool = False) -> Iterator[None]:
        """Keeps a second caller out of `verb`, and everybody out of a stream that is over."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                f"{verb}() was called while another thread is inside this stream; a stream has one caller "
                f"at a time: give each thread its own, or put a lock around this one"
            )
        try:
            if self._closed:
                raise RuntimeError(f"{verb}() was called on a closed stream; open another one")
            if audio and self._finished:
                raise RuntimeError(f"{verb}() was called after finish(); open another stream for more audio")
            yield
        finally:
            self._busy.release()

    def _take(self) -> None:
        if not self._finished:
            self._segments.push(self._intake.take())

    def _hand_over(self) -> list[Event]:
        events = self._events + self._segments.changed_partial()
        self._events = []
        return events


def decode_streams(streams: Sequence[Stream]) -> None:
    """Decodes what is ready in many streams, a chunk of each in turn; `poll` then only hands over.

    Raises, before anything is decoded: RuntimeError if one is closed or has a caller, ValueError if one is
    named twice.
    """
    if len(set(streams)) < len(streams):
        raise ValueError("decode_streams() was given one stream twice; name each stream once")
    with ExitStack() as callers:
        for stream in streams:
            callers.enter_context(stream._caller("decode_streams"))
        for stream in streams:
            stream._take()
        _decode_ready(streams)


def _decode_ready(streams: Sequence[Stream]) -> None:
    """Decodes all chunks that are ready: one of each stream in turn, those of a model together.

    If a stream's chunk cannot be decoded, the others' still are; then the first error is raised.
    """
    errors: list[ValueError] = []
    for model in dict.fromkeys(stream._model for stream in streams):
        own = [stream for stream in streams if stream._model is model]
        while ready := [stream for stream in own if stream._segments.ready]:
            levels = [model[stream.level] for stream in ready]
            for stream, level in zip(ready, levels, strict=True):
                stream._trace.note(stream._segments.frame, level.described.name)
            outcomes = step([stream._segments for stream in ready], levels)
            for stream, outcome in zip(ready, outcomes, strict=True):
                if isinstance(outcome, ValueError):
                    errors.append(outcome)
                    own.remove(stream)
                else:
                    stream._events += outcome
    if errors:
        raise errors[0]


def no_waveform(model: PreparedModel) -> str:
    """Why a model of given features takes no waveform, as a sentence."""
    width = model.description.features.input_width
    return (
        f"`{model.description.name}` was trained on given features of {width} values a frame and cannot "
        f"compute them from a waveform: give it frames (accept_features, transcribe_features, .mfc, .npy)"
    )


def no_features(model: PreparedModel) -> str:
    """Why a model that computes its features takes none, as a sentence."""
    return (
        f"`{model.description.name}` computes its own {model.description.features.kind} features: give it "
        f"the waveform (accept_waveform, transcribe, a sound file)"
    )
