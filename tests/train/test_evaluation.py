import pytest
import torch

from sparrot.corpora.manifest import read_manifest
from sparrot.metrics import ErrorCounts, count_errors, total
from sparrot.nn import CtcNetwork, build_architecture
from sparrot.sparsity import BlockMask
from sparrot.text import CharacterTokens
from sparrot.train.data import EvaluationData
from sparrot.train.evaluation import Evaluation, evaluate
from sparrot.train.loss import greedy_tokens
from sparrot.train.setup import make_sparsity
from train import tiny

TOKENS = CharacterTokens.of([*tiny.WORDS, " "])


def errors(wer: float, cer: float = 0.0) -> ErrorCounts:
    """Counts of 100 words and 100 characters."""
    return ErrorCounts(100, round(100 * wer), 0, 0, 100, round(100 * cer))


@pytest.mark.parametrize(
    ("rates", "named"),
    [
        ([0.05], None),
        ([0.05, 0.05], None),
        ([0.04, 0.05, 0.06], None),
        ([0.06, 0.05], ("large", "6.00%", "medium", "5.00%")),
        ([0.05, 0.07, 0.06], ("medium", "7.00%", "small", "6.00%")),
        ([0.05, 0.05, 0.04], ("medium", "5.00%", "small", "4.00%")),
    ],
)
def test_a_denser_level_that_is_worse_is_named(rates, named):
    levels = dict(zip(("large", "medium", "small"), map(errors, rates), strict=False))
    said = Evaluation(levels).disorder()
    if named is None:
        assert said is None
    else:
        denser, worse, sparser, better = named
        expected = f"level {denser} has a higher error ({worse} WER) than the sparser {sparser} ({better}): "
        assert said is not None
        assert said.startswith(expected)


def test_the_score_sums_words_and_characters_over_levels():
    counts = {"large": errors(0.1, 0.03), "small": errors(0.2, 0.05)}
    assert Evaluation(counts).score == pytest.approx(0.1 + 0.03 + 0.2 + 0.05)


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


def expected_at(level, network, sparsity, data) -> ErrorCounts:
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
    return total(counts)


def test_every_level_is_decoded_with_its_own_weights(parts):
    network, sparsity, data = parts
    counts = evaluate(network, sparsity, data, TOKENS).counts
    assert list(counts) == ["large", "small"]
    assert counts == {level: expected_at(level, *parts) for level in counts}
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
