"""Log power spectra of a stream, frame by frame."""

from typing import Final

import numpy as np
import numpy.typing as npt

ENERGY_FLOOR: Final = 2.0**-23  # that of kaldi's filters, on samples in [-1, 1]


class OnlineSpectrogram:
    """The interface of kaldi's online features, as far as `OnlineFeatures` needs it.

    window, shift: in samples. A frame has window // 2 + 1 values, ln max(|S|², 2^-23), S the discrete Fourier
    transform of as many points as the window has samples, a Hann window: no mean is removed, nothing is
    pre-emphasised or padded. In float64, rounded to float32 at the end.
    """

    def __init__(self, window: int, shift: int) -> None:
        self._window, self._shift = np.hanning(window), shift
        self._samples = np.zeros(0)  # from the first that a later frame needs
        self._ready: list[npt.NDArray[np.float32]] = []
        self._n_popped = 0

    @property
    def num_frames_ready(self) -> int:
        """Frames so far, those that were popped among them."""
        return self._n_popped + len(self._ready)

    def accept_waveform(self, _: int, samples: npt.NDArray[np.float32]) -> None:
        """Goes on by samples; their rate is not needed."""
        self._samples = np.concatenate([self._samples, samples])
        n = len(self._window)
        n_frames = max(0, 1 + (len(self._samples) - n) // self._shift)
        for start in range(0, n_frames * self._shift, self._shift):
            power = np.abs(np.fft.rfft(self._samples[start : start + n] * self._window)) ** 2
            self._ready.append(np.log(np.maximum(power, ENERGY_FLOOR)).astype(np.float32))
        self._samples = self._samples[n_frames * self._shift :]

    def get_frame(self, number: int) -> npt.NDArray[np.float32]:
        """A frame that is ready and was not popped."""
        return self._ready[number - self._n_popped]

    def pop(self, n: int) -> None:
        """Forgets the first n frames that are left."""
        del self._ready[:n]
        self._n_popped += n
