import errno
import io
import os
import pickle
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from sparrot.nn import CtcNetwork, build_architecture
from sparrot.text import CharacterTokens, train_sentencepiece
from sparrot.train.checkpoint import (
    Checkpoint,
    Position,
    Setup,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from train import tiny


def checkpoint(tokens=None, step: int = 3, cells: int = 4) -> Checkpoint:
    """A checkpoint of a network of a few cells, with a bit of everything in it."""
    config = tiny.config(
        Path("corpus"), {"sparsity": tiny.SPARSE, "encoder.cells": cells, "augment.speed": [0.9]}
    )
    tokens = tokens or CharacterTokens.of(["ab "])
    architecture = build_architecture(12, config.front, config.encoder, tokens.n_tokens)
    network = CtcNetwork(architecture)
    optimiser = torch.optim.AdamW(network.parameters())
    sum(p.sum() for p in network.parameters()).backward()
    optimiser.step()
    sparsity = {"keep": {"small": {"w": torch.tensor([[True, False]])}}, "step_count": step}
    return Checkpoint(
        Setup(config, architecture, config.features.with_statistics(np.zeros(12), np.ones(12)), tokens),
        "fingerprint",
        Position(epoch=1, batch=2, step=step, best=0.5, minutes=1.5),
        network.state_dict(),
        {"n_updates": 3, "parameters": {name: 2 * value for name, value in network.state_dict().items()}},
        optimiser.state_dict(),
        sparsity,
        torch.get_rng_state(),
    )


def plain(state):
    """A state with lists in the place of tensors, to be compared."""
    if isinstance(state, torch.Tensor):
        return str(state.dtype), state.tolist()
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    return state


def described(of: Checkpoint) -> list:
    parts = [of.network, of.average, of.optimiser, of.sparsity, of.random]
    return [of.setup, of.data, of.position, of.position.minutes, *(plain(part) for part in parts)]


@pytest.mark.parametrize("kind", ["characters", "sentencepiece"])
def test_a_checkpoint_comes_back_as_it_was(tmp_path, kind):
    tokens = train_sentencepiece(["one two", "six one"], 10) if kind == "sentencepiece" else None
    saved = checkpoint(tokens)
    save_checkpoint(tmp_path / "last.pt", saved)
    assert described(load_checkpoint(tmp_path / "last.pt")) == described(saved)


def test_damage_is_refused_in_one_sentence_or_does_not_matter(tmp_path):
    path, saved = tmp_path / "last.pt", checkpoint()
    save_checkpoint(path, saved)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for turn in range(150):
        damaged = bytearray(whole)
        if turn % 5 == 0:
            damaged = damaged[: draw.randrange(len(whole))]
        else:
            bit = draw.randrange(8 * len(whole))
            damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith(f"cannot read {path}: it is ")
            refused += 1
        else:
            assert described(loaded) == described(saved)
    assert refused > 100


class Attack:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def saved_by_torch(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is damaged, or no checkpoint"),
        (b"hello", "it is damaged, or no checkpoint"),
        (pickle.dumps({"format": 1}), "it is damaged, or no checkpoint"),
        (saved_by_torch({"format": 99}), "it is no checkpoint of this version of sparrot"),
        (saved_by_torch([1, 2]), "it is no checkpoint of this version of sparrot"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot read {tmp_path / 'x.pt'}: {said}"):
        load_checkpoint(tmp_path / "x.pt")


def test_loading_runs_no_code(tmp_path):
    (tmp_path / "x.pt").write_bytes(saved_by_torch({"format": 1, "setup": Attack(tmp_path / "made")}))
    with pytest.raises(ValueError, match="damaged, or no checkpoint"):
        load_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "made").exists()


def test_a_missing_checkpoint_is_told_by_name(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=f"there is no checkpoint {tmp_path / 'last.pt'}; `sparrot train`"
    ):
        load_checkpoint(tmp_path / "last.pt")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    path, old = tmp_path / "last.pt", checkpoint(step=3, cells=64)  # more than fits in a buffer
    save_checkpoint(path, old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            save_checkpoint(path, checkpoint(step=4, cells=64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == [path]
    assert described(load_checkpoint(path)) == described(old)


def test_the_best_checkpoint_of_a_run_is_found_or_the_last(tmp_path):
    assert find_checkpoint(tmp_path) == tmp_path / "last.pt"
    (tmp_path / "best.pt").touch()
    assert find_checkpoint(tmp_path) == tmp_path / "best.pt"
    assert find_checkpoint(tmp_path / "other.pt") == tmp_path / "other.pt"
