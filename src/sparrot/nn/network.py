"""Networks in torch: layers one after the other, and the recognisers that are made of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparrot.architecture import AnyArchitecture, Architecture
from sparrot.nn.batch import Batch, is_inside
from sparrot.nn.batch_norm import STATISTICS
from sparrot.nn.dropout import Dropout
from sparrot.nn.layers import Linear, Recurrent, SharedRnn, build
from sparrot.nn.switching import Switching


class Network(nn.Module, ABC):
    """A network that an architecture describes.

    levels: names of those that batch norm keeps statistics for, the full model first.
    """

    architecture: AnyArchitecture
    levels: tuple[str, ...]

    @abstractmethod
    def exported(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters at the level at work, as `architecture.matrices()` and `.vectors()` name them."""

    def export(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of `exported`."""
        with torch.no_grad():
            return {
                name: value.detach().numpy().astype(np.float32, copy=True) for name, value in self.exported()
            }

    def matrix_names(self) -> dict[str, str]:
        """Parameter name in this module → name of the same weights in `architecture.matrices()`."""
        exported = {value.data_ptr(): name for name, value in self.exported()}
        return {
            name: exported[parameter.data_ptr()]
            for name, parameter in self.named_parameters()
            if parameter.dim() >= 2 and parameter.data_ptr() in exported
        }

    def start_from(self, state: Mapping[str, Tensor], levels: Sequence[str]) -> None:
        """Takes up the state of a network with other levels; those that it lacks begin as its full model."""
        self.load_state_dict(self._with_own_levels(state, levels))

    def _with_own_levels(self, state: Mapping[str, Tensor], levels: Sequence[str]) -> dict[str, Tensor]:
        rows = [levels.index(level) if level in levels else 0 for level in self.levels]
        return {
            name: value[rows] if name.rpartition(".")[2] in STATISTICS else value
            for name, value in state.items()
        }


class LayerStack(Network):
    """Layer after layer, as an `Architecture` lists them.

    dropout: probability of a zero, while training, in the output of every recurrent layer and of every linear
             one before the last of them.
    """

    architecture: Architecture

    def __init__(
        self, architecture: Architecture, dropout: float = 0.0, levels: Sequence[str] = ("dense",)
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.dropout = Dropout(dropout)
        self.levels = tuple(levels)
        self.layers = nn.ModuleDict()
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
            self.layers[layer.name] = build(layer, given, self.levels)
        is_recurrent = [isinstance(module, Recurrent | SharedRnn) for module in self.layers.values()]
        self._dropped_out = {
            module
            for i, module in enumerate(self.layers.values())
            if is_recurrent[i] or (isinstance(module, Linear) and any(is_recurrent[i:]))
        }

    def forward(self, frames: Tensor, lengths: Tensor, switching: Switching | None = None) -> Batch:
        """What leaves the last layer, of a batch of utterances.

        frames:    float (batch, n_frames, input_width); what lies past an utterance's end is ignored.
        lengths:   int64 (batch,), frames of each utterance.
        switching: weights that change inside the utterances, of layers that run forwards in time.
        Returns: float (batch, n_output_frames, n_tokens) and int64 (batch,) output lengths.
        """
        outside = ~is_inside(lengths, frames.shape[1])[:, :, None]
        frames = frames.masked_fill(outside, 0.0)  # a NaN there would reach gradients as 0 · NaN
        for name, module in self.layers.items():
            if switching is None:
                frames, lengths = module(frames, lengths)
            else:
                frames, lengths = _switched(module, frames, lengths, switching.of(f"layers.{name}"))
            if module in self._dropped_out:
                frames = self.dropout(frames)
        return frames, lengths

    def exported(self) -> Iterator[tuple[str, Tensor]]:
        """Of every layer in turn."""
        for name, module in self.layers.items():
            for part, value in module.export().items():  # type: ignore[operator]
                yield f"{name}.{part}", value


class CtcNetwork(LayerStack):
    """Features to token logits; token 0 is the blank."""


def _switched(module: nn.Module, frames: Tensor, lengths: Tensor, switching: Switching) -> Batch:
    if isinstance(module, Recurrent):
        return switching.of("ahead").run_recurrent(module.ahead, frames), lengths
    return switching.run(module, frames, lengths)
