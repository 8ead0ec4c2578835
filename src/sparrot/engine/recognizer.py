"""A model file, ready to recognise speech."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

from sparrot.audio import Channel, Seconds, max_held_back
from sparrot.engine.decoding import check_options
from sparrot.engine.events import Final
from sparrot.engine.options import DecodingOptions
from sparrot.engine.prepared import PreparedModel
from sparrot.engine.recordings import Recording, SoundFeatures, feature_path, naming, opened
from sparrot.engine.segments import decode_at_once, decode_in_segments
from sparrot.engine.stream import Stream, no_features, no_waveform
from sparrot.engine.timing import Latency
from sparrot.engine.trace import Trace
from sparrot.engine.transcript import Transcript
from sparrot.feature_files import read_features
from sparrot.features import Frames, normalise
from sparrot.model_file import Level, LevelDescription, ModelFile

PACKAGED_MODEL = Path(__file__).parents[1] / "packaged" / "digits.sparrot"


class Recognizer:
    """Recognises speech at any level of one model file; immutable, so threads may share it.

    recognizer = Recognizer.load("an4.sparrot", level="large")
    print(recognizer.transcribe("talk.wav").text)
    """

    def __init__(
        self, model: ModelFile, level: Level | None = None, *, weights: Literal["copy", "map"] = "copy"
    ) -> None:
        self._model = PreparedModel(model, weights)
        self._level = next(iter(self._model.levels)) if level is None else self._model.name(level)

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        level: Level | None = None,
        *,
        weights: Literal["copy", "map"] = "copy",
        verify: bool = True,
    ) -> "Recognizer":
        """The recogniser of a model file.

        path:   None is the digits model that comes with the package.
        level:  of streams and transcripts that name none, and read at once: a name, or a number from 0 to
                1 for the stop of the nearest sparsity; None is the densest that the file holds.
        weights: `copy` reads them into huge pages, from which products read fastest; `map` leaves them in
                the file's pages, which all processes share that map it.
        verify: whether checksums and finiteness are checked; indices always are.
        Raises: FormatError if the file or the level is damaged, ValueError if there is no such level,
                OSError if the file cannot be read.
        """
        model = ModelFile.open(packaged_model() if path is None else path, verify=verify)
        recognizer = cls(model, level, weights=weights)
        recognizer.prepare(recognizer.level)
        return recognizer

    @property
    def name(self) -> str:
        """Of the model."""
        return self._model.description.name

    def levels(self) -> tuple[LevelDescription, ...]:
        """The levels that the file holds, densest first: names, sparsities, measured errors."""
        return tuple(self._model.levels.values())

    @property
    def level(self) -> str:
        """The level of streams and transcripts that name none."""
        return self._level

    @property
    def streaming(self) -> bool:
        """False if the model needs whole recordings, because a layer of it runs backwards in time."""
        return self._model.description.architecture.streaming

    @property
    def sample_rate_hz(self) -> int | None:
        """What audio is resampled to; None if the model takes given features instead of audio."""
        features = self._model.description.features
        return None if features.kind == "given" else features.sample_rate_hz

    @property
    def resolution(self) -> Seconds:
        """Between two times that words can start at: one output frame."""
        return self._model.clock.frame

    def latency(self, sample_rate_hz: int | None = None) -> Latency | None:
        """How long a stream of audio at this rate waits before it decodes; None if it cannot stream.

        sample_rate_hz: None is the model's own.
        """
        if not self.streaming:
            return None
        description = self._model.description
        own = Latency.of(description.architecture, description.features, description.chunk_frames)
        if sample_rate_hz is None or self.sample_rate_hz is None:
            return own
        return replace(own, resampler=max_held_back(sample_rate_hz, self.sample_rate_hz))

    def prepare(self, level: Level) -> None:
        """Reads a level now, which its first chunk would otherwise wait for."""
        self._model[self._model.name(level)]

    def check(self, options: DecodingOptions) -> None:
        """Nothing; raises ValueError if the model cannot decode like that."""
        check_options(self._model, options)

    def stream(
        self,
        level: Level | None = None,
        options: DecodingOptions | None = None,
        *,
        replay: Trace | None = None,
    ) -> Stream:
        """A stream at a level, or at the levels of another stream's trace.

        Raises: ValueError if the model cannot stream, has no such level or cannot decode as the options say.
        """
        if not self.streaming:
            raise ValueError(
                f"`{self.name}` cannot stream: a layer of it runs backwards in time and needs the end of the "
                f"recording first; transcribe whole files with it, or take a unidirectional model"
            )
        return Stream(self._model, self._chosen(level), options or DecodingOptions(), replay)

    def transcribe(
        self,
        recording: Recording,
        sample_rate_hz: int | None = None,
        *,
        level: Level | None = None,
        options: DecodingOptions | None = None,
        channel: Channel = "mix",
    ) -> Transcript:
        """What a whole recording reads.

        recording: a path or binary file of any sound format and rate; a `Waveform`; or float samples
                   (n,) in [-1, 1] at `sample_rate_hz`. For a model of given features the path of an
                   .mfc or .npy file. A model that can stream reads files in constant memory.
        channel:   of a file: "mix" averages all, a number (from 0) picks one.
        Raises: OSError if a file cannot be read; ValueError if it is not what the model takes, holds
                NaN or infinity, if there is no such level, or if the model cannot decode as the options
                say; TypeError on integer samples.
        """
        chosen = self._chosen(level)
        if options is not None:
            self.check(options)
        features = self._model.description.features
        path = feature_path(recording)
        if (path is not None) != (features.kind == "given"):
            fact = no_features(self._model) if path is not None else no_waveform(self._model)
            raise ValueError(f"cannot transcribe {_name(recording)}: {fact}")
        if path is not None:
            given = read_features(path, features.input_width)
            with naming(path):
                return self.transcribe_features(given, level=chosen, options=options)
        with naming(recording), opened(recording, sample_rate_hz, channel) as sound:
            pieces = SoundFeatures(sound, features)
            finals = self._decode(pieces, chosen, options)
            return Transcript.within(finals, pieces.duration, chosen)

    def transcribe_features(
        self, frames: ArrayLike, *, level: Level | None = None, options: DecodingOptions | None = None
    ) -> Transcript:
        """What the frames (n, width) of a recording read, by a model of given features.

        Raises: ValueError if they have another shape or are not finite, if the model computes its own
                features, or if there is no such level.
        """
        chosen = self._chosen(level)
        features = self._model.description.features
        if features.kind != "given":
            raise ValueError(no_features(self._model))
        given = normalise(frames, features)
        duration = len(given) / features.frame_rate_hz
        return Transcript.within(self._decode([given], chosen, options), duration, chosen)

    def _decode(
        self, pieces: Iterable[Frames], level: str, options: DecodingOptions | None
    ) -> tuple[Final, ...]:
        decode = decode_in_segments if self.streaming else decode_at_once
        return decode(self._model, pieces, level, options or DecodingOptions())

    def _chosen(self, level: Level | None) -> str:
        return self._level if level is None else self._model.name(level)


def packaged_model() -> Path:
    """The digits model that comes with the package. Raises ValueError if it was installed without."""
    if not PACKAGED_MODEL.is_file():
        raise ValueError(
            f"no model was named, and the packaged one is missing from this installation ({PACKAGED_MODEL}): "
            f"name a model file, or install sparrot again"
        )
    return PACKAGED_MODEL


def _name(recording: Recording) -> str:
    return str(recording) if isinstance(recording, Path | str) else "a waveform"
