"""Random changes to training utterances, each drawn from a generator of its own utterance and epoch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparrot.audio import Waveform, resample
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.manifest import read_manifest
from sparrot.train.config import AugmentConfig, Noise, SpecAugment

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WaveAugmentation:
    """Speed, noise and gain of a waveform, in this order.

    noises: recordings at the features' sampling rate; needed if `config.noise` is set.
    """

    config: AugmentConfig
    noises: tuple[Samples, ...] = ()

    @classmethod
    def load(cls, config: AugmentConfig, sample_rate_hz: int) -> "WaveAugmentation":
        """The augmentation with its noise recordings read."""
        if config.noise is None:
            return cls(config)
        recordings = read_manifest(config.noise.manifest)
        noises = tuple(load_waveform(noise, sample_rate_hz) for noise in recordings)
        silent = [r.id for r, noise in zip(recordings, noises, strict=True) if not noise.any()]
        if silent:
            raise ValueError(
                f"cannot mix in the noise of {config.noise.manifest}: `{silent[0]}` is silent or empty; "
                "leave it out"
            )
        return cls(config, noises)

    @property
    def changes_waves(self) -> bool:
        """Whether the same utterance may sound different in another epoch."""
        return bool(self.config.speed or self.config.noise or self.config.gain_db)

    def __call__(self, samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
        """The waveform as this epoch hears it: float32 (n_samples',)."""
        if self.config.speed:
            samples = changed_speed(samples, sample_rate_hz, float(random.choice(self.config.speed)))
        noise = self.config.noise
        if noise is not None and random.random() < noise.probability:
            samples = mixed_with_noise(samples, self.noises[random.integers(len(self.noises))], noise, random)
        if self.config.gain_db is not None:
            samples = samples * np.float32(10 ** (random.uniform(*self.config.gain_db) / 20))
        return samples


def changed_speed(samples: Samples, sample_rate_hz: int, factor: float) -> Samples:
    """The waveform played `factor` times as fast: duration / factor, pitch · factor (Ko et al. 2015)."""
    if factor == 1.0:
        return samples
    faster = Waveform(samples, round(sample_rate_hz * factor))
    return resample(faster, sample_rate_hz).samples


def mixed_with_noise(samples: Samples, noise: Samples, config: Noise, random: np.random.Generator) -> Samples:
    """Speech plus a random stretch of noise at a random signal-to-noise ratio; the speech keeps its level.

        speech + noise · √(P_speech / P_noise) · 10^(−snr / 20)

    P is the mean square of the whole waveform, and of the stretch.
    """
    if len(samples) == 0:
        return samples
    start = int(random.integers(len(noise)))
    stretch = np.take(noise, np.arange(start, start + len(samples)), mode="wrap")
    speech_power, noise_power = np.mean(np.square(samples)), np.mean(np.square(stretch))
    if noise_power == 0.0:
        return samples
    snr_db = random.uniform(*config.snr_db)
    gain = np.sqrt(speech_power / noise_power) * 10 ** (-snr_db / 20)
    return samples + np.float32(gain) * stretch


def spec_augmented(frames: Samples, config: SpecAugment, random: np.random.Generator) -> Samples:
    """Normalised frames (n_frames, width) with random bands and spans set to 0, the mean of every value."""
    frames = frames.copy()
    n_frames, width = frames.shape
    for _ in range(config.frequency_masks):
        start, end = _span(width, min(config.frequency_width, width - 1), random)
        frames[:, start:end] = 0.0
    longest = min(config.time_width, int(n_frames * config.time_share))
    for _ in range(config.time_masks):
        start, end = _span(n_frames, longest, random)
        frames[start:end] = 0.0
    return frames


def _span(n: int, longest: int, random: np.random.Generator) -> tuple[int, int]:
    length = int(random.integers(0, longest + 1))
    start = int(random.integers(0, n - length + 1))
    return start, start + length
