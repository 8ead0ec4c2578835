"""A language model in torch: words in, the next word out, the state carried on."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from torch import Tensor, nn

from sparrot.architecture import Architecture, Embedding, Recurrent
from sparrot.architecture import Linear as LinearLayer
from sparrot.nn.dropout import Dropout
from sparrot.nn.layers import build
from sparrot.nn.network import Network

States: TypeAlias = list[tuple[Tensor, Tensor]]  # h and c of every layer, (1, batch, cells) each


def language_architecture(n_tokens: int, embedding: int, cells: int, layers: int) -> Architecture:
    """An embedding, LSTM layers, and a linear layer of all tokens (Zaremba et al. 2014)."""
    return Architecture(
        1,
        (
            Embedding("embedding", n_tokens, embedding),
            *(Recurrent(f"lstm{i}", "lstm", cells) for i in range(layers)),
            LinearLayer("output", n_tokens),
        ),
    )


class LanguageNetwork(Network):
    """The network of `language_architecture`.

    dropout: probability of a zero, while training, in what enters and leaves every LSTM layer, and never
             in what goes from one step to the next (Zaremba et al. 2014).
    """

    architecture: Architecture

    def __init__(
        self, architecture: Architecture, dropout: float = 0.0, levels: Sequence[str] = ("dense",)
    ) -> None:
        super().__init__()
        self.architecture, self.levels = architecture, tuple(levels)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleDict()
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
            self.layers[layer.name] = build(layer, given, self.levels)

    def forward(self, tokens: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Logits of the token after each, and the states after the last.

        tokens:  int64 (batch, n).
        states:  after what came before; None is zeros.
        Returns: float (batch, n, n_tokens), and states to go on with; a gradient flows back through both.
        """
        lengths = tokens.new_full((len(tokens),), tokens.shape[1])
        values = tokens[:, :, None]
        after: States = []
        for layer, module in zip(self.architecture.layers, self.layers.values(), strict=True):
            if isinstance(layer, Recurrent):
                lstm = module.get_submodule("ahead")
                values, state = lstm(values, None if states is None else states[len(after)])
                after.append(state)
            else:
                values, _ = module(values, lengths)
            if isinstance(layer, Recurrent | Embedding):
                values = self.dropout(values)
        return values, after

    def exported(self) -> Iterator[tuple[str, Tensor]]:
        """Of every layer in turn."""
        for name, module in self.layers.items():
            for part, value in module.export().items():  # type: ignore[operator]
                yield f"{name}.{part}", value


def detached(states: States) -> States:
    """The same states, cut off from what led to them."""
    return [(h.detach(), c.detach()) for h, c in states]
