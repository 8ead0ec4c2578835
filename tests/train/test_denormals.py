import pytest
import torch

from sparrot.train.denormals import without_denormals

LEAST_NORMAL = 2.0**-126


def halved() -> float:
    return float(torch.full((100,), LEAST_NORMAL).mul_(0.5).sum())


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor has no such mode")
def test_denormals_are_zero_within_the_block_and_come_back_after_it():
    with without_denormals():
        assert halved() == 0.0
        assert float(torch.full((100,), LEAST_NORMAL).sum()) == pytest.approx(100 * LEAST_NORMAL)
    assert halved() == 50 * LEAST_NORMAL
    with pytest.raises(KeyboardInterrupt), without_denormals():
        raise KeyboardInterrupt
    assert halved() > 0.0
