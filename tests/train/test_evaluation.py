from math import isnan

import pytest
import torch

from sparrot.corpora.manifest import read_manifest
from sparrot.metrics import ErrorCounts, count_errors, total
from sparrot.nn import CtcNetwork, build_architecture
from sparrot.sparsity import BlockMask
from sparrot.text import CharacterTokens
from sparrot.train.data import EvaluationData
from sparrot.train.evaluation import Evaluation, LevelEvaluation, evaluate
from sparrot.train.loss import ctc_loss, greedy_tokens
from sparrot.train.setup import make_sparsity
from train import tiny

TOKENS = CharacterTokens.of([*tiny.WORDS, " "])


def levels(**word_errors: int) -> Evaluation:
    """By level, so many of 40 utterances of 5 words with one word wrong, the same ones first."""
    return Evaluation(
        {
            level: LevelEvaluation([ErrorCounts(5, int(i < n), 0, 0, 25, 0) for i in range(40)], loss=1.0)
            for level, n in word_errors.items()
        }
    )


def test_levels_in_order_are_not_warned_of():
    assert levels(large=5).disorder() is None
    assert levels(large=5, medium=5).disorder() is None
    assert levels(large=1, medium=9, small=30).disorder() is None


def test_a_denser_level_that_is_worse_is_named():
    said = levels(large=12, medium=2).disorder()
    assert said is not None
    assert said.startswith("level large has a higher error (6.00% WER) than the sparser medium (1.00%): ")
    said = levels(large=4, medium=20, small=6).disorder()
    assert said is not None
    assert said.startswith("level medium has a higher error (10.00% WER) than the sparser small (3.00%): ")


def test_levels_that_are_not_neighbours_are_compared():
    said = levels(large=12, medium=7, small=1).disorder()
    assert said is not None
    assert said.startswith("level large has a higher error (6.00% WER) than the sparser small (0.50%): ")


def test_three_standard_errors_are_more_than_chance():
    assert levels(large=11, medium=2).disorder() is None  # 9 of 9: exactly three
    assert levels(large=12, medium=2).disorder() is not None


def test_the_score_sums_words_and_characters_over_levels():
    large, small = ErrorCounts(100, 10, 0, 0, 100, 3), ErrorCounts(100, 20, 0, 0, 100, 5)
    both = Evaluation(
        {
            "large": LevelEvaluation([large, ErrorCounts()], 1.0),
            "small": LevelEvaluation([small, ErrorCounts()], 1.0),
        }
    )
    assert both.score == pytest.approx(0.1 + 0.03 + 0.2 + 0.05)


@pytest.fixture(scope="module")
def parts(corpus):
    """A network that writes something, its sparsity with half the blocks dropped at `small`, and dev."""
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE, "dropout": 0.9})
    torch.manual_seed(1)
    network = CtcNetwork(
        build_architecture(12, config.front, config.encoder, TOKENS.n_tokens), config.dropout
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)
    sparsity = make_sparsity(network, config.sparsity, 10)
    masks = {
        name: BlockMask(torch.arange(grid.n_blocks).reshape(grid.shape) % 2 == 0, grid)
        for name, grid in sparsity.grids.items()
    }
    state = sparsity.state_dict()
    state["keep"] = {"small": {name: mask.keep for name, mask in masks.items()}}
    sparsity.load_state_dict(state)
    data = EvaluationData(read_manifest(corpus / "dev.jsonl"), config.features, batch_seconds=2.0)
    return network, sparsity, data


def expected_at(level, network, sparsity, data) -> list[ErrorCounts]:
    """The errors of utterances one by one."""
    counts = []
    network.eval()
    with sparsity.at(level), torch.no_grad():
        for batch in data.batches():
            for i, utterance in enumerate(batch.utterances):
                length = batch.lengths[i : i + 1]
                logits, lengths = network(batch.frames[i : i + 1, : length.item()], length)
                (ids,) = greedy_tokens(logits, lengths)
                counts.append(count_errors(utterance.text, TOKENS.decode(ids)))
    return counts


def test_every_level_is_decoded_with_its_own_weights(parts):
    network, sparsity, data = parts
    found = evaluate(network, sparsity, data, TOKENS)
    assert found.utterances == {level: expected_at(level, *parts) for level in ("large", "small")}
    counts = found.counts
    assert counts == {level: total(found.utterances[level]) for level in ("large", "small")}
    assert counts["large"].character_errors != counts["small"].character_errors


def test_evaluation_leaves_the_network_as_it_was(parts):
    network, sparsity, data = parts
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for mode in (True, False):
        network.train(mode)
        evaluate(network, sparsity, data, TOKENS)
        assert network.training == mode
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    random = torch.get_rng_state()
    evaluate(network, sparsity, data, TOKENS)
    assert torch.equal(torch.get_rng_state(), random)


def test_the_loss_is_a_token_of_the_texts_that_can_be_written(parts):
    network, sparsity, data = parts
    found = evaluate(network, sparsity, data, TOKENS)
    network.eval()
    losses, n_tokens = [], 0
    with torch.no_grad(), sparsity.at("small"):
        for batch in data.batches():
            for i, utterance in enumerate(batch.utterances):
                length = batch.lengths[i : i + 1]
                logits, lengths = network(batch.frames[i : i + 1, : length.item()], length)
                ids = torch.tensor([TOKENS.encode(utterance.text)])
                (loss,) = ctc_loss(logits, lengths, ids, torch.tensor([ids.shape[1]])).tolist()
                if loss != float("inf"):
                    losses.append(loss)
                    n_tokens += ids.shape[1]
    assert n_tokens > 0
    assert found.levels["small"].loss == pytest.approx(sum(losses) / n_tokens, rel=1e-5)
    assert found.levels["large"].loss != found.levels["small"].loss


def test_without_a_text_that_can_be_written_there_is_no_loss(parts):
    network, sparsity, data = parts
    others = CharacterTokens.of(["".join(chr(0x430 + i) for i in range(TOKENS.n_tokens - 1))])
    assert isnan(evaluate(network, sparsity, data, others).levels["large"].loss)
