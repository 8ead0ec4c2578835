"""LSTM layers in training that skip the blocks which a level drops."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sparrot._training import BlockLstm, BlockMatrix
from sparrot.sparsity import BlockMask

STRIP = 16  # rows of a block that the compiled products know
MOST_KEPT = 0.7  # share of a layer's weights; with more of them torch's dense products are about as fast
_MOST_THREADS = 256  # of the compiled products

_matrices: WeakKeyDictionary[BlockMask, BlockMatrix] = WeakKeyDictionary()


def can_skip(lstm: nn.LSTM, masks: Mapping[str, BlockMask], frames: Tensor) -> bool:
    """Whether `lstm_of_blocks` knows this layer, and is faster than the layer itself.

    It knows blocks of 16, 32, … rows, and float32 on the CPU without autocast.
    """
    weights = _weights(lstm).values()
    if torch.is_autocast_enabled("cpu") or any(
        tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in (frames, *weights)
    ):
        return False
    n_weights = sum(weight.numel() for weight in weights)
    n_kept = n_weights - sum(mask.n_dropped_weights for mask in masks.values())
    return n_kept <= MOST_KEPT * n_weights and all(
        mask.grid.block.rows % STRIP == 0 for mask in masks.values()
    )


def lstm_of_blocks(lstm: nn.LSTM, masks: Mapping[str, BlockMask], frames: Tensor) -> Tensor:
    """What `lstm(frames)[0]` is if dropped weights are zeros; none of them is read.

    lstm:    one layer in one direction, batch first, that `can_skip` says yes to.
    masks:   by the layer's names of its matrices; one that is not named is whole.
    frames:  float32 (batch, n_frames, width).
    Returns: float32 (batch, n_frames, hidden). The gradient of a dropped weight is zero, whatever torch's
             would be; all others are torch's but for rounding.

    Once the weights have changed, a backward through it raises RuntimeError, as through torch's layers.
    """
    weights = _weights(lstm)
    matrices = [
        _matrix(masks[name]) if name in masks else _whole(*weight.shape, 4 if name in _GATED else 1)
        for name, weight in weights.items()
    ]
    bias = lstm.get_parameter("bias_ih_l0") + lstm.get_parameter("bias_hh_l0")
    output: Tensor = _LstmOfBlocks.apply(matrices, frames, bias, *weights.values())
    return output


class _LstmOfBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, matrices: list[BlockMatrix], frames: Tensor, bias: Tensor, *weights: Tensor
    ) -> Tensor:
        values = [torch.empty(matrix.n_values) for matrix in matrices]
        for matrix, weight, packed in zip(matrices, weights, values, strict=True):
            matrix.pack(weight.detach(), packed)
        layer = BlockLstm(*matrices)
        frames = frames.detach().contiguous()
        output = frames.new_empty(*frames.shape[:2], weights[1].shape[1])
        trace = frames.new_empty(*frames.shape[:2], layer.trace_width)
        layer.forward(frames, values, bias.detach(), output, trace, threads=_threads())
        ctx.matrices = matrices
        ctx.save_for_backward(frames, output, trace, *values, *weights)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        n_matrices = len(ctx.matrices)
        # The weights are saved for torch, which raises here if they have changed.
        frames, output, trace, *rest = ctx.saved_tensors
        values, weights = rest[:n_matrices], rest[n_matrices:]
        of_frames = torch.empty_like(frames) if ctx.needs_input_grad[1] else None
        of_values = [torch.zeros_like(packed) for packed in values]
        of_bias = frames.new_zeros(weights[0].shape[0])
        BlockLstm(*ctx.matrices).backward(
            frames,
            values,
            output.detach(),
            trace,
            gradient.contiguous(),
            of_frames,
            of_values,
            of_bias,
            threads=_threads(),
        )
        of_weights = [torch.zeros_like(weight) for weight in weights]
        for matrix, packed, dense in zip(ctx.matrices, of_values, of_weights, strict=True):
            matrix.unpack(packed, dense)
        return None, of_frames, of_bias, *of_weights


_GATED = ("weight_ih_l0", "weight_hh_l0")


def _weights(lstm: nn.LSTM) -> dict[str, Tensor]:
    """The matrices by name: input, recurrent and, if there is one, projection."""
    projection = ("weight_hr_l0",) if lstm.proj_size else ()
    return {name: lstm.get_parameter(name) for name in (*_GATED, *projection)}


def _matrix(mask: BlockMask) -> BlockMatrix:
    """What a mask keeps, strip by strip; found once."""
    if mask not in _matrices:
        grid = mask.grid
        gates = torch.arange(0, grid.rows, grid.rows_per_gate)
        first_rows = (gates[:, None] + torch.arange(0, grid.rows_per_gate, STRIP)).flatten()
        kept = mask.keep[grid.block_of_row[first_rows]][:, grid.block_of_column]
        _matrices[mask] = BlockMatrix(kept, grid.rows, grid.gates)
    return _matrices[mask]


@cache
def _whole(rows: int, columns: int, gates: int) -> BlockMatrix:
    n_strips = gates * -(-rows // gates // STRIP)
    return BlockMatrix(torch.ones(n_strips, columns, dtype=torch.bool), rows, gates)


def _threads() -> int:
    return min(torch.get_num_threads(), _MOST_THREADS)
