import pytest
import torch
from torch import nn

from sparrot.model_file import ModelFile
from sparrot.train.average import Average
from sparrot.train.checkpoint import load_checkpoint
from sparrot.train.export import export
from sparrot.train.loop import Trainer
from train import tiny


def test_the_average_follows_its_formula_and_leaves_the_network_alone():
    layer = nn.Linear(3, 2)
    average = Average(layer, 0.6)
    expected = layer.weight.detach().double().clone()
    for t in range(1, 20):
        with torch.no_grad():
            layer.weight.add_(0.5)
        average.update()
        keep = min(0.6, (1 + t) / (10 + t))
        expected = keep * expected + (1 - keep) * layer.weight.detach().double()
    before = layer.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), average.applied():
        torch.testing.assert_close(layer.weight.detach().double(), expected, rtol=1e-6, atol=1e-6)
        raise ZeroDivisionError
    assert torch.equal(layer.weight, before)


def test_an_average_is_evaluated_exported_and_resumed(corpus, tmp_path, monkeypatch):
    config = tiny.config(corpus, {"training.average": 0.9, "training.epochs": 1})
    trainer = Trainer.new(config, tmp_path / "run")
    batches = list(trainer.data.batches(0))
    for batch in batches[:3]:
        trainer.update(batch)
    trainer.save(tmp_path / "run" / "last.pt")
    again = Trainer.resumed(config, tmp_path / "run")
    for batch in batches[3:]:
        for each in (trainer, again):
            each.update(batch)
    torch.testing.assert_close(again.average.state_dict(), trainer.average.state_dict(), rtol=0, atol=0)
    trainer.save(tmp_path / "run" / "last.pt")
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    name = "layers.output.linear.weight"
    assert not torch.equal(checkpoint.weights[name], checkpoint.network[name])
    export(tmp_path / "run" / "last.pt", tmp_path / "x.sparrot")
    exported = ModelFile.open(tmp_path / "x.sparrot").parameters("dense")["output.weight"]
    assert torch.equal(torch.from_numpy(exported.copy()), checkpoint.weights[name])
    seen = []
    monkeypatch.setattr(
        "sparrot.train.loop.evaluate", lambda network, *_: seen.append(network.state_dict()[name].clone())
    )
    with pytest.raises(AttributeError):  # what the evaluation would have given
        trainer._evaluate(None)
    assert torch.equal(seen[0], checkpoint.weights[name])
