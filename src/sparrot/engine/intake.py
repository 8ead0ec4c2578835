"""What comes into a stream: audio or given features, queued until it is decoded."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sparrot.audio import Samples, Seconds, StreamResampler, checked_samples
from sparrot.features import FeatureConfig, Frames, OnlineFeatures, normalise


class WaveformIntake:
    """Audio at any rate: `accept` resamples and queues, `take` computes features."""

    def __init__(self, config: FeatureConfig, max_pending_s: Seconds) -> None:
        self._config = config
        self._max_pending_s = max_pending_s
        self._resampler: StreamResampler | None = None
        self._queue: list[Samples] = []
        self._features = OnlineFeatures(config)

    @property
    def pending_s(self) -> Seconds:
        """Seconds queued and not yet taken."""
        return sum(piece.size for piece in self._queue) / self._config.sample_rate_hz

    def accept(self, samples: ArrayLike, sample_rate_hz: int) -> None:
        """Queues a copy of the audio, or nothing if it raises. Raises as `Stream.accept_waveform`."""
        wave = checked_samples(samples)
        resampler = self._resampler or StreamResampler(sample_rate_hz, self._config.sample_rate_hz)
        if resampler.from_hz != sample_rate_hz:
            raise ValueError(
                f"a stream keeps the sampling rate of its first piece, {resampler.from_hz} Hz; got a piece "
                f"at {sample_rate_hz} Hz: open another stream for it"
            )
        _refuse_overflow(self.pending_s, wave.size / sample_rate_hz, self._max_pending_s)
        self._resampler = resampler
        self._queue.append(np.array(resampler.push(wave)))

    def take(self) -> Frames:
        """The frames (n, width) that are complete with all that was queued."""
        frames = [self._features.push(piece) for piece in self._queue]
        self._queue.clear()
        return _joined(frames, self._config.input_width)

    def finish(self) -> None:
        """Queues what the resampler held back."""
        if self._resampler is not None:
            self._queue.append(self._resampler.finish())


class FeatureIntake:
    """Frames that somebody else computed: `accept` normalises and queues."""

    def __init__(self, config: FeatureConfig, max_pending_s: Seconds) -> None:
        self._config = config
        self._max_pending_s = max_pending_s
        self._queue: list[Frames] = []

    @property
    def pending_s(self) -> Seconds:
        """Seconds queued and not yet taken."""
        return sum(map(len, self._queue)) / self._config.frame_rate_hz

    def accept(self, frames: ArrayLike) -> None:
        """Queues a copy of the frames, or nothing if it raises. Raises as `Stream.accept_features`."""
        normalised = np.array(normalise(frames, self._config))
        coming_s = len(normalised) / self._config.frame_rate_hz
        _refuse_overflow(self.pending_s, coming_s, self._max_pending_s)
        self._queue.append(normalised)

    def take(self) -> Frames:
        """The frames (n, width) queued."""
        frames = _joined(self._queue, self._config.input_width)
        self._queue.clear()
        return frames

    def finish(self) -> None:
        """Nothing: no frame is held back."""


Intake: TypeAlias = WaveformIntake | FeatureIntake


def _refuse_overflow(pending_s: Seconds, coming_s: Seconds, limit_s: Seconds) -> None:
    if pending_s + coming_s > limit_s:
        raise RuntimeError(
            f"the stream holds {pending_s:.2f} s that poll() has not decoded and was given {coming_s:.2f} s "
            f"more, over the {limit_s:g} s that may wait: call poll() after each piece and cut long pieces"
        )


def _joined(pieces: list[Frames], width: int) -> Frames:
    return np.concatenate([np.zeros((0, width), np.float32), *pieces])
