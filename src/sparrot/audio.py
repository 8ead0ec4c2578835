"""Sound from files and microphones as float32 samples at the sampling rate that a model wants.

Samples are float32 in [-1, 1] (16-bit integers divided by 32768); a float file may exceed that, and
nothing clips it, up to 1e12. One resampler at one quality serves training, files and streams: soxr at MQ.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.float32]
Channel: TypeAlias = Literal["mix"] | int
Seconds: TypeAlias = float

RESAMPLER_QUALITY: Final = "MQ"
MAX_SAMPLE_RATE_HZ: Final = 1_000_000
MAX_RATE_RATIO: Final = 200  # between two rates of a `StreamResampler`
MAX_HELD_BACK_S: Final = 0.120  # of a `StreamResampler` between common rates from 8 kHz up
MAX_SAMPLE: Final = 1e12  # either way; energies of larger ones overflow float32 from 1e15 on
_MAX_SECONDS: Final = 1e9  # 32 years; its samples can still be counted
_BLOCK_VALUES: Final = 2**20  # read from a file at once, over all channels
_SOXR_SAMPLES: Final = 4096  # pushed at once; of more than about 16,000 soxr holds back up to 50 ms more


@dataclass(frozen=True, eq=False)
class Waveform:
    """One channel of sound.

    samples:        float32 (n_samples,), nominally in [-1, 1].
    sample_rate_hz: samples a second.
    """

    samples: Samples
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if not _is_float32(self.samples):
            kind = getattr(self.samples, "dtype", type(self.samples).__name__)
            raise TypeError(f"a waveform needs a float32 array of samples, got {kind}")
        if self.samples.ndim != 1:
            raise ValueError(f"a waveform has one channel, got samples of shape {self.samples.shape}")
        check_sample_rate(self.sample_rate_hz)

    @property
    def duration(self) -> Seconds:
        """Its length in seconds."""
        return len(self.samples) / self.sample_rate_hz


def check_sample_rate(sample_rate_hz: object) -> None:
    """Nothing; raises ValueError unless the rate is a whole number of hertz in 1 … 1,000,000."""
    if not _is_int(sample_rate_hz) or not 1 <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise ValueError(
            f"a sampling rate is a whole number of hertz from 1 to {MAX_SAMPLE_RATE_HZ}; "
            f"got {sample_rate_hz!r}"
        )


@dataclass(frozen=True, eq=False)
class OpenSound:
    """Sound that is read while it is used, and not kept.

    blocks: float32 (n,) each, one channel; read once.
    """

    blocks: Iterator[Samples]
    sample_rate_hz: int


def checked_samples(samples: npt.ArrayLike, first: int = 0) -> Samples:
    """The samples as a float32 (n_samples,) array, copied only where the type demands it.

    first:  number of the first of them in its recording, for an error to name.
    Raises: TypeError for integers, whose scale is not known; ValueError for several channels, NaN,
    infinity or what is beyond MAX_SAMPLE.
    """
    given = np.asarray(samples)
    if given.dtype.kind != "f":
        raise TypeError(
            f"samples must be floating point in [-1, 1], got {given.dtype}; divide 16-bit integers by 32768"
        )
    if given.ndim != 1:
        raise ValueError(f"samples must be one channel of shape (n,), got {given.shape}; pick or mix first")
    with np.errstate(over="ignore"):
        cast = given.astype(np.float32, copy=False)
    if not (np.abs(cast) <= MAX_SAMPLE).all():
        wrong = int(np.flatnonzero(~(np.abs(cast) <= MAX_SAMPLE))[0])
        required = f"in [-1, 1], or at most {MAX_SAMPLE:g}" if np.isfinite(cast[wrong]) else "finite"
        raise ValueError(f"sample {first + wrong} is {given[wrong]}; samples must be {required}")
    return cast


def read_audio(
    source: Path | str | BinaryIO,
    channel: Channel = "mix",
    *,
    start: Seconds = 0.0,
    duration: Seconds | None = None,
) -> Waveform:
    """The sound in a file or an open binary stream, at the rate at which it is stored.

    start: seconds to skip; `duration`: at most this many seconds after that. None reads it all.
    The rest is as in `open_audio`. A sound file without samples is not an error.
    """
    with open_audio(source, channel, start=start, duration=duration) as sound:
        return Waveform(np.concatenate(list(sound.blocks)), sound.sample_rate_hz)


@contextmanager
def open_audio(
    source: Path | str | BinaryIO,
    channel: Channel = "mix",
    *,
    start: Seconds = 0.0,
    duration: Seconds | None = None,
) -> Iterator[OpenSound]:
    """The sound in a file or an open binary stream, block by block, at the rate at which it is stored.

    source:   anything libsndfile reads (WAV, FLAC, Ogg, Opus, MP3, …); what cannot seek, such as a
              pipe, whether given by name or open, is read to its end first.
    channel:  "mix" averages the channels, a number (from 0) picks one.
    Raises:   OSError if the file cannot be opened; ValueError if it is not audio, ends before
              `start`, or lacks the channel, and while reading if it is damaged.
    """
    _check_part(start, duration)
    name = _name_of(source)
    with _open_sound(source, name) as sound:
        first = round(start * sound.samplerate)
        if first > sound.frames:
            length = sound.frames / sound.samplerate
            raise ValueError(f"{name} ends after {length:.3f} s; cannot start reading at {start} s")
        n_wanted = None if duration is None else round(duration * sound.samplerate)
        yield OpenSound(_mono(sound, first, n_wanted, channel, name), int(sound.samplerate))


def resample(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """The same sound at another sampling rate; n · to / from samples, within one.

    Equal bit for bit to what `StreamResampler` returns in pieces. Raises ValueError on NaN or
    infinity.
    """
    if waveform.sample_rate_hz == sample_rate_hz:
        return waveform
    stream = StreamResampler(waveform.sample_rate_hz, sample_rate_hz)
    pieces = [stream.push(waveform.samples), stream.finish()]
    return Waveform(np.concatenate(pieces), sample_rate_hz)


class StreamResampler:
    """Resamples a stream in pieces: any cut of the same samples returns the same samples.

    soxr works in blocks, so what it holds back until `finish` rises and falls with their phase: 5 to 42 ms
    from 22.05, 44.1 or 48 to 16 kHz, 10 to 118 ms between 8 and 16 kHz (`MAX_HELD_BACK_S`; `max_held_back`
    measures it). Memory is constant. Equal rates pass through without delay. Raises ValueError if one of
    the rates is more than 200 times the other.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        check_sample_rate(from_hz)
        check_sample_rate(to_hz)
        if max(from_hz, to_hz) > MAX_RATE_RATIO * min(from_hz, to_hz):
            raise ValueError(
                f"cannot resample from {from_hz} to {to_hz} Hz: no rate of speech is {MAX_RATE_RATIO} times "
                f"another, so one of the two is wrong"
            )
        self.from_hz, self.to_hz = int(from_hz), int(to_hz)
        self._finished = False
        self._stream: Any = None
        if self.from_hz != self.to_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=RESAMPLER_QUALITY)

    def push(self, samples: npt.ArrayLike) -> Samples:
        """The samples at `to_hz` that are complete after these at `from_hz`; possibly none.

        Raises: ValueError on NaN, infinity, several channels or after `finish`; TypeError on integers.
        """
        checked = checked_samples(samples)
        self._refuse_if_finished()
        return checked if self._stream is None else self._resampled(checked, last=False)

    def finish(self) -> Samples:
        """The samples that were held back; nothing can be pushed afterwards."""
        self._refuse_if_finished()
        self._finished = True
        rest = np.zeros(0, np.float32)
        return rest if self._stream is None else self._resampled(rest, last=True)

    def _resampled(self, samples: Samples, *, last: bool) -> Samples:
        pieces = np.split(np.ascontiguousarray(samples), range(_SOXR_SAMPLES, len(samples), _SOXR_SAMPLES))
        return np.concatenate([self._stream.resample_chunk(piece, last=last) for piece in pieces])

    def _refuse_if_finished(self) -> None:
        if self._finished:
            raise ValueError("this resampler is finished; make a new one for the next stream")


