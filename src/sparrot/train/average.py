"""A moving average of a network's parameters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """What a network's parameters were of late; often better than where they are (Polyak & Juditsky 1992).

        θ̄ ← a · θ̄ + (1 − a) · θ,   a = min(decay, (1 + t) / (10 + t)) after update t

    The bound on a keeps the start from weighing too much in a short run (our choice).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._parameters = dict(network.named_parameters())
        self._decay = decay
        self._n_updates = 0
        self._average = {name: value.detach().clone() for name, value in self._parameters.items()}

    def update(self) -> None:
        """Takes the parameters as they are now into the average."""
        self._n_updates += 1
        keep = min(self._decay, (1 + self._n_updates) / (10 + self._n_updates))
        for name, value in self._parameters.items():
            self._average[name].lerp_(value.detach(), 1.0 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the average; afterwards every bit is as before."""
        before = {name: value.detach().clone() for name, value in self._parameters.items()}
        try:
            self._set(self._average)
            yield
        finally:
            self._set(before)

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates in it."""
        average = {name: value.clone() for name, value in self._average.items()}
        return {"n_updates": self._n_updates, "parameters": average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        self._n_updates = state["n_updates"]
        for name, value in self._average.items():
            value.copy_(state["parameters"][name])

    def _set(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(values[name])
