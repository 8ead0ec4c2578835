"""Log-mel energies and cepstra by definition: loops in float64, a Fourier sum instead of an FFT."""

import math

import numpy as np

ENERGY_FLOOR = 2.0**-23


def mel(frequency_hz: float) -> float:
    return 1127.0 * math.log(1.0 + frequency_hz / 700.0)


def povey_window(n: int) -> np.ndarray:
    return np.array([(0.5 - 0.5 * math.cos(2 * math.pi * i / (n - 1))) ** 0.85 for i in range(n)])


def mel_filters(n_mels: int, n_fft: int, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    edges = np.linspace(mel(low_hz), mel(high_hz), n_mels + 2)
    filters = np.zeros((n_mels, n_fft // 2))
    for m in range(n_mels):
        left, centre, right = edges[m : m + 3]
        for f in range(n_fft // 2):
            at = mel(f * rate_hz / n_fft)
            filters[m, f] = max(0.0, min((at - left) / (centre - left), (right - at) / (right - centre)))
    return filters


def prepared_frame(samples: np.ndarray) -> np.ndarray:
    """Mean removed, pre-emphasised by 0.97 (the first sample by itself), windowed."""
    centred = samples.astype(np.float64) - samples.astype(np.float64).mean()
    previous = np.concatenate([centred[:1], centred[:-1]])
    return (centred - 0.97 * previous) * povey_window(len(samples))


def power_spectra(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Power (n_frames, n_fft / 2) of 25 ms windows every 10 ms, lengths rounded down to samples."""
    window, shift = rate_hz * 25 // 1000, rate_hz * 10 // 1000
    n_fft = 2 ** math.ceil(math.log2(window))
    waves = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2), np.arange(window)) / n_fft)
    starts = range(0, len(samples) - window + 1, shift)
    spectra = [abs(waves @ prepared_frame(samples[s : s + window])) ** 2 for s in starts]
    return np.array(spectra).reshape(-1, n_fft // 2)


def spectrogram(samples: np.ndarray, window: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Log power (n_frames, window // 2 + 1) under a Hann window, and what cancelling sums may change of it.

    A sum of n products is off by n · 2^-53 of their sizes in all; so is the one that it is compared with.
    """
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / (window - 1)) for i in range(window)])
    waves = np.exp(-2j * np.pi * np.outer(np.arange(window // 2 + 1), np.arange(window)) / window)
    frames = [samples[s : s + window] * hann for s in range(0, len(samples) - window + 1, shift)]
    sums = np.array([waves @ frame for frame in frames])
    sizes = np.array([abs(frame).sum() for frame in frames])[:, None]
    power = np.maximum(abs(sums) ** 2, ENERGY_FLOOR)
    off = 4 * window * 2.0**-53 * sizes
    return np.log(power), (2 * off * abs(sums) + off**2) / power


def cepstra(log_mel: np.ndarray, n_mfcc: int) -> np.ndarray:
    """√((1 + [k > 0]) / n_mels) Σ_m log_mel[m] cos(π k (m + ½) / n_mels) for k = 0 … n_mfcc − 1."""
    n_mels = log_mel.shape[1]
    k, m = np.arange(n_mfcc)[:, None], np.arange(n_mels)
    basis = np.sqrt((1.0 + (k > 0)) / n_mels) * np.cos(np.pi * k * (m + 0.5) / n_mels)
    return log_mel @ basis.T
