"""Checkpoints of language models: everything that a run needs to go on as if it had never stopped."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparrot.atomic import atomic_write
from sparrot.lm.config import LmConfig
from sparrot.text import WordTokens
from sparrot.train.checkpoint import loaded_state
from sparrot.train.losses import Totals
from sparrot.train.recipe import parse_as

_FORMAT = "language model 1"


@dataclass
class LmPosition:
    """How far a run has come: `window` windows of `epoch` are done, `step` updates in all."""

    epoch: int = 0
    window: int = 0
    step: int = 0
    best: float | None = None  # lowest perplexity on `valid` so far, summed over levels
    minutes: float = field(default=0.0, compare=False)
    losses: Totals = field(default_factory=dict)  # of the epoch


@dataclass(frozen=True)
class LmCheckpoint:
    """A run at the end of an update.

    states: of the training text, (h, c) of every layer; None at the beginning of an epoch.
    """

    config: LmConfig
    tokens: WordTokens
    position: LmPosition
    network: dict[str, Tensor]
    optimiser: dict[str, Any]
    sparsity: dict[str, Any]
    states: list[tuple[Tensor, Tensor]] | None
    random: Tensor


def save_lm_checkpoint(path: Path, checkpoint: LmCheckpoint) -> None:
    """Writes a checkpoint atomically: a crash or a full disk leaves the previous one."""
    state = {
        "format": _FORMAT,
        "config": checkpoint.config.model_dump(mode="json"),
        "tokens": {"symbols": list(checkpoint.tokens.symbols), "unknown": checkpoint.tokens.unknown},
        "position": vars(checkpoint.position).copy(),
        "network": checkpoint.network,
        "optimiser": checkpoint.optimiser,
        "sparsity": checkpoint.sparsity,
        "states": checkpoint.states,
        "random": checkpoint.random,
    }
    buffer = io.BytesIO()  # torch.save hides an error of the disk behind one of its own
    torch.save(state, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_lm_checkpoint(path: Path) -> LmCheckpoint:
    """The checkpoint in a file, without running any code from it. Raises ValueError if it is damaged."""
    if not path.exists():
        raise FileNotFoundError(
            f"there is no checkpoint {path}; `sparrot lm train` writes last.pt and best.pt"
        )
    state = loaded_state(path.read_bytes())
    if state is None:
        raise ValueError(
            f"cannot read {path}: it is damaged, or no checkpoint; use another one, or train anew"
        )
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(
            f"cannot read {path}: it is no language model's checkpoint of this version of sparrot"
        )
    return LmCheckpoint(
        parse_as(LmConfig, state["config"], "of the checkpoint"),
        WordTokens(tuple(state["tokens"]["symbols"]), state["tokens"]["unknown"]),
        LmPosition(**state["position"]),
        state["network"],
        state["optimiser"],
        state["sparsity"],
        state["states"],
        state["random"],
    )
