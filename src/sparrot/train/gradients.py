"""The size of the gradient that one pass brings."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Iterator[Callable[[], float]]:
    """Gives a function for the ℓ2 norm of the gradient that the block's backward brings.

    What earlier passes have accumulated is not counted. Inside `DynamicSparsity.at` the gradient is that of
    the level: hooks run in the order in which they were set, so masks come first.
    """
    norms: list[Tensor] = []

    def observe(gradient: Tensor) -> None:
        norms.append(torch.linalg.vector_norm(gradient.detach()))

    hooks = [parameter.register_hook(observe) for parameter in parameters if parameter.requires_grad]
    try:
        yield lambda: torch.linalg.vector_norm(torch.stack(norms)).item() if norms else 0.0
    finally:
        for hook in hooks:
            hook.remove()
