"""Tiny sounds for the tests of corpora."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """Writes `n_samples` samples 1, 2, 3, … (of 32768) to a file in the test's folder; returns its path."""

    def make(name: str, n_samples: int = 800, sample_rate_hz: int = 8000, first: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.arange(first, first + n_samples, dtype=np.int16), sample_rate_hz, "PCM_16")
        return path

    return make
