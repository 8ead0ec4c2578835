"""Random segments in every layout and type, each with the matrix in float64 that it stands for."""

from dataclasses import dataclass

import numpy as np

LAYOUTS = ("strip16", "dense16", "tile4", "tile8", "csr")
TYPES = ("float32", "bfloat16", "int8")
COLUMNS_PER_GROUP = {"float32": 1, "bfloat16": 2, "int8": 4}
STRIP_ROWS = 16

Arrays = tuple[np.ndarray | None, np.ndarray | None, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """What a segment is a part of."""

    layout: str
    type: str
    strips: int
    n_columns: int

    @property
    def rows(self) -> int:
        return STRIP_ROWS * self.strips

    @property
    def group(self) -> int:
        return COLUMNS_PER_GROUP[self.type]


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """The bits of float32 rounded half to even to bfloat16, as uint16. Finite values only."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def random_segment(shape: Shape, density: float, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    """Arrays of one segment and its matrix (rows, n_columns), float64: codes where the type is int8."""
    matrix = np.zeros((shape.rows, shape.n_columns))
    if shape.layout == "dense16":
        return _dense(shape, matrix, rng), matrix
    height, width = {"strip16": (16, 1), "tile4": (4, 4), "tile8": (8, 8), "csr": (1, 1)}[shape.layout]
    counts, indices, values = [], [], []
    for first in range(0, shape.rows, height):
        n_blocks = -(-shape.n_columns // width)
        kept = np.flatnonzero(rng.random(n_blocks) < density * rng.choice([0, 1, 1, 1]))
        block = np.zeros((len(kept), height, width))
        for k, index in enumerate(kept):
            columns = np.arange(index * width, min((index + 1) * width, shape.n_columns))
            block[k, :, : len(columns)] = _weights(shape.type, (height, len(columns)), rng)
            matrix[first : first + height, columns] = block[k, :, : len(columns)]
        if shape.layout == "strip16":
            kept, block = _grouped(kept, block, shape.group)
        counts.append(len(block))
        indices.append(kept.ravel())
        values.append(block)
    empty = [np.zeros((0, height, width))]
    return (
        np.cumsum([0, *counts]).astype(np.uint32),
        np.concatenate([*indices, np.zeros(0)]).astype(np.uint16),
        _encoded(shape.type, np.concatenate([part.reshape(-1) for part in values or empty])),
    ), matrix


def _grouped(kept: np.ndarray, block: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (groups, C), the last repeated, and weights (groups, 16, C), zeros in what is repeated."""
    missing = -len(kept) % group
    columns = np.concatenate([kept, np.repeat(kept[-1:], missing)]).reshape(-1, group)
    weights = np.concatenate([block[:, :, 0], np.zeros((missing, 16))]).reshape(-1, group, 16)
    return columns, weights.transpose(0, 2, 1)


def _dense(shape: Shape, matrix: np.ndarray, rng: np.random.Generator) -> Arrays:
    matrix[:] = _weights(shape.type, matrix.shape, rng)
    padded = np.pad(matrix, ((0, 0), (0, -shape.n_columns % shape.group)))
    strips = padded.reshape(shape.strips, 16, padded.shape[1] // shape.group, shape.group)
    return None, None, _encoded(shape.type, strips.transpose(0, 2, 1, 3).ravel())


def _weights(type_: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights that the type holds exactly."""
    if type_ == "int8":
        return rng.choice([-127, 127, *range(-127, 128)], shape).astype(np.float64)
    weights = rng.standard_normal(shape).astype(np.float32)
    return (from_bfloat16(to_bfloat16(weights)) if type_ == "bfloat16" else weights).astype(np.float64)


def _encoded(type_: str, values: np.ndarray) -> np.ndarray:
    if type_ == "int8":
        return values.astype(np.int8)
    values = values.astype(np.float32)
    return to_bfloat16(values) if type_ == "bfloat16" else values
