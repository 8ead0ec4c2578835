"""What hotwords and a language model add to a score, from the text of its tokens: the compiled bias's truth.

Nothing is carried from one token to the next. Sums have the order of the compiled ones: equal bit by bit.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from math import log

import numpy as np

Ngram = tuple[str, ...]


class Backoff:
    """The n-gram model of an ARPA file: float32 logarithms, back-off as its definition has it."""

    def __init__(self, arpa: str) -> None:
        self.log_probs: dict[Ngram, float] = {}
        self.backoffs: dict[Ngram, float] = {}
        for section in re.split(r"\\(?=\d+-grams:|end\\)", arpa)[1:]:
            heading, *lines = section.splitlines()
            length = int(heading.partition("-")[0]) if heading != "end\\" else 0
            for line in filter(None, lines):
                p, *fields = line.split()
                ngram = tuple(fields[:length])
                self.log_probs[ngram] = float(np.float32(p))
                self.backoffs[ngram] = float(np.float32(fields[length])) if fields[length:] else 0.0
        self.log_probs.setdefault(("<unk>",), -100.0)
        self.order = max(map(len, self.log_probs))

    def __contains__(self, word: str) -> bool:
        return (word,) in self.log_probs

    def known(self, word: str) -> str:
        return word if word in self else "<unk>"

    def log10(self, words: Sequence[str]) -> float:
        """log10 p of the last of the words after all the others, which follow `<s>`."""
        *before, word = map(self.known, words)
        context = ("<s>", *before)[max(len(before) + 2 - self.order, 0) :]
        backoff = 0.0
        while (*context, word) not in self.log_probs:
            backoff += self.backoffs.get(context, 0.0)
            context = context[1:]
        return backoff + self.log_probs[(*context, word)]

    def sentence(self, words: Sequence[str]) -> list[float]:
        """ln p of each word after those before it, and of the end after all."""
        whole = [*words, "</s>"]
        return [log(10) * self.log10(whole[:n]) for n in range(1, len(whole) + 1)]


class Bias:
    """See csrc/decoder/bias.h.

    spellings: what each token adds to the text; a space first where a word begins.
    names:     what the language model calls each token, if its words are tokens.
    """

    def __init__(
        self,
        spellings: Sequence[bytes],
        hotwords: Mapping[bytes, float],
        lm: Backoff | None = None,
        scale: float = 0.0,
        bonus: float = 0.0,
        names: Sequence[str] = (),
    ) -> None:
        self.spellings, self.hotwords = spellings, hotwords
        self.lm, self.scale, self.bonus, self.names = lm, scale, bonus, names
        self.score, self.final = cache(self._score), cache(self._final)

    def _score(self, tokens: tuple[int, ...]) -> float:
        text = self.text(tokens)
        lent = 0.0
        for start in reversed(word_starts(text)):
            lent = self.lent(text[start:]) + lent
        return self.complete(text) + lent + self.words(tokens)

    def _final(self, tokens: tuple[int, ...]) -> float:
        """The score if the segment ends."""
        text = self.text(tokens)
        complete = self.complete(text + b" ")
        if self.lm is None:
            return complete
        words, last = words_of(text)
        names = [self.names[token] for token in tokens] if self.names else words
        to_last = self.lm.log10([*words, *last]) if last and not self.names else 0.0
        to_end = to_last + self.lm.log10([*names, *([] if self.names else last), "</s>"])
        end = self.scale * (log(10) * to_end) + (self.bonus if last else 0.0)
        return complete + (self.words(tokens) + end)

    def complete(self, text: bytes) -> float:
        """The boosts of the hotwords in a text."""
        return sum(boost * count(phrase, text) for phrase, boost in self.hotwords.items())

    def words(self, tokens: tuple[int, ...]) -> float:
        """What the language model adds for words that are complete, or for all tokens."""
        score, n_words = 0.0, 0
        for n in range(1, len(tokens) + 1 if self.lm is not None else 1):
            if self.names:
                score += self.scale * (log(10) * self.lm.log10([self.names[token] for token in tokens[:n]]))
            words, _ = words_of(self.text(tokens[:n]))
            if len(words) > n_words:
                scaled = 0.0 if self.names else self.scale * (log(10) * self.lm.log10(words))
                score += scaled + self.bonus
            n_words = len(words)
        return score

    def text(self, tokens: tuple[int, ...]) -> bytes:
        """What the tokens write, a space before it."""
        return re.sub(b" +", b" ", b" " + b"".join(self.spellings[token] for token in tokens))

    def lent(self, begun: bytes) -> float:
        """What is lent because the text ends with this, from the beginning of a word on."""
        longer = [h for h in self.hotwords if begun and h.startswith(begun) and h != begun]
        share = max((self.hotwords[h] * len(begun) / len(h) for h in longer), default=0.0)
        return max(share, 0.0) + max(self.hotwords.get(begun, 0.0), 0.0)


def words_of(text: bytes) -> tuple[list[str], list[str]]:
    """The words of a text that are complete, and the last if it is not."""
    *words, last = text.decode(errors="surrogateescape").split(" ")
    return words[1:], [last] if last else []


def word_starts(text: bytes) -> list[int]:
    return [match.end() for match in re.finditer(b" ", text)]


def count(phrase: bytes, text: bytes) -> int:
    """How often a phrase stands in a text, whole words before the last space."""
    return sum(text.startswith(phrase + b" ", start) for start in word_starts(text))
