"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparrot.architecture import AnyArchitecture, architecture_from_json
from sparrot.atomic import atomic_write
from sparrot.features import FeatureConfig
from sparrot.text import SentencePieceTokens, Tokens, tokens_from_json
from sparrot.train.config import Config
from sparrot.train.losses import Totals
from sparrot.train.recipe import parse_config

_FORMAT = 1


@dataclass(frozen=True)
class Setup:
    """What a run is about: fixed when it starts."""

    config: Config
    architecture: AnyArchitecture
    features: FeatureConfig
    tokens: Tokens

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which, with the sentencepiece model, `from_json` makes the same set-up."""
        return {
            "config": self.config.model_dump(mode="json"),
            "architecture": self.architecture.to_json(),
            "features": self.features.to_json(),
            "tokens": self.tokens.to_json(),
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any], model: bytes | None) -> "Setup":
        """The set-up of `to_json`."""
        return cls(
            parse_config(described["config"], "of the checkpoint"),
            architecture_from_json(described["architecture"]),
            FeatureConfig.from_json(described["features"]),
            tokens_from_json(described["tokens"], model),
        )


@dataclass
class Position:
    """How far a run has come: `batch` batches of `epoch` are done, `step` updates in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None  # lowest dev error so far, summed over levels
    minutes: float = field(default=0.0, compare=False)  # of training so far, by the clock on the wall
    losses: Totals = field(default_factory=dict)  # of the task, since the last evaluation


@dataclass(frozen=True)
class Checkpoint:
    """A run's set-up, position and state at the end of an update.

    data:    fingerprint of the utterances it is trained on.
    average: state of the moving average of the parameters, or None if there is none.
    """

    setup: Setup
    data: str
    position: Position
    network: dict[str, Tensor]
    average: dict[str, Any] | None
    optimiser: dict[str, Any]
    sparsity: dict[str, Any]
    random: Tensor  # state of torch's generator, which dropout draws from

    @property
    def weights(self) -> dict[str, Tensor]:
        """The state of the network that is evaluated and exported: the average, if there is one."""
        return self.network if self.average is None else self.network | self.average["parameters"]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint atomically: a crash or a full disk leaves the previous one."""
    tokens = checkpoint.setup.tokens
    state = {
        "format": _FORMAT,
        "setup": checkpoint.setup.to_json(),
        "data": checkpoint.data,
        "sentencepiece": tokens.model if isinstance(tokens, SentencePieceTokens) else None,
        "position": vars(checkpoint.position).copy(),
        "network": checkpoint.network,
        "average": checkpoint.average,
        "optimiser": checkpoint.optimiser,
        "sparsity": checkpoint.sparsity,
        "random": checkpoint.random,
    }
    buffer = io.BytesIO()  # torch.save hides an error of the disk behind one of its own
    torch.save(state, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, without running any code from it. Raises ValueError if it is damaged."""
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}; `sparrot train` writes last.pt and best.pt")
    state = loaded_state(path.read_bytes())
    if state is None:
        raise ValueError(
            f"cannot read {path}: it is damaged, or no checkpoint; use another one, or train anew"
        )
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(
            f"cannot read {path}: it is no checkpoint of this version of sparrot; train anew with it"
        )
    return Checkpoint(
        Setup.from_json(state["setup"], state["sentencepiece"]),
        state["data"],
        Position(**state["position"]),
        state["network"],
        state["average"],
        state["optimiser"],
        state["sparsity"],
        state["random"],
    )


def loaded_state(raw: bytes) -> Any:
    """What `torch.save` wrote, or None if a byte of it has changed; torch itself checks no sums."""
    try:
        if zipfile.ZipFile(io.BytesIO(raw)).testzip() is not None:
            return None
        return torch.load(io.BytesIO(raw), weights_only=True)
    except Exception:  # of any type: a changed byte can lead anywhere, and the disk is no longer involved
        return None


def find_checkpoint(path: Path) -> Path:
    """`path` itself, or the best checkpoint in a run folder, or its last one if none is best yet."""
    if path.is_dir():
        best = path / "best.pt"
        return best if best.exists() else path / "last.pt"
    return path


def remove_leftovers(folder: Path) -> None:
    """Removes what saves that were killed have left in a run folder."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
