"""The layers of `sparrot.architecture` as torch modules.

Every module maps (frames, lengths) to (frames, lengths): float (batch, n_frames, width) and int64
(batch,). Frames past the end of an utterance may hold any finite value; a layer that looks at its
neighbours zeroes them first, so that a batch gives what each utterance gives alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrot import architecture
from sparrot.architecture import CLIP, Reach, Shape
from sparrot.nn.batch import Batch, is_inside
from sparrot.nn.batch_norm import BatchNorm
from sparrot.nn.block_lstm import can_skip, lstm_of_blocks
from sparrot.sparsity import BlockMask

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": functional.relu,
    "clipped_relu": lambda x: x.clamp(0.0, CLIP),
    "tanh": torch.tanh,
}


class Window(nn.Module):
    """Neighbouring frames side by side, as `architecture.Window`."""

    def __init__(self, layer: architecture.Window) -> None:
        super().__init__()
        self.reach = layer.reach()

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """(batch, n_frames, width) → (batch, ⌈n_frames / stride⌉, (left + 1 + right) · width)."""
        padded = padded_in_time(frames, lengths, self.reach)
        windows = padded.unfold(1, self.reach.left + 1 + self.reach.right, self.reach.stride)
        return windows.transpose(2, 3).flatten(2), strided(lengths, self.reach)

    def export(self) -> Mapping[str, Tensor]:
        """No parameters."""
        return {}


class Convolution(nn.Module):
    """A convolution over time, or over time and bins, as `architecture.Convolution`."""

    def __init__(self, layer: architecture.Convolution, given: Shape) -> None:
        super().__init__()
        self.layer, self.given = layer, given
        bins = layer.kernel_bins or given.bins
        self.kernel = nn.Conv2d(
            given.channels,
            layer.channels,
            (layer.kernel, bins),
            stride=(layer.stride, layer.stride_bins),
            padding=(0, 0 if layer.kernel_bins is None else (bins - 1) // 2),
        )

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """(batch, n_frames, channels · bins) → (batch, ⌈n_frames / stride⌉, channels' · bins')."""
        reach = self.layer.reach()
        padded = padded_in_time(frames, lengths, reach)
        planes = padded.unflatten(2, (self.given.channels, self.given.bins)).transpose(1, 2)
        output = ACTIVATIONS[self.layer.activation](self.kernel(planes))
        return output.transpose(1, 2).flatten(2), strided(lengths, reach)

    def export(self) -> Mapping[str, Tensor]:
        """`kernel` (channels, in_channels · kernel · kernel_bins) and `bias`."""
        assert self.kernel.bias is not None
        return {"kernel": self.kernel.weight.flatten(1), "bias": self.kernel.bias}


class Recurrent(nn.Module):
    """One recurrent layer of torch, or two of them in opposite directions, concatenated.

    The backward layer runs over each utterance turned round within its own length instead of over a
    packed sequence: torch's fused LSTM does not take packed ones. The forget gate's bias starts at 1
    (Jozefowicz et al. 2015).

    An LSTM that is told its masks (`use_masks`) skips what they drop, where that is faster.
    """

    def __init__(self, layer: architecture.Recurrent, given: Shape) -> None:
        super().__init__()
        self.layer = layer
        self.ahead = _torch_layer(layer, given.width)
        self.back = _torch_layer(layer, given.width) if layer.bidirectional else None
        self._masks: Mapping[str, BlockMask] = {}

    def use_masks(self, masks: Mapping[str, BlockMask]) -> None:
        """Takes the dropped weights of these parameters for zeros whose gradients nobody needs."""
        self._masks = masks

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """(batch, n_frames, width) → (batch, n_frames, hidden · directions)."""
        output = self._run("ahead", frames)
        if self.back is not None:
            backward = self._run("back", turned_round(frames, lengths))
            output = torch.cat([output, turned_round(backward, lengths)], dim=2)
        return output, lengths

    def export(self) -> Mapping[str, Tensor]:
        """Parameters by the part names of `architecture.Recurrent`."""
        exported = _exported(self.ahead, self.layer)
        if self.back is not None:
            backward = _exported(self.back, self.layer)
            exported |= {f"reverse.{part}": value for part, value in backward.items()}
        return exported

    def _run(self, direction: str, frames: Tensor) -> Tensor:
        layer = self.get_submodule(direction)
        masks = {
            name.removeprefix(f"{direction}."): mask
            for name, mask in self._masks.items()
            if name.startswith(f"{direction}.")
        }
        if masks and isinstance(layer, nn.LSTM) and can_skip(layer, masks, frames):
            return lstm_of_blocks(layer, masks, frames)
        output: Tensor = layer(frames)[0]
        return output


class SharedRnn(nn.Module):
    """Two directions that share their input matrix and are summed, as `architecture.SharedRnn`."""

    def __init__(self, layer: architecture.SharedRnn, given: Shape, levels: Sequence[str]) -> None:
        super().__init__()
        bound = layer.cells**-0.5  # as torch draws the weights of its own RNN
        self.activation = ACTIVATIONS[layer.activation]
        self.input = nn.Parameter(torch.empty(layer.cells, given.width).uniform_(-bound, bound))
        self.recurrent = nn.Parameter(torch.empty(layer.cells, layer.cells).uniform_(-bound, bound))
        self.reverse = nn.Parameter(torch.empty(layer.cells, layer.cells).uniform_(-bound, bound))
        self.norm: BatchNorm | None = None
        self.bias: nn.Parameter | None = None
        if layer.batch_norm:
            groups = architecture.BatchNorm(layer.name).groups(layer.output(given))
            self.norm = BatchNorm(groups, architecture.BatchNorm.epsilon, levels)
        else:
            self.bias = nn.Parameter(torch.zeros(layer.cells))

    def prunable(self) -> Iterator[tuple[str, str, int]]:
        """Its matrices, for `sparrot.sparsity`."""
        for name in ("input", "recurrent", "reverse"):
            yield name, "rnn", 1

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """(batch, n_frames, width) → (batch, n_frames, cells), zeros past each utterance's end."""
        drives = functional.linear(frames, self.input, self.bias)
        if self.norm is not None:
            drives = self.norm(drives, lengths)[0]
        inside = is_inside(lengths, frames.shape[1])
        forward = self._direction(drives, inside, self.recurrent)
        backward = self._direction(turned_round(drives, lengths), inside, self.reverse)
        return forward + turned_round(backward, lengths), lengths

    def export(self) -> Mapping[str, Tensor]:
        """`input`, `recurrent` and `reverse.recurrent`, and `scale` and `shift`, or `bias`."""
        matrices = {"input": self.input, "recurrent": self.recurrent, "reverse.recurrent": self.reverse}
        if self.bias is not None:
            return {**matrices, "bias": self.bias}
        assert self.norm is not None
        return {**matrices, **self.norm.export()}

    def _direction(self, drives: Tensor, inside: Tensor, recurrent: Tensor) -> Tensor:
        """H of every frame. Padding is zero at each step: without end, a plain ReLU may grow to infinity."""
        hidden = drives.new_zeros(drives.shape[0], drives.shape[2])
        outputs = []
        for drive, is_frame in zip(drives.unbind(1), inside.unbind(1), strict=True):
            hidden = self.activation(drive + functional.linear(hidden, recurrent))
            hidden = hidden.masked_fill(~is_frame[:, None], 0.0)
            outputs.append(hidden)
        return torch.stack(outputs, 1) if outputs else drives


