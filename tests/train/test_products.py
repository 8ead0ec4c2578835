"""Products of blocks in a whole run: the same training as with dense ones, up to rounding."""

import itertools

import pytest
import torch

from sparrot.nn import layers
from sparrot.train.loop import Trainer
from train import tiny

# Masks from the second update on, renewed at every one.
SPARSE = {"levels": {"large": {}, "small": {"lstm": 0.75}}, "block": "16x1", "end": 0.05, "mask_every": 1}
CHANGES = {
    "encoder": {"cells": 24, "layers": 2, "bidirectional": True},  # a strip and a half
    "optimiser": {"kind": "sgd", "learning_rate": 0.2},
    "dropout": 0.1,
    "training.epochs": 8,
}


def trainer(corpus, folder, **sparse) -> Trainer:
    return Trainer.new(tiny.config(corpus, {**CHANGES, "sparsity": SPARSE | sparse}), folder)


def updates(run: Trainer, n: int) -> list:
    batches = itertools.chain.from_iterable(run.data.batches(epoch) for epoch in itertools.count())
    return [run.update(batch) for batch in itertools.islice(batches, n)]


@pytest.fixture
def n_skipping(monkeypatch) -> list[int]:
    """One entry for every layer that ran on blocks."""
    calls, run = [], layers.lstm_of_blocks

    def counted(*given):
        calls.append(1)
        return run(*given)

    monkeypatch.setattr(layers, "lstm_of_blocks", counted)
    return calls


def test_a_training_is_the_same_with_both_products(corpus, tmp_path, n_skipping):
    n = 12
    blocks = trainer(corpus, tmp_path / "blocks")
    found = updates(blocks, n)
    assert len(n_skipping) == (n - 1) * 4  # two layers in two directions, once there are masks
    dense = trainer(corpus, tmp_path / "dense", products="dense")
    expected = updates(dense, n)
    assert len(n_skipping) == (n - 1) * 4
    for one, other in zip(found, expected, strict=True):
        # Passes differ by a few 2^-24, and 12 updates of this rate do not amplify that much.
        assert one.losses == pytest.approx(other.losses, rel=1e-5)
        assert one.masks == other.masks
    for level in ("large", "small"):
        masks, others = blocks.sparsity.masks(level), dense.sparsity.masks(level)
        assert all(torch.equal(mask.keep, others[name].keep) for name, mask in masks.items())
    assert blocks.sparsity.sparsity("small")["lstm"] == pytest.approx(0.75, abs=0.05)  # edge blocks are small


def test_independent_masks_run_on_blocks_once_they_are_frozen(corpus, tmp_path, n_skipping):
    run = trainer(corpus, tmp_path, nested=False, freeze=0.1)
    assert run.sparsity.options.freeze_at == 4
    updates(run, 4)
    assert not n_skipping
    updates(run, 2)
    assert len(n_skipping) == 2 * 4


def test_a_run_on_blocks_resumes_bit_for_bit(corpus, tmp_path, n_skipping):
    whole = trainer(corpus, tmp_path / "whole")
    updates(whole, 8)
    cut = trainer(corpus, tmp_path / "cut")  # draws from the seed again
    batches = itertools.chain(cut.data.batches(0), cut.data.batches(1))
    for batch in itertools.islice(batches, 3):
        cut.update(batch)
    cut.save(tmp_path / "cut" / "last.pt")
    resumed = Trainer.resumed(cut.config, tmp_path / "cut")
    resumed.network.train()
    for batch in itertools.islice(batches, 5):
        resumed.update(batch)
    assert len(n_skipping) == (7 + 2 + 5) * 4
    torch.testing.assert_close(
        dict(resumed.network.state_dict()), dict(whole.network.state_dict()), rtol=0, atol=0
    )
