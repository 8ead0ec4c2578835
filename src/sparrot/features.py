"""Features of a waveform: log-mel energies or cepstra, frame by frame, the same for training and for streams.

All frames come from kaldi-native-fbank without dither, and a whole utterance is one push of a stream, so
what is trained on is what is streamed.

Scale. Samples are in [-1, 1]; kaldi's own tools keep 16-bit integers, so their log energies are larger by
2 ln 32768 = 20.8. Energies are floored at 2^-23 (kaldi's float epsilon), about the
level of 16-bit rounding noise at this scale: digital silence and recorded silence look much alike, and the
logarithm is never below -15.95.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from sparrot.audio import MAX_SAMPLE_RATE_HZ, RESAMPLER_QUALITY, Seconds, checked_samples
from sparrot.spectrogram import OnlineSpectrogram

Frames: TypeAlias = npt.NDArray[np.float32]
FeatureKind: TypeAlias = Literal["log_mel", "mfcc", "spectrogram", "given"]

RESAMPLER: Final = f"soxr {RESAMPLER_QUALITY}"
_KINDS: Final = ("log_mel", "mfcc", "spectrogram", "given")
_MAX_WINDOW_MS: Final = 1000.0
_MAX_WIDTH: Final = 65_536
_MAX_FLOAT32: Final = (2 - 2**-23) * 2.0**127


@dataclass(frozen=True)
class FeatureConfig:
    """Which features a network reads, and the statistics that normalise them.

    kind:      log_mel, mfcc (the first `n_mfcc` cosine coefficients of the log-mel energies, from c0, no
               lifter), spectrogram (log power of window // 2 + 1 frequencies, 0 to half the rate), or given
               (frames of `width` values computed elsewhere at the same frame rate).
    low_hz:    lower edge of the lowest mel filter; `high_hz`: upper edge of the highest, None = rate / 2.
    mean:      of each value over the training set; `scale`: 1 / its standard deviation; both or neither.
    resampler: what brought the sound to `sample_rate_hz`, written into every model; there is only one.

    Every frame is a window of `window_ms`, cut to whole samples. For mel filters it is a Povey window, with
    its mean removed, pre-emphasised by 0.97 and zero-padded to a power of two; for a spectrogram a Hann
    window, as it is. Raises ValueError, naming the field, if the fields disagree.
    """

    kind: FeatureKind = "log_mel"
    sample_rate_hz: int = 16_000
    window_ms: float = 25.0
    shift_ms: float = 10.0
    n_mels: int = 40
    n_mfcc: int = 13
    low_hz: float = 20.0
    high_hz: float | None = None
    width: int | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    resampler: str = RESAMPLER

    def __post_init__(self) -> None:
        _check_frames(self)
        _check_width(self)
        if self.kind in ("log_mel", "mfcc"):
            _check_filters(self)
        _check_statistics(self)
        _require(self, resampler=self.resampler == RESAMPLER)

    @property
    def input_width(self) -> int:
        """Values a frame."""
        widths = {"log_mel": self.n_mels, "mfcc": self.n_mfcc, "spectrogram": self.window_samples // 2 + 1}
        return widths.get(self.kind, self.width or 0)

    @property
    def window_samples(self) -> int:
        """Samples a window, rounded down."""
        return _whole_samples(self.sample_rate_hz, self.window_ms)

    @property
    def shift_samples(self) -> int:
        """Samples from one frame to the next, rounded down."""
        return _whole_samples(self.sample_rate_hz, self.shift_ms)

    @property
    def frame_rate_hz(self) -> float:
        """Frames a second; exact: a shift that is no whole number of samples is shortened first."""
        return self.sample_rate_hz / self.shift_samples

    @property
    def frame_centre_s(self) -> Seconds:
        """Seconds from the first sample of a frame to the middle of its window."""
        return self.window_samples / 2 / self.sample_rate_hz

    def n_frames(self, n_samples: int) -> int:
        """Frames of `n_samples` samples: 1 + (n − window) // shift, none if shorter than a window."""
        return max(0, 1 + (n_samples - self.window_samples) // self.shift_samples)

    def with_statistics(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> "FeatureConfig":
        """The same features, normalised by the mean and standard deviation (width,) of a training set.

        Raises ValueError for a value that does not vary by more than float32 can show.
        """
        means = np.asarray(mean, np.float64).ravel()
        deviations = np.asarray(std, np.float64).ravel()
        expected = (self.input_width,)
        if means.shape != expected or deviations.shape != expected:
            raise ValueError(f"statistics need {expected[0]} values, got {len(means)} and {len(deviations)}")
        flat = np.flatnonzero(~(deviations > 1e-6 * np.maximum(np.abs(means), 1.0)))
        if len(flat) > 0:
            raise ValueError(
                f"value {flat[0]} of the features never varies over the training set (standard deviation "
                f"{deviations[flat[0]]:.2g}), so it cannot be normalised; leave it out, for example with a "
                f"lower high_hz"
            )
        return dataclasses.replace(self, mean=tuple(means.tolist()), scale=tuple((1 / deviations).tolist()))

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same configuration."""
        described = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in described.items()}

    @classmethod
    def from_json(cls, described: object) -> "FeatureConfig":
        """The configuration of `to_json`. Raises ValueError on an unknown field or a wrong type."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(described, Mapping) or not set(described) <= names:
            raise ValueError(f"features have fields among {sorted(names)}; got {described!r:.200}")
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in described.items()}
        return cls(**given)


def compute_features(waveform_samples: npt.ArrayLike, config: FeatureConfig) -> Frames:
    """The features of a whole waveform, normalised if the configuration has statistics.

    waveform_samples: float32 (n_samples,) at `config.sample_rate_hz`, in [-1, 1].
    Returns: float32 (n_frames, width), n_frames = 1 + (n_samples − window) // shift, or 0 if shorter.

        E[t, m] = max(Σ_f M[m, f] |S[t, f]|², 2^-23)       S: FFT of the windowed frame, M: mel filters
        log_mel[t, m] = ln E[t, m]
        mfcc[t, k] = √((1 + [k > 0]) / n_mels) Σ_m log_mel[t, m] cos(π k (m + ½) / n_mels)
        spectrogram[t, f] = ln max(|S[t, f]|², 2^-23)         of as many points as a window has samples

    M are triangles spaced evenly on the scale 1127 ln(1 + f / 700) (kaldi's feature-fbank and feature-mfcc).
    Error:  log-mel within 3e-4 of the float64 reference for speech and 40 filters, 1e-3 for 80; the largest
            where a filter is far weaker than its frame. tests/test_features.py derives the bound.
    Raises: ValueError on NaN, infinity, several channels or features of kind "given"; TypeError on integers.
    """
    return OnlineFeatures(config).push(waveform_samples)


def normalise(frames: npt.ArrayLike, config: FeatureConfig) -> Frames:
    """(x − mean) · scale of each frame, or the frames as they came if there are no statistics.

    frames: float (n_frames, width); the result is float32 of the same shape.
    Raises: ValueError on another shape, NaN or infinity.
    """
    given = np.asarray(frames)
    if given.ndim != 2 or given.shape[1] != config.input_width:
        raise ValueError(f"frames must have the shape (n, {config.input_width}), got {given.shape}")
    with np.errstate(over="ignore"):
        as_float = given.astype(np.float32, copy=False)
    if not np.isfinite(as_float).all():
        first = int(np.flatnonzero(~np.isfinite(as_float).all(axis=1))[0])
        raise ValueError(f"frame {first} of {len(given)} holds NaN or infinity; features must be finite")
    if config.mean is None or config.scale is None:
        return as_float
    return (as_float - np.asarray(config.mean, np.float32)) * np.asarray(config.scale, np.float32)


class OnlineFeatures:
    """Features of a stream, in pieces: any cut of the same samples returns the same frames.

    Memory is constant: a frame is handed over once and forgotten.
    """

    def __init__(self, config: FeatureConfig) -> None:
        if config.kind == "given":
            raise ValueError(
                "these features are given, not computed: the model reads frames, not sound; "
                "pass it features of the same kind"
            )
        self._config = config
        self._extractor = _make_extractor(config)
        self._n_taken = 0
        self._finished = False

    def push(self, samples: npt.ArrayLike) -> Frames:
        """The frames (n, width) that are complete after these samples; possibly none.

        Raises: ValueError on NaN, infinity, several channels or after `finish`; TypeError on integers.
        """
        checked = checked_samples(samples)
        self._refuse_if_finished()
        self._extractor.accept_waveform(self._config.sample_rate_hz, checked)
        return self._take()

    def finish(self) -> Frames:
        """The frames not yet returned: always none, as a frame needs a whole window. Ends the stream."""
        self._refuse_if_finished()
        self._finished = True
        return self._take()

    def _take(self) -> Frames:
        n_ready = self._extractor.num_frames_ready
        if n_ready == self._n_taken:
            return np.zeros((0, self._config.input_width), np.float32)
        frames = np.stack([self._extractor.get_frame(i) for i in range(self._n_taken, n_ready)])
        self._extractor.pop(n_ready - self._n_taken)
        self._n_taken = n_ready
        return normalise(frames, self._config)

    def _refuse_if_finished(self) -> None:
        if self._finished:
            raise ValueError("this stream of features is finished; make a new one for the next stream")


class FeatureStatistics:
    """Mean and standard deviation of features over many utterances, in float64.

    Sums squared distances from the running mean (Chan et al. 1979, eq. 2.1), never squares of the values.
    """

    def __init__(self, width: int) -> None:
        self.n_frames = 0
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)

    def add(self, frames: npt.ArrayLike) -> None:
        """Nothing; takes the frames (n, width) of an utterance into account."""
        given = np.asarray(frames, np.float64)
        if given.ndim != 2 or given.shape[1:] != self._mean.shape:
            raise ValueError(f"frames must have the shape (n, {len(self._mean)}), got {given.shape}")
        if len(given) == 0:
            return
        total = self.n_frames + len(given)
        mean = given.mean(axis=0)
        moved = mean - self._mean
        self._squares += ((given - mean) ** 2).sum(axis=0) + moved**2 * (self.n_frames * len(given) / total)
        self._mean = self._mean + moved * (len(given) / total)
        self.n_frames = total

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each value (width,)."""
        self._refuse_if_empty()
        return self._mean.copy()

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each value (width,), dividing by n."""
        self._refuse_if_empty()
        return np.sqrt(self._squares / self.n_frames)

    def _refuse_if_empty(self) -> None:
        if self.n_frames == 0:
            raise ValueError("no frame was added, so there is no mean; add the features of some utterances")


def _make_extractor(config: FeatureConfig) -> Any:
    if config.kind == "spectrogram":
        return OnlineSpectrogram(config.window_samples, config.shift_samples)
    import kaldi_native_fbank as knf

    options = knf.FbankOptions() if config.kind == "log_mel" else knf.MfccOptions()
    options.use_energy = False
    frame, mel = options.frame_opts, options.mel_opts
    frame.dither = 0.0
    frame.snip_edges = True
    frame.samp_freq = config.sample_rate_hz
    # Half a sample more: kaldi rounds down in float32, which could lose a whole sample of an exact length.
    frame.frame_length_ms = (config.window_samples + 0.5) * 1000 / config.sample_rate_hz
    frame.frame_shift_ms = (config.shift_samples + 0.5) * 1000 / config.sample_rate_hz
    mel.num_bins = config.n_mels
    mel.low_freq = config.low_hz
    mel.high_freq = _high_hz(config)
    if config.kind == "log_mel":
        return knf.OnlineFbank(options)
    options.num_ceps = config.n_mfcc
    options.cepstral_lifter = 0.0
    return knf.OnlineMfcc(options)


def _whole_samples(sample_rate_hz: int, milliseconds: float) -> int:
    return math.floor(sample_rate_hz * milliseconds / 1000 + 1e-6)


def _high_hz(config: FeatureConfig) -> float:
    return config.sample_rate_hz / 2 if config.high_hz is None else config.high_hz


def _check_frames(config: FeatureConfig) -> None:
    _require(config, kind=config.kind in _KINDS)
    rate = config.sample_rate_hz
    _require(config, sample_rate_hz=_is_int(rate) and 100 <= rate <= MAX_SAMPLE_RATE_HZ)
    _require(config, window_ms=_is_number(config.window_ms) and 0 < config.window_ms <= _MAX_WINDOW_MS)
    _require(config, window_ms=config.window_samples >= 2)
    _require(config, shift_ms=_is_number(config.shift_ms) and 0 < config.shift_ms <= config.window_ms)
    _require(config, shift_ms=config.shift_samples >= 1)


def _check_width(config: FeatureConfig) -> None:
    _require(config, n_mels=_is_int(config.n_mels) and 3 <= config.n_mels <= _MAX_WIDTH)
    _require(config, n_mfcc=_is_int(config.n_mfcc) and config.n_mfcc >= 1)
    if config.kind == "given":
        _require(config, width=_is_int(config.width) and 1 <= (config.width or 0) <= _MAX_WIDTH)
    else:
        _require(config, width=config.width is None)
    if config.kind == "mfcc":
        _require(config, n_mfcc=config.n_mfcc <= config.n_mels)


def _check_filters(config: FeatureConfig) -> None:
    """Raises ValueError unless every mel filter covers at least one bin of the FFT."""
    _require(config, low_hz=_is_number(config.low_hz) and config.low_hz >= 0)
    _require(config, high_hz=config.high_hz is None or _is_number(config.high_hz))
    high_hz = _high_hz(config)
    _require(config, high_hz=config.low_hz < high_hz <= config.sample_rate_hz / 2)
    n_fft = 2 ** math.ceil(math.log2(config.window_samples))
    edges = np.linspace(_mel(config.low_hz), _mel(high_hz), config.n_mels + 2)
    bins = _mel(np.arange(n_fft // 2) * (config.sample_rate_hz / n_fft))
    first_above = np.searchsorted(bins, edges[:-2], side="right")
    n_inside = np.searchsorted(bins, edges[2:], side="left") - first_above
    if (n_inside < 1).any():
        raise ValueError(
            f"n_mels = {config.n_mels} is too many for a window of {config.window_ms} ms: mel filter "
            f"{int(np.flatnonzero(n_inside < 1)[0])} is narrower than one bin of the {n_fft}-point FFT; "
            f"take fewer filters or a longer window"
        )


def _mel(frequency_hz: Any) -> Any:
    return 1127.0 * np.log(1.0 + frequency_hz / 700.0)


def _check_statistics(config: FeatureConfig) -> None:
    _require(config, scale=(config.mean is None) == (config.scale is None))
    for name, values in (("mean", config.mean), ("scale", config.scale)):
        fits = values is None or _has_length(values, config.input_width)
        _require(config, **{name: fits and all(_is_number(value) for value in values or ())})


def _require(config: FeatureConfig, **holds: bool) -> None:
    """Nothing; raises ValueError for the first field whose condition does not hold."""
    for field in (field for field, fine in holds.items() if not fine):
        raise ValueError(f"features of kind {config.kind!r}: {field} cannot be {getattr(config, field)!r}")


def _has_length(values: object, n: int) -> bool:
    return isinstance(values, tuple) and len(values) == n


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number that float32 holds; false for NaN, and exact for an integer of any length."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_FLOAT32
