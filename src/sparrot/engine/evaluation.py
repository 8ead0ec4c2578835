"""How well and how fast a model file recognises a set of utterances, level by level."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparrot.audio import Waveform
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.manifest import Utterance
from sparrot.engine.cost import macs_per_second
from sparrot.engine.options import DecodingOptions
from sparrot.engine.recognizer import Recognizer
from sparrot.engine.recordings import Recording
from sparrot.metrics import ErrorCounts, count_errors, total
from sparrot.model_file import LevelDescription, ModelFile


@dataclass(frozen=True)
class Recognised:
    """What one utterance was recognised as, and its errors."""

    utterance: Utterance
    text: str
    counts: ErrorCounts


@dataclass(frozen=True)
class Heard:
    """What a set of utterances was recognised as.

    rtf: seconds of computing a second of audio, features and search included.
    """

    hypotheses: tuple[Recognised, ...]
    rtf: float

    @property
    def counts(self) -> ErrorCounts:
        """Errors over all utterances."""
        return total([hypothesis.counts for hypothesis in self.hypotheses])

    def errors(self) -> dict[str, Any]:
        """Error rates and their counts, as `sparrot eval --json` calls them."""
        counts = self.counts
        return {
            "wer": counts.wer,
            "cer": counts.cer,
            "words": counts.words,
            "substitutions": counts.substitutions,
            "insertions": counts.insertions,
            "deletions": counts.deletions,
        }


@dataclass(frozen=True)
class LevelResult(Heard):
    """One level on one set of utterances.

    bytes:     of the file up to the end of the level.
    macs_per_audio_second: see `cost.macs_per_second`.
    """

    level: LevelDescription
    bytes: int
    macs_per_audio_second: float

    @property
    def name(self) -> str:
        """Of the level."""
        return self.level.name

    def to_json(self) -> dict[str, Any]:
        """The row of `sparrot eval --json`."""
        return {
            "level": self.name,
            **self.errors(),
            "sparsity": dict(self.level.sparsity),
            "parameters": self.level.parameters,
            "bytes": self.bytes,
            "macs_per_audio_second": round(self.macs_per_audio_second),
            "rtf": self.rtf,
        }


def evaluate_level(
    model: ModelFile,
    level: str,
    utterances: Sequence[Utterance],
    options: DecodingOptions,
    after_each: Callable[[], None] = lambda: None,
) -> LevelResult:
    """Recognises every utterance at a level of a model file.

    after_each: called after every utterance, to show progress.
    Raises: ValueError if there is no such level, no utterance, or one that the model cannot take, or if it
            cannot decode as the options say.
    """
    recognizer = Recognizer(model, level)
    recognizer.check(options)
    recognizer.prepare(level)
    heard = hear(
        recognizer,
        utterances,
        lambda _, recording: recognizer.transcribe(recording, options=options).text,
        after_each,
    )
    description = model.description
    return LevelResult(
        heard.hypotheses,
        heard.rtf,
        model.level(level),
        model.level_bytes(level),
        macs_per_second(
            description.architecture, description.features.frame_rate_hz, model.parameters(level)
        ),
    )


def hear(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    recognise: Callable[[Utterance, Recording], str],
    after_each: Callable[[], None] = lambda: None,
) -> Heard:
    """Recognises utterances, and compares and times them.

    recognise: what the recording of an utterance reads; only this is timed.
    Raises:    ValueError if there is no utterance, or one that the model cannot take.
    """
    duration = sum(utterance.duration for utterance in utterances)
    if duration == 0.0:
        raise ValueError("cannot evaluate a model on no sound: the set is empty, or its durations are all 0")
    hypotheses, seconds = [], 0.0
    for utterance in utterances:
        with _naming(utterance):
            recording = _recording(utterance, recognizer)
            started = time.perf_counter()
            text = recognise(utterance, recording)
            seconds += time.perf_counter() - started
        hypotheses.append(Recognised(utterance, text, count_errors(utterance.text, text)))
        after_each()
    return Heard(tuple(hypotheses), seconds / duration)


def _recording(utterance: Utterance, recognizer: Recognizer) -> Recording:
    """The sound of an utterance at the model's rate, or the path of its features."""
    if utterance.feature_path is not None:
        return utterance.feature_path
    if recognizer.sample_rate_hz is None:
        raise ValueError(
            f"`{recognizer.name}` takes given features, and utterance {utterance.id!r} has audio; choose a "
            "manifest with `feature_path`"
        )
    return Waveform(load_waveform(utterance, recognizer.sample_rate_hz), recognizer.sample_rate_hz)


@contextmanager
def _naming(utterance: Utterance) -> Iterator[None]:
    """Says of which utterance an error is, if it does not say so itself."""
    try:
        yield
    except ValueError as error:
        if repr(utterance.id) in str(error):
            raise
        raise ValueError(f"cannot recognise utterance {utterance.id!r}: {error}") from error
