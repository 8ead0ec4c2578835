"""How well a network foretells a text."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from sparrot.lm.text import windows
from sparrot.nn.language import LanguageNetwork, States, detached


def next_word_losses(logits: Tensor, following: Tensor) -> Tensor:
    """−ln p of every word, float (batch, n).

    logits: float (batch, n, n_tokens); following: int64 (batch, n).
    """
    flat = functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none")
    return flat.view_as(following)


@torch.inference_mode()
def perplexity(network: LanguageNetwork, stretches: Tensor, steps: int = 100) -> float:
    """The exponential of the mean of −ln p(word | words before it), the state carried through every stretch.

    stretches: int64 (batch, n); the first word of each is only given.
    """
    was_training = network.training
    network.eval()
    states: States | None = None
    total, n_words = 0.0, 0
    for given, following in windows(stretches, steps):
        logits, states = network(given, states)
        states = detached(states)
        total += float(next_word_losses(logits, following).double().sum())
        n_words += following.numel()
    network.train(was_training)
    return math.exp(total / n_words)
