"""What a level costs to run, counted instead of timed."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sparrot.architecture import AnyArchitecture, Convolution, Layer, Shape, Transducer


def macs_per_second(
    architecture: AnyArchitecture, frame_rate_hz: float, parameters: Mapping[str, NDArray[np.float32]]
) -> float:
    """Multiply-accumulates of kept weights in a second of audio.

    parameters: of one level, zero where it drops weights.

    Every kept weight of a matrix is used once an output frame of its layer; a convolution's once more
    for every bin it is moved to. Look-ups, biases, norms and activations are not counted, nor what a
    transducer does a token: only its encoder, and its output once an output frame.
    """
    macs = 0.0
    rate = frame_rate_hz
    for layer, given in zip(architecture.encoder.layers, architecture.encoder.shapes(), strict=False):
        rate /= layer.reach().stride
        multiplied = [matrix for matrix in layer.matrices(given) if matrix.is_multiplied]
        kept = sum(np.count_nonzero(parameters[matrix.name]) for matrix in multiplied)
        macs += kept * rate * _uses_a_frame(layer, given)
    if isinstance(architecture, Transducer):
        macs += np.count_nonzero(parameters[f"{architecture.output.name}.weight"]) * rate
    return macs


def _uses_a_frame(layer: Layer, given: Shape) -> int:
    return layer.output(given).bins if isinstance(layer, Convolution) else 1
