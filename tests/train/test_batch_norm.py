"""Runs with batch norm: what is resumed, evaluated and exported has the statistics of every level."""

import itertools

import numpy as np
import pytest
import torch

import rounding
from architectures import features
from sparrot.engine.prepared import PreparedModel
from sparrot.model_file import ModelFile
from sparrot.train.evaluation import evaluate
from sparrot.train.export import export
from sparrot.train.loop import Trainer
from train import tiny

NORMED = {"encoder.batch_norm": True, "sparsity": tiny.SPARSE | {"begin": 0.0, "end": 0.2}}
SUMMED = {
    **{f"encoder.{name}": True for name in ("batch_norm", "bidirectional", "summed")},
    "encoder.cell": "rnn",
    "sparsity": NORMED["sparsity"] | {"levels": {"large": {}, "small": {"rnn": 0.75}}},
}


def updates(trainer: Trainer, n: int) -> list[dict[str, float]]:
    """The losses of the next n updates, which stay within the first epoch."""
    batches = trainer.data.batches(trainer.position.epoch, trainer.position.batch)
    return [trainer.update(batch).losses for batch in itertools.islice(batches, n)]


@pytest.mark.parametrize(
    ("changes", "normed"), [(NORMED, ("norm0", "fc0_norm")), (SUMMED, ("rnn0", "fc0_norm"))]
)
def test_a_run_resumes_bit_for_bit_and_exports_the_statistics_of_every_level(
    corpus, tmp_path, changes, normed
):
    config = tiny.config(corpus, changes | {"data.batch_seconds": 2.0})
    through = Trainer.new(config, tmp_path / "through")
    expected = updates(through, 10)
    assert "small" in expected[4], "it drops nothing by then"
    first = Trainer.new(config, tmp_path / "cut")
    losses = updates(first, 5)
    first.save(tmp_path / "cut" / "last.pt")
    second = Trainer.resumed(config, tmp_path / "cut")
    assert losses + updates(second, 5) == expected
    for name, value in through.network.state_dict().items():
        np.testing.assert_array_equal(second.network.state_dict()[name], value, err_msg=name)

    second.save(tmp_path / "cut" / "last.pt")
    export(tmp_path / "cut" / "last.pt", tmp_path / "m.sparrot")
    model = ModelFile.open(tmp_path / "m.sparrot")
    for level in ("large", "small"):
        with second.sparsity.at(level):
            np.testing.assert_equal(dict(model.parameters(level)), second.network.export())
    large, small = model.parameters("large"), model.parameters("small")
    for name in normed:
        assert not np.array_equal(large[f"{name}.scale"], small[f"{name}.scale"])
        assert not np.array_equal(large[f"{name}.shift"], small[f"{name}.shift"])
    runs_as_it_was_trained(second, model)


def runs_as_it_was_trained(trainer: Trainer, model: ModelFile) -> None:
    """Every level of the file gives the logits of the network in evaluation."""
    frames = features(model.description.architecture, 40)
    trainer.network.eval()
    prepared = PreparedModel(model)
    for name in ("large", "small"):
        with trainer.sparsity.at(name), torch.no_grad():
            expected = trainer.network(torch.tensor(frames)[None], torch.tensor([40]))[0][0].numpy()
        logits = prepared[name].network.run(frames, prepared[name].stop)
        np.testing.assert_allclose(logits, expected, atol=1e-3)
        bounded = rounding.run(model.description.architecture, model.parameters(name), frames)
        assert np.all(abs(logits - bounded.value) <= bounded.error)


def test_an_evaluation_leaves_the_statistics(corpus, tmp_path):
    trainer = Trainer.new(tiny.config(corpus, NORMED), tmp_path / "run")
    updates(trainer, 3)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    evaluate(trainer.network, trainer.sparsity, trainer.dev, trainer.setup.tokens)
    for name, value in trainer.network.state_dict().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_dense_run_is_a_start_for_one_with_levels(corpus, tmp_path):
    dense = Trainer.new(tiny.config(corpus, {"encoder.batch_norm": True}), tmp_path / "dense")
    updates(dense, 3)
    dense.save(tmp_path / "dense" / "last.pt")
    config = tiny.config(corpus, NORMED | {"training.init_from": str(tmp_path / "dense")})
    start = Trainer.new(config, tmp_path / "sparse")
    for level in ("large", "small"):
        with start.sparsity.at(level):
            np.testing.assert_equal(start.network.export(), dense.network.export())
