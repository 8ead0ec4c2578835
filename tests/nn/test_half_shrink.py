"""The compiled proximal step of √|w| is that of torch in float64, to rounding."""

import math

import pytest
import torch

from sparrot import _training, sparsity
from sparrot._core import available_kernels
from sparrot.nn import shrink_half

UNIT = 2.0**-24
REACHES = [2.0**-24, 2.0**-10, 0.25]  # numbers of float32, so that both steps are of the same reach


def weights() -> torch.Tensor:
    spread = torch.logspace(-9, 3, 70_000)
    return torch.stack([spread, -spread.flip(0), 0.1 * torch.randn(70_000)])


def truth(weight: torch.Tensor, reach: float) -> torch.Tensor:
    after = weight.double()
    sparsity.shrink_half(after, reach)
    return after


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("isa", available_kernels())
def test_it_is_the_step_in_float64_within_rounding(isa, reach):
    weight = weights()
    found = weight.clone()
    _training.shrink_half(found, reach, threads=2, isa=isa)
    expected = truth(weight, reach)
    is_clear = (weight.abs().double() / (1.5 * reach ** (2 / 3)) - 1).abs() > 8 * UNIT  # of the jump to zero
    assert torch.equal((found == 0)[is_clear], (expected == 0)[is_clear])
    kept = is_clear & (expected != 0)
    assert kept.sum() > 10_000
    assert ((found.double() - expected) / expected)[kept].abs().max() <= 6 * UNIT


@pytest.mark.parametrize("isa", available_kernels())
def test_numbers_that_are_none_stay_and_no_reach_moves_nothing(isa):
    weight = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.01, 5.0])
    for reach, expected in (
        (0.25, [math.nan, math.inf, -math.inf, 0.0, 0.0, float(truth(weight[None], 0.25)[0, 5])]),
        (0.0, weight.tolist()),
    ):
        found = weight.clone()
        _training.shrink_half(found, reach, threads=1, isa=isa)
        torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)


def test_a_matrix_of_another_type_or_order_is_shrunk_by_torch():
    weight = weights()
    for given in (weight.double(), weight.clone().t(), weight.clone()):
        found = given.clone()
        shrink_half(found, 0.25)
        torch.testing.assert_close(found, truth(given, 0.25).to(given.dtype), rtol=1e-6, atol=0)
