"""What layers are made of: matrices, vectors, and the frames between them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Cell: TypeAlias = Literal["lstm", "gru", "rnn"]
Activation: TypeAlias = Literal["identity", "relu", "clipped_relu", "tanh"]

GATES: dict[str, int] = {"lstm": 4, "gru": 3, "rnn": 1}
CLIP = 20.0  # ceiling of the clipped ReLU, min(max(x, 0), 20) (Hannun et al. 2014, sec. 2)


@dataclass(frozen=True)
class Matrix:
    """One weight matrix, stored (rows, columns) = (outputs, inputs).

    name:  `layer.part`, for example `lstm0.recurrent`.
    gates: row groups of equal size, in torch's order: 4 in an LSTM, 3 in a GRU, otherwise 1.
    type:  what `Levels` calls it: lstm, gru, rnn, fc, embedding or conv.
    """

    name: str
    rows: int
    columns: int
    gates: int
    type: str

    @property
    def size(self) -> int:
        """Weights in the matrix."""
        return self.rows * self.columns

    @property
    def is_multiplied(self) -> bool:
        """Whether it is multiplied with its inputs; one row of an embedding is only looked up."""
        return self.type != "embedding"

    @property
    def prunable(self) -> bool:
        """Whether a level may drop blocks of it: all but the kernels of convolutions."""
        return self.type != "conv"


@dataclass(frozen=True)
class Vector:
    """One bias, scale or shift of `size` values in `gates` equal groups.

    by_level: whether every level has values of its own.
    """

    name: str
    size: int
    gates: int = 1
    by_level: bool = False


@dataclass(frozen=True)
class Shape:
    """What flows between two layers: `channels` planes of `bins` values a frame, channels first."""

    bins: int
    channels: int = 1

    @property
    def width(self) -> int:
        """Values a frame."""
        return self.bins * self.channels


@dataclass(frozen=True)
class Reach:
    """The input frames that one output frame sees: j·stride − left … j·stride + right."""

    left: int = 0
    right: int = 0
    stride: int = 1

    def output_frames(self, n_frames: int) -> int:
        """Output frames of `n_frames` input frames; a partial last stride is completed with zeros."""
        return -(-n_frames // self.stride)
