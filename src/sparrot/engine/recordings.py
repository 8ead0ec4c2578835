"""Recordings as recognisers take them: sound, or frames of given features."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from numpy.typing import ArrayLike

from sparrot.audio import (
    Channel,
    OpenSound,
    Seconds,
    StreamResampler,
    Waveform,
    checked_samples,
    open_audio,
)
from sparrot.features import FeatureConfig, Frames, OnlineFeatures

Recording: TypeAlias = Path | str | BinaryIO | Waveform | ArrayLike

FEATURE_SUFFIXES = (".mfc", ".npy")


def feature_path(recording: Recording) -> Path | None:
    """The path of a feature file, known by its suffix; None of any other recording."""
    if not isinstance(recording, Path | str):
        return None
    path = Path(recording)
    return path if path.suffix.lower() in FEATURE_SUFFIXES else None


@contextmanager
def opened(recording: Recording, sample_rate_hz: int | None, channel: Channel) -> Iterator[OpenSound]:
    """The sound of a file, a binary stream, a waveform, or samples (n,) at `sample_rate_hz`.

    Raises: ValueError if samples come without their rate, anything else with one, or what has one channel
            with another.
    """
    is_samples = not isinstance(recording, Path | str | Waveform) and not hasattr(recording, "read")
    if is_samples != (sample_rate_hz is not None):
        raise ValueError(
            "sample_rate_hz goes with an array of samples and only with it: "
            "files and waveforms know their rate"
        )
    if not is_samples and not isinstance(recording, Waveform):
        with open_audio(cast(BinaryIO, recording), channel) as sound:
            yield sound
        return
    if channel not in ("mix", 0):
        raise ValueError(f"a waveform has one channel; there is no channel {channel}")
    if sample_rate_hz is not None:
        recording = Waveform(checked_samples(cast(ArrayLike, recording)), sample_rate_hz)
    assert isinstance(recording, Waveform)
    yield OpenSound(iter([recording.samples]), recording.sample_rate_hz)


class SoundFeatures:
    """The features of a sound, piece by piece: what `compute_features` makes of it as a whole."""

    def __init__(self, sound: OpenSound, config: FeatureConfig) -> None:
        self._sound, self._config = sound, config
        self._n_samples = 0

    @property
    def duration(self) -> Seconds:
        """Seconds of sound so far; those of the recording once all pieces are there."""
        return self._n_samples / self._sound.sample_rate_hz

    def __iter__(self) -> Iterator[Frames]:
        resampler = StreamResampler(self._sound.sample_rate_hz, self._config.sample_rate_hz)
        features = OnlineFeatures(self._config)
        for block in self._sound.blocks:
            samples = checked_samples(block, self._n_samples)
            self._n_samples += len(samples)
            yield features.push(resampler.push(samples))
        yield features.push(resampler.finish())


@contextmanager
def naming(recording: Recording) -> Iterator[None]:
    """Puts the name of a file before what is wrong with its samples or frames."""
    try:
        yield
    except ValueError as error:
        if not isinstance(recording, Path | str) or str(recording) in str(error):
            raise
        raise ValueError(f"cannot transcribe {recording}: {error}") from error