@lru_cache(maxsize=64)
def max_held_back(from_hz: int, to_hz: int) -> Seconds:
    """The most that a `StreamResampler` holds back at any moment, to half a millisecond at common rates.

    Measured over a second or 16,000 samples, whichever is more, in 2,000 pieces; what it could rise by
    inside a piece is added. 0 for equal rates.
    """
    if from_hz == to_hz:
        return 0.0
    stream = StreamResampler(from_hz, to_hz)
    piece = np.zeros(max(from_hz, 16_000) // 2_000, np.float32)
    pushed_s = np.arange(1, 2_001) * (len(piece) / from_hz)
    heard_s = np.cumsum([len(stream.push(piece)) for _ in range(2_000)]) / to_hz
    return float((pushed_s - heard_s).max()) + len(piece) / from_hz


@contextmanager
def _open_sound(source: Path | str | BinaryIO, name: str) -> Iterator[Any]:
    """A soundfile.SoundFile. It never sees the path, which it takes only in UTF-8."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file, _open_sound(file, name) as sound:
            yield sound
        return
    import soundfile

    try:
        sound = soundfile.SoundFile(source if _can_seek(source) else io.BytesIO(source.read()))
    except (RuntimeError, TypeError) as error:  # TypeError: headerless formats, named by their suffix
        raise ValueError(f"{name} is not audio that can be read: {_reason(error)}") from error
    with sound:
        yield sound


def _mono(sound: Any, first: int, n_frames: int | None, channel: Channel, name: str) -> Iterator[Samples]:
    """The blocks of an open file as one channel."""
    try:
        if first > 0:
            sound.seek(first)
        for block in _blocks(sound, n_frames):
            yield _one_channel(block, channel, name)
    except RuntimeError as error:  # soundfile's errors are RuntimeErrors
        raise ValueError(f"{name} is damaged: {_reason(error)}") from error


def _blocks(sound: Any, n_frames: int | None) -> Iterator[npt.NDArray[np.float32]]:
    """The next `n_frames` frames, or all, as float32 (n, n_channels); at least one block.

    No more memory is taken than the frames need that are there, whatever their number in the header.
    """
    most = max(1, _BLOCK_VALUES // sound.channels)
    left = sound.frames if n_frames is None else n_frames
    while True:
        block = sound.read(min(most, left), dtype="float32", always_2d=True)
        yield block
        left -= len(block)
        if left == 0 or len(block) < most:
            return


def _can_seek(source: BinaryIO) -> bool:
    seekable = getattr(source, "seekable", None)
    return seekable is not None and bool(seekable())


def _one_channel(frames: npt.NDArray[np.float32], channel: Channel, name: str) -> Samples:
    """float32 (n,) of float32 (n, n_channels)."""
    n_channels = frames.shape[1]
    if channel == "mix":
        return frames[:, 0].copy() if n_channels == 1 else frames.mean(axis=1, dtype=np.float32)
    if not _is_int(channel) or not 0 <= channel < n_channels:
        raise ValueError(
            f'{name} has {n_channels} channel(s), numbered from 0; channel must be one of them or "mix", '
            f"got {channel!r}"
        )
    return frames[:, channel].copy()


def _check_part(start: Seconds, duration: Seconds | None) -> None:
    for name, seconds in (("start", start), ("duration", duration)):
        if seconds is not None and not 0 <= seconds <= _MAX_SECONDS:
            raise ValueError(f"{name} must be from 0 to {_MAX_SECONDS:.0e} seconds, got {seconds}")


def _name_of(source: Path | str | BinaryIO) -> str:
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the audio stream"


def _reason(error: Exception) -> str:
    """What libsndfile said, without the path it repeats."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_float32(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32
