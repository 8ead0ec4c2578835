"""Model files for the tests: small networks, masks of whole blocks, and files taken apart and mended."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from architectures import parameters
from sparrot.architecture import (
    AnyArchitecture,
    Architecture,
    Convolution,
    LayerNorm,
    Linear,
    Matrix,
    Recurrent,
)
from sparrot.features import FeatureConfig
from sparrot.model_file import (
    LevelToWrite,
    ModelDescription,
    ModelFile,
    Storage,
    WeightType,
    layout_of_block,
    write_model,
)
from sparrot.text import CharacterTokens, Tokens

ALPHABET = "abcdefghijklmnopqrstuvwxyz"

SMALL = Architecture(
    7,
    (
        Convolution("conv", channels=5, kernel=3, stride=2),
        Recurrent("lstm", "lstm", cells=20, projection=6),
        Recurrent("gru", "gru", cells=17),
        LayerNorm("norm"),
        Linear("fc", 4),
    ),
)


def describe(architecture: AnyArchitecture, tokens: Tokens | None = None) -> ModelDescription:
    """A description that fits the architecture."""
    return ModelDescription(
        architecture=architecture,
        features=FeatureConfig(kind="given", width=architecture.input_width),
        tokens=tokens or CharacterTokens(tuple(ALPHABET[: architecture.n_tokens - 1])),
        chunk_frames=8,
        licence="CC-BY-4.0",
        provenance={"corpus": "made up", "seeds": [1, 2]},
        configuration={"model": {"cells": 20}, "grösse": 1.5, "resume": None},
        name="small example",
    )


def block_mask(matrix: Matrix, block: tuple[int, int], sparsity: float, seed: int) -> np.ndarray:
    """A mask of whole blocks; with the same seed, a sparser one is nested in a denser one."""
    rows_per_gate = matrix.rows // matrix.gates
    n_rows, n_columns = -(-rows_per_gate // block[0]), -(-matrix.columns // block[1])
    kept = np.random.default_rng(seed).random((matrix.gates, n_rows, n_columns)) >= sparsity
    weights = kept.repeat(block[0], axis=1)[:, :rows_per_gate].repeat(block[1], axis=2)[
        :, :, : matrix.columns
    ]
    return weights.reshape(matrix.rows, matrix.columns)


def masks(
    architecture: AnyArchitecture, block: tuple[int, int], sparsity: float, seed: int = 0
) -> dict[str, Any]:
    """A mask for every matrix that may have one."""
    prunable = [matrix for matrix in architecture.matrices() if matrix.prunable]
    return {m.name: block_mask(m, block, sparsity, seed + i) for i, m in enumerate(prunable)}


def three_levels(architecture: AnyArchitecture, block: tuple[int, int], seed: int = 0) -> list[LevelToWrite]:
    """Levels large, medium and small, at 0, 70 and 90 %."""
    return [
        LevelToWrite(name="large", kept={}, measured={"dev": {"wer": 0.1, "cer": 0.04, "words": 1000}}),
        LevelToWrite(
            name="medium",
            kept=masks(architecture, block, 0.7, seed),
            targets={"lstm": 0.7, "gru": 0.7, "fc": 0.7},
            blank_penalty=0.25,
        ),
        LevelToWrite(
            name="small",
            kept=masks(architecture, block, 0.9, seed),
            targets={"lstm": 0.9, "gru": 0.9, "fc": 0.9},
            emission_delay_s=0.08,
            confidence_temperature=1.5,
        ),
    ]


def write_small(
    path: Path,
    block: tuple[int, int] = (4, 1),
    tokens: Tokens | None = None,
    dtype: WeightType = "F32",
    layout_of: Callable[[tuple[int, int]], str] = layout_of_block,
) -> dict[str, np.ndarray]:
    """The parameters of a file of `SMALL` with three levels."""
    weights = parameters(SMALL, seed=5)
    storage = Storage(
        blocks={matrix.name: block for matrix in SMALL.matrices()},
        dtypes={matrix.name: dtype for matrix in SMALL.matrices()},
        layout_of=layout_of,
    )
    write_model(path, describe(SMALL, tokens), weights, three_levels(SMALL, block), storage)
    return weights


def at_level(weights: dict[str, np.ndarray], level: LevelToWrite) -> dict[str, np.ndarray]:
    """The dense parameters that a level means."""
    return {
        name: np.where(level.kept[name], values, np.float32(0)) if name in level.kept else values
        for name, values in weights.items()
    }


def as_stored(
    weights: dict[str, np.ndarray], levels: list[LevelToWrite], dtypes: dict[str, WeightType]
) -> dict[str, np.ndarray]:
    """The parameters after a trip through the types of their matrices, by torch and in float64."""
    return {
        name: rounded(w, levels[0].kept.get(name, np.True_), dtypes.get(name, "F32"))
        for name, w in weights.items()
    }


def rounded(weights: np.ndarray, densest: np.ndarray, dtype: WeightType) -> np.ndarray:
    """A matrix (rows, columns) as its type holds it: float32. `densest` is the mask of the densest level."""
    if dtype == "F32":
        return weights
    if dtype == "BF16":
        return torch.from_numpy(weights).to(torch.bfloat16).float().numpy()
    scales = abs(np.where(densest, weights, 0)).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        codes = np.round(weights.astype(np.float64) / scales)
    codes = np.where(scales > 0, np.clip(codes, -127, 127), 0)
    return (codes + 0.0).astype(np.float32) * scales  # no code is −0


def read_all(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of every level of a file."""
    file = ModelFile.open(path)
    return {level.name: file.parameters(level.name) for level in file.levels}


def differing(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> list[str]:
    """Names of the parameters that are not the same bits."""
    assert list(a) == list(b)
    return [n for n in a if a[n].shape != b[n].shape or np.any(a[n].view(np.uint32) != b[n].view(np.uint32))]


DTYPES = {  # BF16 as its bits
    "F32": np.float32,
    "BF16": np.uint16,
    "I8": np.int8,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
}


@dataclass
class Parts:
    """A file taken apart; `to_bytes` puts it together again, with the checksums as they then must be."""

    header: dict[str, Any]
    described: dict[str, Any]
    data: bytearray

    @classmethod
    def of(cls, path: Path) -> "Parts":
        return cls.of_bytes(path.read_bytes())

    @classmethod
    def of_bytes(cls, raw: bytes) -> "Parts":
        end = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:end])
        return cls(header, json.loads(header["__metadata__"]["sparrot"]), bytearray(raw[end:]))

    def array(self, name: str) -> np.ndarray:
        """A tensor, as a view to write to."""
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(memoryview(self.data)[begin:end], DTYPES[entry["dtype"]])
        return flat.reshape(entry["shape"])

    def with_checksums(self) -> "Parts":
        """These parts, the checksum of each stop being that of its data."""
        begin = 0
        for stop in self.described["stops"]:
            stop["crc32"] = f"{zlib.crc32(self.data[begin : stop['end']]):08x}"
            begin = stop["end"]
        return self

    def with_description(self) -> "Parts":
        """These parts, the description and its checksum in the header."""
        text = json.dumps(self.described)
        self.header["__metadata__"]["sparrot"] = text
        self.header["__metadata__"]["sparrot.crc32"] = f"{zlib.crc32(text.encode()):08x}"
        return self

    def to_bytes(self, header: str | None = None) -> bytes:
        """The file; `header` replaces the text of the header."""
        text = (json.dumps(self.header) if header is None else header).encode()
        length = -(-(8 + len(text)) // 64) * 64 - 8
        return length.to_bytes(8, "little") + text.ljust(length) + self.data
