"""What a recogniser computes: a list of layers, the same for training and for running.

Frames are rows: every layer turns (n_frames, width) into (n_frames', width'). Training builds torch modules
from an `Architecture`, the engine executes it, the model file stores it; none knows more of a network.
"""

from sparrot.architecture.layers import (
    BatchNorm,
    Convolution,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    SharedRnn,
    Window,
)
from sparrot.architecture.network import Architecture
from sparrot.architecture.parts import CLIP, GATES, Activation, Cell, Matrix, Reach, Shape, Vector

__all__ = [
    "CLIP",
    "GATES",
    "Activation",
    "Architecture",
    "BatchNorm",
    "Cell",
    "Convolution",
    "Embedding",
    "Layer",
    "LayerNorm",
    "Linear",
    "Matrix",
    "Reach",
    "Recurrent",
    "Shape",
    "SharedRnn",
    "Vector",
    "Window",
]
