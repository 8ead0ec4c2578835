"""How well a model file recognises while its level changes inside the utterances."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from pathlib import Path
from random import Random
from typing import Any

from sparrot.audio import Seconds, Waveform
from sparrot.corpora.manifest import Utterance
from sparrot.engine.evaluation import Heard, hear
from sparrot.engine.events import Final
from sparrot.engine.options import DecodingOptions
from sparrot.engine.recognizer import Recognizer
from sparrot.engine.recordings import Recording
from sparrot.engine.stream import Stream
from sparrot.engine.trace import Trace
from sparrot.feature_files import read_features
from sparrot.model_file import ModelFile

PIECE_S = 1.0  # what a stream is given at a time; any cut gives the same
PIECE_FRAMES = 100


@dataclass(frozen=True)
class Switching:
    """Levels that change after times drawn evenly between two bounds, each to any other of them.

    What is drawn for an utterance depends on the seed and its id alone.

    shortest, longest: seconds at a level.
    Raises:            ValueError if they are not positive and finite, if the first is longer, or if there
                       are not two levels.
    """

    levels: tuple[str, ...]
    shortest: Seconds
    longest: Seconds
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0.0 < self.shortest <= self.longest < inf:
            raise ValueError(
                f"levels change after a time between two positive bounds, the shorter first; "
                f"got {self.shortest:g} and {self.longest:g} seconds"
            )
        if len(set(self.levels)) < 2:
            raise ValueError(f"switching takes two levels at least, and here is {len(set(self.levels))}")

    def draw(self, utterance: Utterance, frame_s: Seconds) -> Trace:
        """Levels by the output frame from which they hold, no level twice in a row.

        frame_s: between output frames; a switch holds from the first frame at or after its time.
        """
        random = Random(f"{self.seed} {utterance.id}")
        time, frames = 0.0, [0]
        while (time := time + random.uniform(self.shortest, self.longest)) < utterance.duration:
            frames.append(ceil(time / frame_s))
        starts = sorted(set(frames))
        drawn = [random.choice(self.levels)]
        for _ in starts[1:]:
            drawn.append(random.choice([level for level in self.levels if level != drawn[-1]]))
        return tuple(zip(starts, drawn, strict=True))


@dataclass(frozen=True)
class SwitchingResult(Heard):
    """A set of utterances recognised at changing levels.

    switches: changes of the level inside utterances.
    """

    switching: Switching
    switches: int

    @property
    def name(self) -> str:
        """Of the row, among those of the levels."""
        return "switching"

    def to_json(self) -> dict[str, Any]:
        """What `sparrot eval --json` says of it."""
        return {
            "dwell_s": [self.switching.shortest, self.switching.longest],
            "seed": self.switching.seed,
            "levels": list(self.switching.levels),
            "switches": self.switches,
            **self.errors(),
            "rtf": self.rtf,
        }


def evaluate_switching(
    model: ModelFile,
    switching: Switching,
    utterances: Sequence[Utterance],
    options: DecodingOptions,
    after_each: Callable[[], None] = lambda: None,
) -> SwitchingResult:
    """Recognises every utterance in a stream whose level changes, with the first chunk after its time.

    after_each: called after every utterance, to show progress.
    Raises: ValueError as `evaluate_level`, or if the model cannot stream.
    """
    recognizer = Recognizer(model, switching.levels[0])
    recognizer.check(options)
    for level in switching.levels:
        recognizer.prepare(level)
    n_switches = 0

    def recognise(utterance: Utterance, recording: Recording) -> str:
        nonlocal n_switches
        drawn = switching.draw(utterance, recognizer.resolution)
        with recognizer.stream(options=options, replay=drawn) as stream:
            text = _text(stream, recording)
            n_switches += max(0, len(stream.trace) - 1)
        return text

    heard = hear(recognizer, utterances, recognise, after_each)
    return SwitchingResult(heard.hypotheses, heard.rtf, switching, n_switches)


def _text(stream: Stream, recording: Recording) -> str:
    """What a stream reads of a whole recording that comes in pieces."""
    finals = []
    for push in _pieces(stream, recording):
        push()
        finals += [event for event in stream.poll() if isinstance(event, Final)]
    finals += [event for event in stream.finish() if isinstance(event, Final)]
    return " ".join(final.text for final in finals)


def _pieces(stream: Stream, recording: Recording) -> Iterator[Callable[[], None]]:
    """Calls that give a stream the sound of a waveform, or the features of a file, in its order."""
    if isinstance(recording, Waveform):
        step = round(PIECE_S * recording.sample_rate_hz)
        for start in range(0, len(recording.samples), step):
            piece = recording.samples[start : start + step]
            yield partial(stream.accept_waveform, piece, recording.sample_rate_hz)
    else:
        assert isinstance(recording, Path | str)
        frames = read_features(recording)
        for start in range(0, len(frames), PIECE_FRAMES):
            yield partial(stream.accept_features, frames[start : start + PIECE_FRAMES])
