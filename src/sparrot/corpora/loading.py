"""From an utterance of a manifest to its samples and to its features."""

from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparrot.audio import Seconds, Waveform, read_audio, resample
from sparrot.corpora.manifest import Utterance
from sparrot.feature_files import read_features
from sparrot.features import FeatureConfig, compute_features, normalise


def load_waveform(utterance: Utterance, sample_rate_hz: int) -> NDArray[np.float32]:
    """The sound of an utterance: float32 (n_samples,) at `sample_rate_hz`, several channels averaged.

    Segments are joined at the rate of their files, with zeros for the gaps and the tail, and resampled
    once. Nothing is drawn at random: the same manifest always gives the same samples.

    Raises: ValueError if it has given features instead of sound, or if its segments differ in rate.
    """
    return resample(stored_waveform(utterance), sample_rate_hz).samples


def stored_waveform(utterance: Utterance) -> Waveform:
    """The sound of an utterance at the sampling rate of its file; otherwise like `load_waveform`."""
    if utterance.segments:
        return _joined(utterance)
    if utterance.audio_path is None:
        raise ValueError(
            f"cannot load the sound of utterance {utterance.id!r}: its manifest gives features "
            f"({utterance.feature_path}) and no audio; use a model of given features"
        )
    if utterance.start is None:
        return read_audio(utterance.audio_path)
    return _part(utterance.audio_path, utterance.start, utterance.duration)


def load_features(utterance: Utterance, config: FeatureConfig) -> NDArray[np.float32]:
    """The features of an utterance: float32 (n_frames, width), normalised if `config` has statistics.

    Sound goes through `compute_features`. Given features are read from Sphinx files (`.mfc`) or NumPy
    arrays (`.npy`) and need a configuration of kind "given".

    Raises: ValueError if the configuration and the manifest do not fit, or a value is not finite.
    """
    if utterance.feature_path is None:
        if config.kind == "given":
            raise ValueError(
                f"cannot load given features of utterance {utterance.id!r}: its manifest has audio; "
                f"choose features of kind log_mel, mfcc or spectrogram"
            )
        return compute_features(load_waveform(utterance, config.sample_rate_hz), config)
    if config.kind != "given" or config.width is None:
        raise ValueError(
            f"cannot compute {config.kind} features of utterance {utterance.id!r}: its manifest gives "
            f"features ({utterance.feature_path.name}) and no audio; choose features of kind given"
        )
    return normalise(read_features(utterance.feature_path, config.width), config)


def _joined(utterance: Utterance) -> Waveform:
    pieces = [_part(segment.audio_path, segment.start, segment.duration) for segment in utterance.segments]
    rates = sorted({piece.sample_rate_hz for piece in pieces})
    if len(rates) > 1:
        raise ValueError(
            f"cannot join utterance {utterance.id!r}: its segments have sampling rates of "
            f"{' and '.join(map(str, rates))} Hz; give them one rate"
        )
    gaps = [_silence(segment.gap, rates[0]) for segment in utterance.segments]
    parts = chain.from_iterable((gap, piece.samples) for gap, piece in zip(gaps, pieces, strict=True))
    return Waveform(np.concatenate([*parts, _silence(utterance.tail, rates[0])]), rates[0])


def _part(path: Path, start: Seconds, duration: Seconds) -> Waveform:
    """A part of a file, exact to the sample. Raises ValueError if the file ends before it."""
    part = read_audio(path, start=start, duration=duration)
    n_wanted = round(duration * part.sample_rate_hz)
    if len(part.samples) < n_wanted:
        raise ValueError(
            f"{path} ends after {start + part.duration:.3f} s, too early for the part that was asked for, "
            f"{duration:.3f} s from {start:.3f} s on; correct the manifest"
        )
    return part


def _silence(duration: Seconds, sample_rate_hz: int) -> NDArray[np.float32]:
    return np.zeros(round(duration * sample_rate_hz), np.float32)
