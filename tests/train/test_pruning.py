"""Runs that end as one sparse model: every method, on real recordings, to a model file that transcribes."""

import json

import pytest
import torch

from sparrot import Recognizer
from sparrot.cli.main import run
from sparrot.corpora.manifest import read_manifest
from sparrot.engine.evaluation import evaluate_level
from sparrot.engine.options import DecodingOptions
from sparrot.model_file import ModelFile
from sparrot.train.checkpoint import load_checkpoint
from sparrot.train.loop import Trainer
from sparrot.train.record import Record
from sparrot.train.run import foretell, train_run
from train import tiny

ENOUGH = {"encoder.cells": 32, "optimiser.learning_rate": 0.02, "training.epochs": 8}
TARGETS = {"lstm": 0.75, "fc": 0.5}
METHODS = {
    "gradual": {"method": "gradual", "sparsity": TARGETS, "block": "4x1", "end": 0.6, "every": 3},
    "at_once": {"method": "at_once", "sparsity": TARGETS, "block": "4x4", "begin": 0.3, "scope": "type"},
    "rounds": {"method": "rounds", "sparsity": TARGETS, "end": 0.8},
    "wp": {"method": "threshold", "sparsity": TARGETS, "ramp": 0.3, "end": 0.7, "every": 2},
    "bp": {"method": "threshold", "sparsity": TARGETS, "ramp": 0.3, "end": 0.7, "every": 2, "block": "2x2"},
    "group_lasso": {
        "method": "penalty",
        "sparsity": {"lstm": 0, "fc": 0},
        "penalty": "group_lasso",
        "strength": 1.0,
        "block": "4x4",
        "every": 2,
    },
    "glp": {
        "method": "gradual",
        "sparsity": TARGETS,
        "block": "4x4",
        "end": 0.6,
        "every": 3,
        "penalty": "group_lasso",
        "strength": 1e-3,
        "penalise": "until_end",
    },
    "l1": {"method": "penalty", "sparsity": {"lstm": 0}, "penalty": "l1", "strength": 0.1, "every": 2},
    "l_half": {
        "method": "penalty",
        "sparsity": {"lstm": 0},
        "penalty": "l_half",
        "strength": 1e-3,
        "every": 2,
    },
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_digits(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def dense(corpus, tmp_path_factory):
    """A dense run that the others start from."""
    folder = tmp_path_factory.mktemp("dense") / "run"
    train_run(tiny.config(corpus, ENOUGH), folder, resume=False)
    return folder


def pruned(corpus, dense, method: str, changes=None):
    return tiny.config(
        corpus,
        {**ENOUGH, "pruning": METHODS[method], "training.init_from": str(dense), **(changes or {})},
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_as_a_model_file_as_sparse_as_it_says(corpus, dense, tmp_path, method):
    path = train_run(pruned(corpus, dense, method), tmp_path / "run", resume=False)
    (level,) = ModelFile.open(path).levels
    assert level.name == "pruned"
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told = [row["sparsity"] for row in rows if row["event"] == "masks"]
    assert told == sorted(told)
    assert level.sparsity["lstm"] > 0.05
    if method in ("gradual", "at_once", "rounds", "glp"):
        for kind, target in TARGETS.items():
            assert level.sparsity[kind] == pytest.approx(target, abs=0.05)  # few blocks, some of them smaller
    file = ModelFile.open(path).parameters("pruned")
    n_zero = sum(int((file[name] == 0).sum()) for name in file if name.startswith("lstm"))
    assert n_zero > 0
    *_, last = [row["matrices"] for row in rows if row["event"] == "masks"]
    assert set(last) <= set(file)
    if method in ("gradual", "at_once", "rounds", "glp"):
        assert last == pytest.approx({name: (file[name] == 0).mean() for name in last}, abs=1e-6)
    assert {row["levels"]["pruned"]["words"] for row in rows if row["event"] == "dev"} == {18}
    dev = read_manifest(corpus / "dev.jsonl")
    heard = evaluate_level(ModelFile.open(path), "pruned", dev, DecodingOptions())
    assert heard.counts.wer < 1.0


@pytest.mark.parametrize("method", ["gradual", "bp", "group_lasso"])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(corpus, dense, tmp_path, method):
    config = pruned(corpus, dense, method)
    whole = train_run(config, tmp_path / "whole", resume=False)
    trainer = Trainer.new(config, tmp_path / "stopped")
    record = Record(tmp_path / "stopped", trainer.position)
    with record.running(trainer.n_steps, 0):
        for batch in list(trainer.data.batches(0)):
            trainer.update(batch)
    trainer.save(tmp_path / "stopped" / "last.pt")
    again = train_run(config, tmp_path / "stopped", resume=True)
    assert ModelFile.open(again).level("pruned").sparsity == ModelFile.open(whole).level("pruned").sparsity
    one, other = (load_checkpoint(tmp_path / name / "last.pt").network for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_commands_take_a_pruned_model(corpus, dense, tmp_path, capsys):
    train_run(pruned(corpus, dense, "gradual"), tmp_path / "run", resume=False)
    capsys.readouterr()
    for command in (
        ["eval", "--on", str(corpus / "dev.jsonl")],
        ["inspect"],
        ["export", "-o", str(tmp_path / "m")],
    ):
        assert run([command[0], str(tmp_path / "run"), *command[1:]]) == 0
    told = capsys.readouterr().out
    assert told.count("pruned") >= 2
    assert Recognizer.load(tmp_path / "m").levels()[0].sparsity["lstm"] == pytest.approx(0.75, abs=0.02)


# Bad input


@pytest.mark.parametrize(
    ("pruning", "sentence"),
    [
        ({"method": "gradual", "sparsity": {}}, "it names none"),
        ({"method": "gradual", "sparsity": {"lstm": 1.0}}, "would leave nothing"),
        ({"method": "gradual", "sparsity": {"lstm": 0.0}}, "above 0 and below 1"),
        (
            {"method": "gradual", "sparsity": {"gru": 0.5}},
            "pruning.sparsity prunes gru layers; the network has",
        ),
        (
            {"method": "gradual", "sparsity": {"lstm": 0.5}, "begin": 0.5},
            "begins, and ends later; got begin 0.5",
        ),
        ({"method": "gradual", "sparsity": {"lstm": 0.5}, "ramp": 0.3}, "makes no use of `ramp`"),
        ({"method": "gradual", "sparsity": {"lstm": 0.5}, "block": "4"}, "written rows x columns"),
        ({"method": "gradual", "sparsity": {"lstm": 0.5}, "step": "gradient"}, "makes no use of `step`"),
        ({"method": "at_once", "sparsity": {"lstm": 0.5}, "end": 0.7}, "makes no use of `end`"),
        (
            {"method": "threshold", "sparsity": {"lstm": 0.5}},
            "takes its slopes from a dense model: name its run",
        ),
        ({"method": "threshold", "sparsity": {"lstm": 0.5}, "ramp": 0.01}, r"ramp 0\.01 and end 0\.4"),
        ({"method": "penalty", "sparsity": {"lstm": 0}}, "needs a `penalty`"),
        ({"method": "penalty", "sparsity": {"lstm": 0}, "penalty": "l1"}, "goes with its `strength`"),
        (
            {"method": "penalty", "sparsity": {"lstm": 0.5}, "penalty": "l1", "strength": 1.0},
            "and 0 with the method",
        ),
        ({"method": "gradual", "sparsity": {"lstm": 0.5}, "penalise": "until_end"}, "beside another method"),
    ],
)
def test_what_cannot_be_is_refused(corpus, pruning, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny.config(corpus, {"pruning": pruning})


def test_levels_and_pruning_do_not_go_together(corpus):
    with pytest.raises(
        ValueError, match="trains one model at many levels, and `pruning` makes it sparse for good"
    ):
        tiny.config(corpus, {"sparsity": tiny.SPARSE, "pruning": METHODS["gradual"]})


def test_a_dense_run_of_another_architecture_is_refused(corpus, dense, tmp_path):
    changes = {"pruning": {**METHODS["wp"], "dense": str(dense)}, "encoder.cells": 16}
    with pytest.raises(ValueError, match=r"cannot derive slopes from .* another architecture"):
        Trainer.new(tiny.config(corpus, changes), tmp_path / "run")


def test_a_threshold_that_empties_a_layer_is_refused_before_training(corpus, dense, tmp_path):
    wrong = {**METHODS["bp"], "block": "32x32", "sparsity": {"lstm": 0.999}}
    with pytest.raises(ValueError, match=r"the threshold of .* would leave nothing of `"):
        Trainer.new(pruned(corpus, dense, "bp", {"pruning": wrong}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_thresholds_are_foretold(corpus, dense, tmp_path):
    config = pruned(corpus, dense, "bp", {})
    trainer = Trainer.new(config, tmp_path / "run")
    table = foretell(config)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == [*trainer.network.matrix_names().values(), "all lstm", "all fc", "all"]
    sizes = {target.name: target.parameter.numel() for target in trainer.sparsity.targets}
    dropped = sum(sizes[name] * trainer.sparsity.foretold[name] for name in sizes)
    assert cells[1][-1] == f"{sum(sizes.values()):,}"
    assert cells[2][-1] == f"{dropped / sum(sizes.values()):.1%}"
    assert dropped > 0
    with pytest.raises(ValueError, match="nothing to foretell without thresholds"):
        foretell(pruned(corpus, dense, "gradual", {}))


def test_a_run_too_short_for_its_schedule_is_refused(corpus, dense, tmp_path):
    few = {**METHODS["wp"], "every": 10_000}
    with pytest.raises(ValueError, match=r"no multiple of 10000 lies between"):
        Trainer.new(pruned(corpus, dense, "wp", {"pruning": few}), tmp_path / "run")


def test_the_network_of_block_sparsity_is_pruned_and_transcribes(corpus, tmp_path):
    """Its convolutions, its summed directions with batch norm, and block pruning of what is recurrent."""
    changes = {
        "front": {"kind": "deepspeech2", "channels": 4},
        "encoder": {
            "cell": "rnn",
            "layers": 2,
            "cells": 24,
            "bidirectional": True,
            "summed": True,
            "batch_norm": True,
            "fc": [16],
        },
        "optimiser": {"kind": "nesterov", "learning_rate": 0.01},
        "pruning": {"method": "gradual", "sparsity": {"rnn": 0.5}, "block": "4x4", "every": 3},
        "training.epochs": 2,
    }
    path = train_run(tiny.config(corpus, changes), tmp_path / "run", resume=False)
    checkpoint = load_checkpoint(tmp_path / "run" / "best.pt")
    assert ModelFile.open(path).level("pruned").sparsity["rnn"] == pytest.approx(0.5, abs=0.02)
    dev = read_manifest(corpus / "dev.jsonl")
    heard = evaluate_level(ModelFile.open(path), "pruned", dev, DecodingOptions())
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    best = [row["levels"]["pruned"]["cer"] for row in rows if row["event"] == "dev" and row["best"]][-1]
    assert heard.counts.cer == pytest.approx(best, abs=0.03)
    assert checkpoint.setup.architecture.reduction == 2
