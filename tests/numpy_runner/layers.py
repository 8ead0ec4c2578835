"""Layers without a recurrent state: what one block of frames becomes.

Each takes the input frames of its outputs, float32 (n, context, width) with context 1 unless the
layer looks around (`Architecture` says how far), and returns (n, width'). None keeps anything of
what it has seen, so one layer serves any number of streams and threads.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from numpy_runner.frames import Float32
from sparrot.architecture import CLIP, Activation, BatchNorm, Convolution, Embedding, LayerNorm, Linear, Shape

_UNFOLDED_VALUES = 1 << 20  # 4 MB: what a convolution copies at a time


class FrameLayer(Protocol):
    """A layer whose output frames depend on nothing but the frames given."""

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, width') of `frames` (n, context, width)."""


def activate(values: Float32, activation: Activation) -> Float32:
    """`values` after the activation, in place."""
    _ACTIVATIONS[activation](values)
    return values


def transposed(matrix: Float32) -> Float32:
    """A contiguous read-only copy of W.T, which makes x @ W.T twice as fast as the view does."""
    copy = matrix.T.copy(order="C")
    copy.flags.writeable = False
    return copy


class RunningWindow:
    """Neighbouring frames side by side."""

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, context · width)."""
        return np.ascontiguousarray(frames.reshape(len(frames), frames.shape[1] * frames.shape[2]))


class RunningLinear:
    """y = act(W x + bias), all frames in one product."""

    def __init__(self, layer: Linear, parameters: Mapping[str, Float32]) -> None:
        self._weight = transposed(parameters[f"{layer.name}.weight"])
        self._bias = parameters[f"{layer.name}.bias"].copy()
        self._activation = layer.activation

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, size)."""
        product = frames[:, 0] @ self._weight
        product += self._bias
        return activate(product, self._activation)


class RunningBatchNorm:
    """x · scale + shift, of one level."""

    def __init__(self, layer: BatchNorm, given: Shape, parameters: Mapping[str, Float32]) -> None:
        bins = layer.groups(given).bins
        self._scale = parameters[f"{layer.name}.scale"].repeat(bins)
        self._shift = parameters[f"{layer.name}.shift"].repeat(bins)

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, width)."""
        return frames[:, 0] * self._scale + self._shift


class RunningEmbedding:
    """The rows of the table that the frames name."""

    def __init__(self, layer: Embedding, parameters: Mapping[str, Float32]) -> None:
        self._table = parameters[f"{layer.name}.table"].copy()

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, size)."""
        return self._table[frames[:, 0, 0].astype(np.int64)]


class RunningLayerNorm:
    """(x − mean) / √(variance + ε) · scale + shift, each frame by itself."""

    def __init__(self, layer: LayerNorm, parameters: Mapping[str, Float32]) -> None:
        self._scale = parameters[f"{layer.name}.scale"].copy()
        self._shift = parameters[f"{layer.name}.shift"].copy()
        self._epsilon = np.float32(layer.epsilon)

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, width)."""
        centred: Float32 = frames[:, 0] - frames[:, 0].mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        centred /= np.sqrt(variance + self._epsilon)
        centred *= self._scale
        centred += self._shift
        return centred


class RunningConvolution:
    """A convolution as one product: every output's inputs are copied side by side, block by block."""

    def __init__(self, layer: Convolution, given: Shape, parameters: Mapping[str, Float32]) -> None:
        self._kernel = transposed(parameters[f"{layer.name}.kernel"])
        self._bias = parameters[f"{layer.name}.bias"].copy()
        self._layer = layer
        self._given = given
        self._made = layer.output(given)
        self._block = max(1, _UNFOLDED_VALUES // (self._made.bins * len(self._kernel)))

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, channels · bins), channels first."""
        made = np.empty((len(frames), self._made.width), np.float32)
        for begin in range(0, len(frames), self._block):
            block = slice(begin, begin + self._block)
            made[block] = self._convolve(frames[block])
        return activate(made, self._layer.activation)

    def _convolve(self, frames: Float32) -> Float32:
        product = self._unfold(frames) @ self._kernel
        product += self._bias
        planes = product.reshape(len(frames), self._made.bins, self._made.channels)
        return planes.transpose(0, 2, 1).reshape(len(frames), self._made.width)

    def _unfold(self, frames: Float32) -> Float32:
        """(n · output bins, in_channels · kernel · kernel_bins), zeros beyond the first and last bin."""
        layer, given = self._layer, self._given
        planes = frames.reshape(len(frames), layer.kernel, given.channels, given.bins)
        span = layer.kernel_bins or given.bins
        if layer.kernel_bins is not None:
            pad = (span - 1) // 2
            planes = np.pad(planes, ((0, 0), (0, 0), (0, 0), (pad, pad)))
        views = sliding_window_view(planes, span, axis=3)[:, :, :, :: layer.stride_bins]
        # (frame, time, channel, output bin, bin) -> (frame, output bin, channel, time, bin)
        return views.transpose(0, 3, 2, 1, 4).reshape(len(frames) * self._made.bins, len(self._kernel))


_ACTIVATIONS: dict[Activation, Callable[[Float32], object]] = {
    "identity": lambda values: values,
    "relu": lambda values: np.maximum(values, 0.0, out=values),
    "clipped_relu": lambda values: np.clip(values, 0.0, CLIP, out=values),
    "tanh": lambda values: np.tanh(values, out=values),
}
