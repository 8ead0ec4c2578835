"""The encoder of `rnnt-122m`: its architecture, and model files of it with random weights and exact masks."""

from pathlib import Path

import numpy as np

from sparrot.architecture import Architecture, LayerNorm, Linear, Recurrent, Window
from sparrot.features import FeatureConfig
from sparrot.model_file import LevelToWrite, ModelDescription, write_model
from sparrot.model_file.storage import Storage, dtypes_of
from sparrot.text import CharacterTokens

BLOCK = (16, 1)
LEVELS = {"large": 0.0, "medium": 0.7, "small": 0.9}
TOKENS = CharacterTokens(tuple("abcdefghijklmnopqrstuvwxyz' -"))
FRAME_S = 0.06  # of audio an output frame stands for: 4 stacked frames of 7.5 ms, and pairs of those
CHUNK_FRAMES = 4  # output frames a chunk: 240 ms


def encoder() -> Architecture:
    """Eight LSTM layers of 2048 cells, projected to 640, time halved after the second; 97.0 M weights."""
    layers: list[Recurrent | LayerNorm | Window | Linear] = []
    for i in range(8):
        layers += [Recurrent(f"lstm{i}", "lstm", 2048, 640), LayerNorm(f"norm{i}")]
        if i == 1:
            layers.append(Window("pairs", 0, 1, 2))
    return Architecture(320, (*layers, Linear("output", 1 + len(TOKENS.symbols))))


def write_encoder(path: Path, dtype: str, seed: int = 0, n_stops: int | None = None) -> None:
    """A model file with weights as torch draws them, ±1/√cells, and every level's blocks drawn at random.

    n_stops: stops that there are to be; None is one a level.
    """
    rng = np.random.default_rng(seed)
    architecture = encoder()
    weights = {v.name: rng.uniform(-0.02, 0.02, v.size).astype(np.float32) for v in architecture.vectors()}
    weights |= {name: np.ones_like(v) for name, v in weights.items() if name.endswith(".scale")}
    kept: dict[str, dict[str, np.ndarray]] = {level: {} for level in LEVELS}
    for matrix in architecture.matrices():
        shape, n_blocks = (matrix.rows, matrix.columns), matrix.rows // 16 * matrix.columns
        weights[matrix.name] = rng.random(shape, np.float32) * np.float32(0.088) - np.float32(0.044)
        if matrix.type != "lstm":
            continue
        order = rng.permutation(n_blocks)
        for level, sparsity in LEVELS.items():
            blocks = np.zeros(n_blocks, np.bool_)
            blocks[order[: round(n_blocks * (1 - sparsity))]] = True
            kept[level][matrix.name] = blocks.reshape(-1, matrix.columns).repeat(16, axis=0)
    levels = [LevelToWrite(name=level, kept=kept[level]) for level in LEVELS]
    write_model(path, described(dtype, seed), weights, levels, stored(dtype, n_stops))


def described(dtype: str, seed: int = 0) -> ModelDescription:
    """What the file says of itself."""
    return ModelDescription(
        architecture=encoder(),
        features=FeatureConfig(kind="given", width=320),
        tokens=TOKENS,
        chunk_frames=CHUNK_FRAMES,
        licence="CC0-1.0",
        provenance={"weights": "random"},
        configuration={"seed": seed},
        name=f"rnnt-122m encoder, {dtype}",
    )


def stored(dtype: str, n_stops: int | None = None) -> Storage:
    """How its weights are stored: every LSTM matrix in blocks."""
    matrices = encoder().matrices()
    blocks = {matrix.name: BLOCK for matrix in matrices if matrix.type == "lstm"}
    return Storage(blocks, dtypes_of(matrices, dtype), n_stops=n_stops)
