"""Language models of public-domain text: trained, resumed, exported, and run by the engine."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sparrot.engine.word_model import WordModel
from sparrot.lm.checkpoint import load_lm_checkpoint
from sparrot.lm.config import LmConfig
from sparrot.lm.export import export_lm
from sparrot.lm.perplexity import perplexity
from sparrot.lm.text import columns, make_vocabulary, numbered, windows
from sparrot.lm.trainer import LmTrainer
from sparrot.model_file import ModelFile
from sparrot.nn.language import LanguageNetwork, detached, language_architecture
from sparrot.sentences import read_sentences

BOOK = Path(__file__).parents[1] / "texts" / "war-and-peace.txt"
LEVELS = {"levels": {"large": {}, "small": {"lstm": 0.75, "fc": 0.5}}, "block": "4x1", "mask_every": 5}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Five hundred lines of a book to learn, and a hundred to foretell."""
    folder = tmp_path_factory.mktemp("texts")
    lines = [line for line in BOOK.read_text().lower().splitlines() if line.split()]
    (folder / "train.txt").write_text("\n".join(lines[:500]))
    (folder / "valid.txt").write_text("\n".join(lines[500:600]))
    return folder


def config(texts, **changes) -> LmConfig:
    described = {
        "name": "tiny-lm",
        "data": {"train": str(texts / "train.txt"), "valid": str(texts / "valid.txt"), "vocabulary": 300},
        "cells": 32,
        "epochs": 3,
        "batch": 10,
        "threads": 1,
    }
    return LmConfig(**{**described, **changes})


def trained(texts, folder, **changes) -> LmTrainer:
    trainer = LmTrainer.new(config(texts, **changes), folder)
    trainer.run()
    return trainer


# Texts


def test_a_vocabulary_ranks_words_and_keeps_the_most_frequent():
    sentences = [["b", "a"], ["b", "c", "a", "b"]]
    assert make_vocabulary(sentences).symbols == ("<eos>", "b", "a", "c")
    few = make_vocabulary(sentences, 3)
    assert (few.symbols, few.unknown) == (("<eos>", "<unk>", "b"), "<unk>")
    assert numbered(sentences, few).tolist() == [3, 2, 1, 3, 2, 2, 3, 1]
    assert make_vocabulary([["a", "<unk>"]]).unknown == "<unk>"


def test_windows_cover_a_text_once():
    ids = torch.arange(47)
    stretches = columns(ids, 3)
    assert stretches.tolist() == [list(range(15)), list(range(15, 30)), list(range(30, 45))]
    pairs = list(windows(stretches, 4))
    assert torch.equal(torch.cat([given for given, _ in pairs], 1), stretches[:, :-1])
    assert torch.equal(torch.cat([following for _, following in pairs], 1), stretches[:, 1:])
    assert [given.shape[1] for given, _ in pairs] == [4, 4, 4, 2]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "there is no word in"),
        (b" \n\n", "there is no word in"),
        (b"caf\xe9", "byte 3 is no UTF-8"),
        (b"a <eos> b", "ends a sentence here"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(tmp_path, raw, sentence):
    (tmp_path / "text").write_bytes(raw)
    with pytest.raises(ValueError, match=sentence):
        read_sentences(tmp_path / "text")


def test_texts_and_vocabularies_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="cannot be cut into 20 stretches"):
        columns(torch.arange(30), 20)
    with pytest.raises(ValueError, match="of 2 tokens has no room for a word beside <eos>, <unk>"):
        make_vocabulary([["a", "b"]], 2)


# Networks


def test_the_state_is_carried_from_window_to_window():
    torch.manual_seed(0)
    network = LanguageNetwork(language_architecture(20, 8, 12, 2)).eval()
    tokens = torch.randint(20, (3, 11))
    whole, _ = network(tokens)
    first, states = network(tokens[:, :4])
    second, _ = network(tokens[:, 4:], detached(states))
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert perplexity(network, tokens, 3) == pytest.approx(perplexity(network, tokens, 100), rel=1e-5)


def test_perplexity_of_a_network_that_knows_nothing_is_the_number_of_tokens():
    network = LanguageNetwork(language_architecture(20, 8, 12, 1))
    with torch.no_grad():
        network.layers["output"].linear.weight.zero_()
        network.layers["output"].linear.bias.zero_()
    assert perplexity(network, torch.randint(20, (3, 11))) == pytest.approx(20, rel=1e-5)


# Runs


def test_levels_have_dropout_of_their_own(texts, tmp_path):
    sparse = LEVELS | {"dropout": {"small": 0.25}}
    trainer = LmTrainer.new(config(texts, sparsity=sparse, dropout=0.5), tmp_path)
    dropout, values = trainer.network.dropout.train(), torch.ones(1 << 16)
    for level, p in (("small", 0.25), ("large", 0.5)):
        with trainer.sparsity.at(level):
            assert float((dropout(values) == 0).float().mean()) == pytest.approx(p, abs=0.02)


