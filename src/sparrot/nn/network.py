"""A recogniser's network in torch."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparrot.architecture import Architecture
from sparrot.nn.batch import Batch, is_inside
from sparrot.nn.batch_norm import STATISTICS
from sparrot.nn.layers import Recurrent, SharedRnn, build


class CtcNetwork(nn.Module):
    """Features to token logits, layer by layer as the architecture lists them; token 0 is the blank.

    dropout: probability of a zero in the output of every recurrent layer while training.
    levels:  names of those that batch norm keeps statistics for, the full model first.
    """

    def __init__(
        self, architecture: Architecture, dropout: float = 0.0, levels: Sequence[str] = ("dense",)
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.dropout = nn.Dropout(dropout)
        self.levels = tuple(levels)
        self.layers = nn.ModuleDict()
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
            self.layers[layer.name] = build(layer, given, self.levels)

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """Logits of a batch of utterances.

        frames:  float (batch, n_frames, input_width); what lies past an utterance's end is ignored.
        lengths: int64 (batch,), frames of each utterance.
        Returns: float (batch, n_output_frames, n_tokens) and int64 (batch,) output lengths.
        """
        outside = ~is_inside(lengths, frames.shape[1])[:, :, None]
        frames = frames.masked_fill(outside, 0.0)  # a NaN there would reach gradients as 0 · NaN
        for module in self.layers.values():
            frames, lengths = module(frames, lengths)
            if isinstance(module, Recurrent | SharedRnn):
                frames = self.dropout(frames)
        return frames, lengths

    def start_from(self, state: Mapping[str, Tensor], levels: Sequence[str]) -> None:
        """Takes up the state of a network with other levels; those that it lacks begin as its full model."""
        rows = [levels.index(level) if level in levels else 0 for level in self.levels]
        own = {
            name: value[rows] if name.rpartition(".")[2] in STATISTICS else value
            for name, value in state.items()
        }
        self.load_state_dict(own)

    def export(self) -> dict[str, npt.NDArray[np.float32]]:
        """The parameters at the level at work, as `architecture.matrices()` and `.vectors()` name them."""
        with torch.no_grad():
            return {
                f"{name}.{part}": value.detach().numpy().astype(np.float32, copy=True)
                for name, module in self.layers.items()
                for part, value in module.export().items()  # type: ignore[operator]
            }

    def matrix_names(self) -> dict[str, str]:
        """Parameter name in this module → name of the same weights in `architecture.matrices()`."""
        exported = {value.data_ptr(): name for name, value in self._exported_tensors()}
        return {
            name: exported[parameter.data_ptr()]
            for name, parameter in self.named_parameters()
            if parameter.dim() >= 2 and parameter.data_ptr() in exported
        }

    def _exported_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, module in self.layers.items():
            for part, value in module.export().items():  # type: ignore[operator]
                yield f"{name}.{part}", value
