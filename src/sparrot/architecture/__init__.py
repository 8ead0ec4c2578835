"""What a recogniser computes: a list of layers, the same for training and for running.

Frames are rows: every layer turns (n_frames, width) into (n_frames', width'). Training builds torch modules
from an `Architecture`, the engine executes it, the model file stores it; none knows more of a network. A
`Transducer` is made of two of them and what joins them.
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
from sparrot.architecture.network import Architecture, layer_to_json
from sparrot.architecture.parts import CLIP, GATES, Activation, Cell, Matrix, Reach, Shape, Vector
from sparrot.architecture.transducer import AnyArchitecture, Transducer, architecture_from_json

__all__ = [
    "CLIP",
    "GATES",
    "Activation",
    "AnyArchitecture",
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
    "Transducer",
    "Vector",
    "Window",
    "architecture_from_json",
    "layer_to_json",
]
