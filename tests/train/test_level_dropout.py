"""Levels with dropout of their own, in the training of recognisers and of language models."""

import itertools

import pytest
import torch

from sparrot.nn.dropout import Dropout
from sparrot.train.loop import Trainer
from train import tiny

# Masks from the second update on.
SPARSE = {
    "levels": {"large": {}, "medium": {"lstm": 0.5}, "small": {"lstm": 0.75}},
    "end": 0.05,
    "mask_every": 1,
}


def dropped_shares(folder, corpus, **sparse) -> list[float]:
    """The share of values that each pass of the third update drops."""
    changes = {
        "sparsity": SPARSE | {"block": "4x1"} | sparse,
        "dropout": 0.5,
        "encoder": {"cells": 64, "layers": 2},
        "training.epochs": 8,
    }
    trainer = Trainer.new(tiny.config(corpus, changes), folder)
    batches = trainer.data.batches(0)
    for batch in itertools.islice(batches, 2):
        trainer.update(batch)
    found: dict[Dropout, list[float]] = {}

    def look(module, given, made):
        # LSTM outputs are never 0 inside an utterance.
        inside = given[0] != 0
        found.setdefault(module, []).append(float((made[inside] == 0).float().mean()))

    for module in trainer.network.modules():
        if isinstance(module, Dropout):
            module.register_forward_hook(look)
    trainer.update(next(iter(batches)))
    (layers,) = found.values()  # of both layers, pass by pass
    return layers[::2]


def test_a_level_drops_as_often_as_it_is_told(corpus, tmp_path):
    torch.manual_seed(0)
    shares = dropped_shares(tmp_path, corpus, dropout={"medium": 0.25, "small": 0.0})
    assert shares == pytest.approx([0.5, 0.25, 0.0], abs=0.05)


def test_a_level_that_is_not_told_drops_as_the_full_model(corpus, tmp_path):
    shares = dropped_shares(tmp_path, corpus, dropout={"small": 0.1})
    assert shares == pytest.approx([0.5, 0.5, 0.1], abs=0.05)


def test_a_point_between_two_levels_lies_between(corpus, tmp_path):
    full, between, sparsest = dropped_shares(
        tmp_path, corpus, dropout={"medium": 0.25, "small": 0.0}, sample="path"
    )
    assert (full, sparsest) == pytest.approx((0.5, 0.0), abs=0.05)
    assert 0.0 < between < 0.5
