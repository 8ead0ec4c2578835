"""The error of a network in training, at every level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import isfinite, nan, sqrt

import torch

from sparrot.metrics import ErrorCounts, count_errors, total
from sparrot.sparsity import AnySparsity
from sparrot.text import Tokens
from sparrot.train.data import EvaluationData
from sparrot.train.task import AnyNetwork, hear, transcripts


@dataclass(frozen=True)
class LevelEvaluation:
    """What one level makes of the utterances.

    errors: of each.
    loss:   −log p(text | speech) in nats a token of text, over the texts that the network could write: those
            whose characters have tokens and whose speech has room for them. NaN if there are none.
    """

    errors: Sequence[ErrorCounts]
    loss: float


@dataclass(frozen=True)
class Evaluation:
    """What each level makes of the same utterances, densest first."""

    levels: Mapping[str, LevelEvaluation]

    @cached_property
    def utterances(self) -> dict[str, Sequence[ErrorCounts]]:
        """Errors of each utterance, by level."""
        return {level: heard.errors for level, heard in self.levels.items()}

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
    ctc_share: float = 0.0,
) -> Evaluation:
    """Greedy decoding of `data` at every level, and its loss; the network is left in the mode it came in.

    A level that drops nothing yet is the full model, and is not heard by itself.
    """
    targets = {utterance.id: _writable(utterance.text, tokens) for utterance in data.utterances}
    was_training = network.training
    network.eval()
    try:

        def heard_at(level: str) -> LevelEvaluation:
            with sparsity.at(level), torch.inference_mode():
                return _heard(network, data, tokens, targets, ctc_share)

        full = heard_at(sparsity.levels.full)
        sparser = {
            level: heard_at(level) if sparsity.drops(level) else full for level in sparsity.levels.sparse
        }
        return Evaluation({sparsity.levels.full: full, **sparser})
    finally:
        network.train(was_training)


def _heard(
    network: AnyNetwork,
    data: EvaluationData,
    tokens: Tokens,
    targets: Mapping[str, list[int] | None],
    ctc_share: float,
) -> LevelEvaluation:
    errors, losses, n_tokens = [], 0.0, 0
    for decoded in data.batches():
        texts = [targets[utterance.id] for utterance in decoded.utterances]
        batch = decoded.with_targets([text or [] for text in texts])
        heard = hear(network, batch, ctc_share)
        for utterance, ids in zip(batch.utterances, transcripts(network, batch, heard), strict=True):
            errors.append(count_errors(utterance.text, tokens.decode(ids)))
        for text, loss in zip(texts, heard.loss(batch).tolist(), strict=True):
            if text and isfinite(loss):
                losses, n_tokens = losses + loss, n_tokens + len(text)
    return LevelEvaluation(errors, losses / n_tokens if n_tokens else nan)


def _writable(text: str, tokens: Tokens) -> list[int] | None:
    """The tokens of a text, or None if it has characters without one."""
    try:
        return tokens.encode(text)
    except ValueError:
        return None