def test_a_model_learns_and_the_engine_says_what_torch_says(texts, tmp_path):
    trainer = trained(texts, tmp_path / "run", sparsity=LEVELS)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told = [row["perplexity"]["large"] for row in rows if row["event"] == "valid"]
    assert max(told) < 100  # of 300 tokens
    export_lm(tmp_path / "run" / "last.pt", tmp_path / "lm.sparrot")
    valid = numbered(read_sentences(texts / "valid.txt"), trainer.tokens)[None]
    for level in ("large", "small"):
        model = WordModel.load(tmp_path / "lm.sparrot", level)
        with trainer.sparsity.at(level):
            expected = perplexity(trainer.network, valid)
        found = math.exp(-model.log_probs_of(valid[0].numpy()).mean())
        assert found == pytest.approx(expected, rel=1e-4)
    sparsity = ModelFile.open(tmp_path / "lm.sparrot").level("small").sparsity
    assert sparsity["lstm"] == pytest.approx(0.75, abs=0.02)


def test_a_run_that_was_stopped_goes_on_bit_for_bit(texts, tmp_path):
    changes = {"sparsity": LEVELS, "dropout": 0.2}
    whole = trained(texts, tmp_path / "whole", **changes)
    stopped = LmTrainer.new(config(texts, **changes), tmp_path / "stopped")
    first = list(windows(stopped.train, stopped.config.steps))[:9]
    for given, following in first[:7]:
        stopped.update(given, following)
    stopped.save("last.pt")
    for given, following in first[7:]:  # lost when it is killed
        stopped.update(given, following)
    again = LmTrainer.resumed(config(texts, **changes), tmp_path / "stopped")
    again.run()
    one, other = whole.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert log(tmp_path / "whole") == log(tmp_path / "stopped")


def log(folder: Path) -> list[dict[str, object]]:
    """The rows of a log without the time they took."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{**row, "minutes": None} for row in rows]


@pytest.mark.parametrize(
    "pruning",
    [
        {
            "method": "gradual",
            "sparsity": {"lstm": 0.6, "embedding": 0.5, "fc": 0.6},
            "block": "4x4",
            "every": 3,
        },
        {"method": "threshold", "sparsity": {"lstm": 0.6}, "every": 2, "ramp": 0.3, "end": 0.8},
    ],
)
def test_a_model_is_pruned_for_good(texts, tmp_path, pruning):
    trained(texts, tmp_path / "dense")
    changes = {"pruning": pruning, "init_from": str(tmp_path / "dense")}
    trained(texts, tmp_path / "run", **changes)
    export_lm(tmp_path / "run" / "best.pt", tmp_path / "lm.sparrot")
    (level,) = ModelFile.open(tmp_path / "lm.sparrot").levels
    assert level.name == "pruned"
    assert level.sparsity["lstm"] == pytest.approx(0.6, abs=0.1)


def test_words_have_probabilities_that_sum_to_one(texts, tmp_path):
    trained(texts, tmp_path / "run", epochs=1)
    export_lm(tmp_path / "run" / "best.pt", tmp_path / "lm.sparrot")
    model = WordModel.load(tmp_path / "lm.sparrot")
    total = sum(math.exp(model.log_probs([word])[0]) for word in model.tokens.symbols[1:])
    total += math.exp(model.log_probs([])[0])
    assert 0.9 < total <= 1.0 + 1e-9  # token 0 is no word
    assert len(model.log_probs(["the", "prince"])) == 3
    assert model.perplexity([["the", "prince"]]) == pytest.approx(
        math.exp(-np.mean(model.log_probs(["the", "prince"]))), rel=1e-6
    )


def test_checkpoints_that_are_none_are_refused(tmp_path, texts):
    (tmp_path / "bad.pt").write_bytes(b"none")
    with pytest.raises(ValueError, match="it is damaged, or no checkpoint"):
        load_lm_checkpoint(tmp_path / "bad.pt")
    with pytest.raises(FileNotFoundError, match="sparrot lm train"):
        load_lm_checkpoint(tmp_path / "none.pt")
    trained(texts, tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="already holds a run"):
        LmTrainer.new(config(texts), tmp_path / "run")
    with pytest.raises(ValueError, match="its configuration differs"):
        LmTrainer.resumed(config(texts, epochs=2), tmp_path / "run")
    with pytest.raises(ValueError, match="another architecture"):
        LmTrainer.new(config(texts, cells=16, init_from=str(tmp_path / "run")), tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sparsity": LEVELS, "pruning": {"method": "gradual", "sparsity": {"lstm": 0.5}}}, "leave one out"),
        ({"pruning": {"method": "gradual", "sparsity": {"gru": 0.5}}}, "there are no gru layers to prune"),
        ({"pruning": {"method": "threshold", "sparsity": {"lstm": 0.5}}}, "from a dense model: name its run"),
        ({"sparsity": {**LEVELS, "switching": (0.1, 1.0)}}, "of which a text has none"),
    ],
)
def test_what_cannot_be_is_refused(texts, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        config(texts, **changes)
