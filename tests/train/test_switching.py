"""Training with levels that change inside the utterances."""

import itertools
import re
from random import Random

import pytest
import torch

from sparrot.train.loop import Trainer
from sparrot.train.switching import draw_switching
from train import tiny

SPARSE = {
    "levels": {"large": {}, "medium": {"lstm": 0.5}, "small": {"lstm": 0.75}},
    "block": "4x1",
    "end": 0.05,
    "mask_every": 1,
    "switching": [0.05, 0.2],
}
CHANGES = {"sparsity": SPARSE, "training.epochs": 8}
PREDICTOR = {"kind": "lstm", "embedding": 4, "layers": 1, "cells": 8, "joint": 8}


def trainer(corpus, folder, changes=CHANGES) -> Trainer:
    return Trainer.new(tiny.config(corpus, changes), folder)


def updates(run: Trainer, n: int) -> list:
    batches = itertools.chain.from_iterable(run.data.batches(epoch) for epoch in itertools.count())
    return [run.update(batch) for batch in itertools.islice(batches, n)]


@pytest.mark.parametrize("network", ["ctc", "transducer"])
def test_an_update_has_one_more_pass_that_the_full_model_teaches(corpus, tmp_path, network):
    more = {} if network == "ctc" else {"predictor": PREDICTOR, "training.ctc_share": 0.3}
    first, second, third = updates(trainer(corpus, tmp_path, {**CHANGES, **more}), 3)
    assert list(first.passes) == ["large"]  # nothing to switch to
    for update in (second, third):
        assert list(update.passes) == ["large", "medium", "small", "switching"]
        found = update.passes["switching"]
        assert found.divergence > 0
        assert found.gradient_norm > 0
        assert found.loss == pytest.approx((found.task + found.divergence) / 2)


def test_its_gradient_is_added_to_the_others(corpus, tmp_path):
    gradients = []
    for switching in ([0.05, 0.2], None):
        changes = {"sparsity": SPARSE | {"switching": switching}, "optimiser.clip_norm": None}
        run = trainer(corpus, tmp_path / str(switching), {**CHANGES, **changes})
        updates(run, 1)  # the same in both, for nothing was dropped
        run.optimiser.step = lambda: None
        norms = updates(run, 1)[0].passes
        total = torch.cat([p.grad.flatten() for p in run.network.parameters()])
        gradients.append((total, norms))
    (with_it, norms), (without, _) = gradients
    assert (with_it - without).norm().item() == pytest.approx(norms["switching"].gradient_norm, rel=1e-4)


def test_a_run_that_switches_resumes_bit_for_bit(corpus, tmp_path):
    whole = trainer(corpus, tmp_path / "whole")
    updates(whole, 6)
    cut = trainer(corpus, tmp_path / "cut")
    batches = itertools.chain(cut.data.batches(0), cut.data.batches(1))
    for batch in itertools.islice(batches, 3):
        cut.update(batch)
    cut.save(tmp_path / "cut" / "last.pt")
    resumed = Trainer.resumed(cut.config, tmp_path / "cut")
    resumed.network.train()
    for batch in itertools.islice(batches, 3):
        resumed.update(batch)
    torch.testing.assert_close(
        dict(resumed.network.state_dict()), dict(whole.network.state_dict()), rtol=0, atol=0
    )


def test_dwell_times_and_levels_are_drawn(corpus, tmp_path):
    run = trainer(corpus, tmp_path)
    assert draw_switching(run.sparsity, (0.1, 0.3), 50.0, Random(1)) is None
    updates(run, 1)
    plan = draw_switching(run.sparsity, (0.1, 0.3), 50.0, Random(1))
    times = [50.0 * (end - begin) for begin, end in itertools.pairwise([0.0, *plan.ends])]
    assert all(0.1 - 1e-9 <= time <= 0.3 + 1e-9 for time in times[:-1])
    assert 0 < times[-1] <= 0.3
    assert min(times[:-1]) < 0.11 < 0.29 < max(times)
    assert {a != b for a, b in itertools.pairwise(plan.levels)} == {True}
    assert set(plan.levels) == set(plan.weights) == {"large", "medium", "small"}
    assert draw_switching(run.sparsity, (9.0, 9.0), 5.0, Random(1)).ends == [1.0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"sparsity": SPARSE | {"switching": [0.0, 1.0]}},
            "from a shortest, above 0 s, to a longest; got 0.0 to 1.0",
        ),
        ({"sparsity": SPARSE | {"switching": [2.0, 1.0]}}, "to a longest; got 2.0 to 1.0 s"),
        ({"sparsity": SPARSE | {"nested": False}}, "`switching` needs two levels or more, nested as"),
        ({"sparsity": SPARSE | {"levels": {"large": {}}}}, "`switching` needs two levels or more, nested as"),
        (
            {"sparsity": SPARSE | {"gradient": "accumulated"}},
            "is not scored, so `switching` needs `gradient: full`",
        ),
        (
            {"encoder.bidirectional": True},
            "needs an encoder that runs forwards in time alone, without batch norm",
        ),
        (
            {"encoder.batch_norm": True},
            "leave out sparsity.switching, or encoder.bidirectional and encoder.batch",
        ),
    ],
)
def test_what_it_cannot_go_together_with_is_refused(corpus, changes, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        tiny.config(corpus, {**CHANGES, **changes})
