"""The error of a network in training, at every level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import sqrt

import torch

from sparrot.metrics import ErrorCounts, count_errors, total
from sparrot.sparsity import AnySparsity
from sparrot.text import Tokens
from sparrot.train.data import EvaluationData
from sparrot.train.task import AnyNetwork, transcripts


@dataclass(frozen=True)
class Evaluation:
    """Errors of the same utterances at each level, densest first."""

    utterances: Mapping[str, Sequence[ErrorCounts]]

    @cached_property
    def counts(self) -> dict[str, ErrorCounts]:
        """Errors by level, over all utterances."""
        return {level: total(counts) for level, counts in self.utterances.items()}

    @property
    def score(self) -> float:
        """What the best checkpoint minimises: WER + CER, summed over the levels (our choice)."""
        return sum(counts.wer + counts.cer for counts in self.counts.values())

    def disorder(self) -> str | None:
        """A sentence if a denser level makes more word errors than a sparser one, by more than chance."""
        for denser, sparser in combinations(self.utterances, 2):
            more, less = self.counts[denser].wer, self.counts[sparser].wer
            if more > less and self._differ(denser, sparser):
                return (
                    f"level {denser} has a higher error ({more:.2%} WER) than the sparser {sparser} "
                    f"({less:.2%}): the full model may be held back by its levels; train longer, lower "
                    "the share of distillation, or start from a converged dense model (training.init_from)"
                )
        return None

    def _differ(self, denser: str, sparser: str) -> bool:
        """Whether two levels differ by more than which utterances happened to be drawn.

        |Σ d| > 3 √(Σ d²), d = word errors of one level minus the other's on an utterance: three standard
        errors, since every evaluation of a run asks.
        """
        pairs = zip(self.utterances[denser], self.utterances[sparser], strict=True)
        differences = [more.word_errors - less.word_errors for more, less in pairs]
        return abs(sum(differences)) > 3.0 * sqrt(sum(difference**2 for difference in differences))


def evaluate(
    network: AnyNetwork,
    sparsity: AnySparsity,
    data: EvaluationData,
    tokens: Tokens,
) -> Evaluation:
    """Greedy decoding of `data` at every level; the network is left in the mode it came in.

    A level that drops nothing yet is the full model, and is not decoded by itself.
    """
    was_training = network.training
    network.eval()
    try:
        full = _errors_at(sparsity.levels.full, network, sparsity, data, tokens)
        sparser = {
            level: _errors_at(level, network, sparsity, data, tokens) if sparsity.drops(level) else full
            for level in sparsity.levels.sparse
        }
        return Evaluation({sparsity.levels.full: full, **sparser})
    finally:
        network.train(was_training)


def _errors_at(
    level: str,
    network: AnyNetwork,
    sparsity: AnySparsity,
    data: EvaluationData,
    tokens: Tokens,
) -> list[ErrorCounts]:
    counts = []
    with sparsity.at(level), torch.inference_mode():
        for batch in data.batches():
            for utterance, ids in zip(batch.utterances, transcripts(network, batch), strict=True):
                counts.append(count_errors(utterance.text, tokens.decode(ids)))
    return counts
