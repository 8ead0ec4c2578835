import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from sparrot.train.config import OptimiserConfig, ScheduleConfig
from sparrot.train.optimisation import make_optimiser, rate_factor, set_rate


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            ScheduleConfig(kind="constant", warmup=0.2),
            {0.0: 1e-3, 0.05: 0.25, 0.1: 0.5, 0.2: 1.0, 0.7: 1.0, 1.0: 1.0},
        ),
        (
            ScheduleConfig(kind="step", warmup=0.1, decay=0.5, every=0.3),
            {0.0: 1e-3, 0.05: 0.5, 0.1: 1.0, 0.39: 1.0, 0.4: 0.5, 0.69: 0.5, 0.7: 0.25, 1.0: 0.125},
        ),
        (
            ScheduleConfig(kind="one_cycle", warmup=0.2),
            {0.0: 1e-3, 0.1: 0.5, 0.2: 1.0, 0.4: 0.5 + 0.25 * math.sqrt(2), 0.6: 0.5, 1.0: 1e-3, 1.1: 1e-3},
        ),
        (ScheduleConfig(kind="one_cycle", warmup=0.0), {0.0: 1.0, 0.5: 0.5, 1.0: 1e-3}),
    ],
    ids=lambda value: value.kind if isinstance(value, ScheduleConfig) else "",
)
def test_rate_at_the_ends_and_in_between(schedule, expected):
    rates = {progress: rate_factor(progress, schedule) for progress in expected}
    assert rates == pytest.approx(expected)


def weights_after(make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]) -> torch.Tensor:
    """Where an optimiser takes the same weights in three steps."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimiser = make(layer.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        optimiser.step()
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"kind": "sgd", "weight_decay": 0.1},
            lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.1),
        ),
        (
            {"kind": "nesterov", "momentum": 0.9, "weight_decay": 0.1},
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
        ),
        (
            {"kind": "adamw", "weight_decay": 0.1},
            lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
        ),
    ],
)
def test_optimisers_are_those_of_torch(config, expected):
    ours = OptimiserConfig(learning_rate=0.05, **config)
    # A fused step rounds elsewhere: three of them, of about ten roundings each.
    found = weights_after(lambda p: make_optimiser(p, ours))
    torch.testing.assert_close(found, weights_after(expected), rtol=30 * 2.0**-24, atol=0)


def test_set_rate_reaches_every_group():
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 2.0}])
    set_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]
