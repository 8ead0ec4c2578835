"""Sound that is read block by block has the features of the whole."""

import numpy as np
import pytest

from sparrot.audio import OpenSound, Waveform, resample
from sparrot.engine.recordings import SoundFeatures
from sparrot.features import FeatureConfig, compute_features


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 44_100])
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_features_of_blocks_are_those_of_the_whole(rate_hz, n_blocks):
    config = FeatureConfig(sample_rate_hz=8_000, n_mels=20)
    samples = 0.1 * np.random.default_rng(1).standard_normal(rate_hz // 3).astype(np.float32)
    pieces = SoundFeatures(OpenSound(iter(np.array_split(samples, n_blocks)), rate_hz), config)
    whole = compute_features(resample(Waveform(samples, rate_hz), 8_000).samples, config)
    np.testing.assert_array_equal(np.concatenate(list(pieces)), whole)
    assert pieces.duration == len(samples) / rate_hz
