"""A recogniser's network in torch."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparrot.architecture import Architecture
from sparrot.nn.layers import Batch, Recurrent, build, is_inside


class CtcNetwork(nn.Module):
    """Features to token logits, layer by layer as the architecture lists them; token 0 is the blank.

    dropout: probability of a zero in the output of every recurrent layer while training.
    """

    def __init__(self, architecture: Architecture, dropout: float = 0.0) -> None:
        super().__init__()
        self.architecture = architecture
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleDict()
        for layer, given in zip(architecture.layers, architecture.shapes(), strict=False):
            self.layers[layer.name] = build(layer, given)

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
            if isinstance(module, Recurrent):
                frames = self.dropout(frames)
        return frames, lengths

    def export(self) -> dict[str, npt.NDArray[np.float32]]:
        """The parameters under the names of `architecture.matrices()` and `.vectors()`."""
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