class LayerNorm(nn.Module):
    """Layer normalisation of each frame."""

    def __init__(self, layer: architecture.LayerNorm, given: Shape) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(given.width, eps=layer.epsilon)

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """The shape is kept."""
        return self.norm(frames), lengths

    def export(self) -> Mapping[str, Tensor]:
        """`scale` and `shift`."""
        return {"scale": self.norm.weight, "shift": self.norm.bias}


class Linear(nn.Module):
    """A fully connected layer and its activation."""

    def __init__(self, layer: architecture.Linear, given: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(given.width, layer.size)
        self.activation = ACTIVATIONS[layer.activation]

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """(batch, n_frames, width) → (batch, n_frames, size)."""
        return self.activation(self.linear(frames)), lengths

    def export(self) -> Mapping[str, Tensor]:
        """`weight` and `bias`."""
        return {"weight": self.linear.weight, "bias": self.linear.bias}


class Embedding(nn.Module):
    """The rows of a table that tokens have."""

    def __init__(self, layer: architecture.Embedding) -> None:
        super().__init__()
        self.table = nn.Embedding(layer.tokens, layer.size)

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """(batch, n_frames, 1), whole numbers → (batch, n_frames, size)."""
        return self.table(frames.squeeze(2).long()), lengths

    def export(self) -> Mapping[str, Tensor]:
        """`table`."""
        return {"table": self.table.weight}


Layer: TypeAlias = Window | Convolution | Recurrent | SharedRnn | LayerNorm | BatchNorm | Linear | Embedding


def build(layer: architecture.Layer, given: Shape, levels: Sequence[str]) -> Layer:
    """The module of one layer that is given frames of shape `given`, in a network of these levels."""
    match layer:
        case architecture.Window():
            return Window(layer)
        case architecture.Convolution():
            return Convolution(layer, given)
        case architecture.Recurrent():
            return Recurrent(layer, given)
        case architecture.SharedRnn():
            return SharedRnn(layer, given, levels)
        case architecture.LayerNorm():
            return LayerNorm(layer, given)
        case architecture.Linear():
            return Linear(layer, given)
        case architecture.BatchNorm():
            return BatchNorm(layer.groups(given), layer.epsilon, levels)
        case architecture.Embedding():
            return Embedding(layer)


def strided(lengths: Tensor, reach: Reach) -> Tensor:
    """⌈lengths / stride⌉."""
    return (lengths + reach.stride - 1) // reach.stride


def padded_in_time(frames: Tensor, lengths: Tensor, reach: Reach) -> Tensor:
    """The frames with zeros past each utterance's end, `reach.left` before and enough after."""
    n_frames = frames.shape[1]
    outside = ~is_inside(lengths, n_frames)[:, :, None]
    after = (reach.output_frames(n_frames) - 1) * reach.stride + reach.right + 1 - n_frames
    return functional.pad(frames.masked_fill(outside, 0.0), (0, 0, reach.left, max(after, 0)))


def turned_round(frames: Tensor, lengths: Tensor) -> Tensor:
    """Each utterance backwards in time, its padding where it was."""
    place = torch.arange(frames.shape[1], device=frames.device)[None, :]
    source = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return frames.gather(1, source[:, :, None].expand(frames.shape))


def _torch_layer(layer: architecture.Recurrent, width: int) -> nn.LSTM | nn.GRU | nn.RNN:
    if layer.cell == "gru":
        return nn.GRU(width, layer.cells, batch_first=True)
    if layer.cell == "rnn":
        return nn.RNN(width, layer.cells, batch_first=True)
    lstm = nn.LSTM(width, layer.cells, batch_first=True, proj_size=layer.projection or 0)
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[layer.cells : 2 * layer.cells] = 1.0
        lstm.get_parameter("bias_hh_l0")[layer.cells : 2 * layer.cells] = 0.0
    return lstm


def _exported(module: nn.LSTM | nn.GRU | nn.RNN, layer: architecture.Recurrent) -> dict[str, Tensor]:
    own = dict(module.named_parameters())
    given, recurrent = own["bias_ih_l0"], own["bias_hh_l0"]
    exported: dict[str, Tensor] = {
        "input": own["weight_ih_l0"],
        "recurrent": own["weight_hh_l0"],
        "bias": given + recurrent,
    }
    if layer.projection is not None:
        exported["projection"] = own["weight_hr_l0"]
    if layer.cell == "gru":
        gates = 2 * layer.cells  # the candidate's two biases stay apart: one is inside the reset product
        exported["bias"] = torch.cat([given[:gates] + recurrent[:gates], given[gates:]])
        exported["candidate_bias"] = recurrent[gates:]
    return exported
