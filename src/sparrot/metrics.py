"""How far a transcript is from what was said: errors in words and in characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of one utterance or, added up, of many.

    words, characters: of the references; a single space between two words is a character.
    substitutions, insertions, deletions: word edits from the references to the hypotheses.
    character_errors: edits of characters, all kinds.
    """

    words: int = 0
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    characters: int = 0
    character_errors: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.characters + other.characters,
            self.character_errors + other.character_errors,
        )

    @property
    def word_errors(self) -> int:
        """Word edits of all three kinds."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def wer(self) -> float:
        """Word error rate: word errors / words. Without words 0 if there is no error, else infinity."""
        return _rate(self.word_errors, self.words)

    @property
    def cer(self) -> float:
        """Character error rate: character errors / characters. Without characters as `wer`."""
        return _rate(self.character_errors, self.characters)


@dataclass(frozen=True)
class BootstrapInterval:
    """The WER of b minus the WER of a, and the interval that holds it with 95 % confidence."""

    difference: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether zero lies outside the interval."""
        return not self.low <= 0.0 <= self.high


def count_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """The fewest edits that turn the reference into the hypothesis, by jiwer.

    Words are what white space separates; its amount does not matter, letter case does. An empty
    reference has only insertions, an empty hypothesis only deletions.
    """
    import jiwer

    said, heard = " ".join(reference.split()), " ".join(hypothesis.split())
    words = jiwer.process_words(said, heard)
    characters = jiwer.process_characters(said, heard)
    return ErrorCounts(
        words=len(said.split()),
        substitutions=words.substitutions,
        insertions=words.insertions,
        deletions=words.deletions,
        characters=len(said),
        character_errors=characters.substitutions + characters.insertions + characters.deletions,
    )


def correct_words(reference: str, hypothesis: str) -> list[bool]:
    """Of every word of the hypothesis, whether it is right: one that `count_errors` finds no edit of."""
    import jiwer

    heard = hypothesis.split()
    right = [False] * len(heard)
    for chunks in jiwer.process_words(" ".join(reference.split()), " ".join(heard)).alignments:
        for chunk in chunks:
            if chunk.type == "equal":
                right[chunk.hyp_start_idx : chunk.hyp_end_idx] = [True] * (
                    chunk.hyp_end_idx - chunk.hyp_start_idx
                )
    return right


def total(counts: Sequence[ErrorCounts]) -> ErrorCounts:
    """The sum of the counts."""
    return sum(counts, ErrorCounts())


def paired_bootstrap(
    a: Sequence[ErrorCounts], b: Sequence[ErrorCounts], *, n_draws: int = 10_000, seed: int = 0
) -> BootstrapInterval:
    """The difference in WER of two systems on the same utterances, with its 95 % interval.

    Each draw takes as many utterances as there are, with replacement, the same for both systems (Bisani & Ney
    2004); the interval runs from the 2.5th to the 97.5th percentile of the differences.
    Raises ValueError unless both count the same references and there is at least one word.
    """
    words = np.array([counts.words for counts in a])
    if n_draws < 1 or [counts.words for counts in b] != words.tolist():
        raise ValueError(
            f"a paired bootstrap needs one draw or more and the same references on both sides; got {n_draws} "
            f"draws, {len(a)} and {len(b)} utterances of {total(a).words} and {total(b).words} words"
        )
    if words.sum() == 0:
        raise ValueError("a paired bootstrap needs references with words, and there are none")
    more_errors = np.array([theirs.word_errors - ours.word_errors for ours, theirs in zip(a, b, strict=True)])
    random = np.random.default_rng(seed)
    differences = np.empty(n_draws)
    for draw in range(n_draws):
        drawn = random.integers(len(words), size=len(words))
        differences[draw] = more_errors[drawn].sum() / max(int(words[drawn].sum()), 1)
    low, high = np.percentile(differences, [2.5, 97.5])
    return BootstrapInterval(float(more_errors.sum() / words.sum()), float(low), float(high))


def _rate(errors: int, length: int) -> float:
    if length == 0:
        return 0.0 if errors == 0 else math.inf
    return errors / length
