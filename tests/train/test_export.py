import json

import numpy as np
import pytest
import torch

from sparrot.model_file import ModelFile
from sparrot.nn import CtcNetwork
from sparrot.text import SentencePieceTokens
from sparrot.train.checkpoint import find_checkpoint, load_checkpoint
from sparrot.train.export import export, pruned_by
from sparrot.train.loop import Trainer
from sparrot.train.setup import make_sparsity
from train import tiny


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tiny.trained_run(tmp_path_factory.getbasetemp())


def test_every_level_has_the_weights_it_was_trained_with(run_folder):
    checkpoint = load_checkpoint(find_checkpoint(run_folder))
    network = CtcNetwork(checkpoint.setup.architecture)
    network.load_state_dict(checkpoint.network)
    sparsity = make_sparsity(network, checkpoint.setup.config.sparsity, 1)
    sparsity.load_state_dict(checkpoint.sparsity)
    model = ModelFile.open(run_folder / "model.sparrot")
    assert [level.name for level in model.levels] == list(sparsity.levels) == ["large", "small"]
    for level in model.levels:
        with sparsity.at(level.name):
            np.testing.assert_equal(dict(model.parameters(level.name)), network.export())
        assert dict(level.targets) == dict(sparsity.levels[level.name])
        assert dict(level.sparsity) == pytest.approx(sparsity.sparsity(level.name))
    assert model.level("small").sparsity["lstm"] == pytest.approx(0.75, abs=0.01)


def test_stops_between_levels_keep_the_blocks_that_come_first_on_the_path(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sparrot.model_file.stop_plan.LEAST_COLUMNS", 1)
    checkpoint = load_checkpoint(find_checkpoint(run_folder))
    network = CtcNetwork(checkpoint.setup.architecture)
    sparsity = make_sparsity(network, checkpoint.setup.config.sparsity, 1)
    sparsity.load_state_dict(checkpoint.sparsity)
    export(find_checkpoint(run_folder), tmp_path / "m", n_stops=5)
    model, whole = ModelFile.open(tmp_path / "m"), network.matrix_names()
    for stop in model.stops[1:-1]:
        found = model.parameters(stop.overall_sparsity)
        for name, order in sparsity.path().order.items():
            grid, kept = sparsity.grids[name], torch.from_numpy(found[whole[name]] != 0)
            for row, places in enumerate(order):  # columns are whole by fours, so a row has its own share
                own = kept[grid.block_of_row == row].any(dim=0)
                assert own.sum() == 0 or places[own].max() == places.sort().values[own.sum() - 1]


def test_the_file_says_what_was_trained_and_how(run_folder):
    checkpoint = load_checkpoint(find_checkpoint(run_folder))
    setup, description = checkpoint.setup, ModelFile.open(run_folder / "model.sparrot").description
    assert description.architecture == setup.architecture
    assert (description.features, description.tokens) == (setup.features, setup.tokens)
    assert (description.name, description.licence) == ("tiny", "unspecified")
    assert description.chunk_frames == setup.config.chunk_frames
    assert description.configuration == setup.config.model_dump(mode="json")
    provenance = description.provenance
    assert provenance["train"] == list(setup.config.data.train)
    assert (provenance["epochs"], provenance["updates"]) == (
        checkpoint.position.epoch,
        checkpoint.position.step,
    )
    assert provenance["torch"] == torch.__version__
    json.dumps(provenance)


def test_a_dense_run_has_one_level_and_nothing_dropped(corpus, tmp_path):
    trainer = Trainer.new(tiny.config(corpus), tmp_path / "run")
    trainer.save(tmp_path / "run" / "last.pt")
    export(find_checkpoint(tmp_path / "run"), tmp_path / "dense.sparrot")
    model = ModelFile.open(tmp_path / "dense.sparrot")
    assert [level.name for level in model.levels] == ["dense"]
    np.testing.assert_equal(dict(model.parameters("dense")), trainer.network.export())
    assert pruned_by(trainer.sparsity) == set()


def test_pieces_travel_with_the_model(corpus, tmp_path):
    config = tiny.config(corpus, {"tokens": {"kind": "sentencepiece", "size": 11}})
    trainer = Trainer.new(config, tmp_path / "run")
    trainer.save(tmp_path / "run" / "last.pt")
    export(find_checkpoint(tmp_path / "run"), tmp_path / "pieces.sparrot")
    tokens = ModelFile.open(tmp_path / "pieces.sparrot").description.tokens
    assert isinstance(tokens, SentencePieceTokens)
    assert tokens.encode("one two") == trainer.setup.tokens.encode("one two")


def test_independent_masks_are_refused(corpus, tmp_path):
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE | {"nested": False}})
    trainer = Trainer.new(config, tmp_path / "run")
    trainer.save(tmp_path / "run" / "last.pt")
    with pytest.raises(
        ValueError, match=r"last\.pt was trained with independent masks, .*sparsity\.nested: true"
    ):
        export(tmp_path / "run" / "last.pt", tmp_path / "x.sparrot")
    assert not (tmp_path / "x.sparrot").exists()


def test_a_level_that_has_dropped_nothing_yet_is_exported_whole(corpus, tmp_path):
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": tiny.SPARSE}), tmp_path / "run")
    trainer.save(tmp_path / "run" / "last.pt")
    with pytest.warns(
        UserWarning, match=r"last.pt is from .* `small` drops lstm 0%, fc 0%, not lstm 75%, fc 50%"
    ):
        export(tmp_path / "run" / "last.pt", tmp_path / "x.sparrot")
    model = ModelFile.open(tmp_path / "x.sparrot")
    np.testing.assert_equal(dict(model.parameters("small")), dict(model.parameters("large")))
