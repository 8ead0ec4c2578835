"""A small estimator of n-gram models, in float64, that writes what an ARPA file holds.

Interpolated Kneser-Ney (Chen and Goodman 1998, sec. 2.7) with one discount D an order:

    p(w | c) = max(n(c w) − D, 0) / n(c) + D N(c) / n(c) p(w | c without its first word)

n counts an n-gram of the highest order, and the different words before one of a lower order, or n if it
starts with `<s>`; N(c) counts the different words after c. The last p is uniform over all words but `<s>`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import log10

Ngram = tuple[str, ...]
START, END, UNKNOWN = "<s>", "</s>", "<unk>"


class KneserNey:
    """The model of some sentences, each a list of words."""

    def __init__(self, sentences: Iterable[Sequence[str]], order: int) -> None:
        self.order = order
        self.counts = [Counter() for _ in range(order + 1)]  # by length
        for sentence in sentences:
            words = (START, *sentence, END)
            for end in range(2, len(words) + 1):
                for length in range(1, min(order, end) + 1):
                    self.counts[length][words[end - length : end]] += 1
        for length in range(order - 1, 0, -1):
            raw, self.counts[length] = (
                self.counts[length],
                Counter(ngram[1:] for ngram in self.counts[length + 1]),
            )
            self.counts[length] |= Counter({ngram: n for ngram, n in raw.items() if ngram[0] == START})
        self.followers = Counter()  # N(c)
        self.totals = Counter()  # n(c)
        for counts in self.counts:
            for ngram, n in counts.items():
                self.followers[ngram[:-1]] += 1
                self.totals[ngram[:-1]] += n

    @cached_property
    def words(self) -> list[str]:
        """All but `<s>`."""
        return [UNKNOWN, *sorted(word for (word,) in self.counts[1])]

    @cached_property
    def discounts(self) -> list[float]:
        """D of each length: n1 / (n1 + 2 n2), the n-grams that are counted once and twice."""
        found = [0.0]
        for counts in self.counts[1:]:
            once, twice = (sum(n == times for n in counts.values()) for times in (1, 2))
            found.append(once / (once + 2 * twice) if once and twice else 0.5)
        return found

    def weight(self, context: Ngram) -> float:
        """What is left for shorter contexts; 1 if nothing is known after this one."""
        if context not in self.totals:
            return 1.0
        return self.discounts[len(context) + 1] * self.followers[context] / self.totals[context]

    def p(self, word: str, context: Ngram) -> float:
        """The probability of a word after a context that is shorter than the order."""
        shorter = self.p(word, context[1:]) if context else 1 / len(self.words)
        if context not in self.totals:
            return shorter
        length = len(context) + 1
        seen = max(self.counts[length][(*context, word)] - self.discounts[length], 0.0) / self.totals[context]
        return seen + self.weight(context) * shorter

    def arpa(self) -> str:
        """The text of the file; a context's back-off weight is `weight`."""
        listed = [sorted(counts) for counts in self.counts]
        listed[1] = [(START,), *((word,) for word in self.words)]
        lines = ["\\data\\", *(f"ngram {n}={len(listed[n])}" for n in range(1, self.order + 1))]
        for length in range(1, self.order + 1):
            lines += ["", f"\\{length}-grams:"]
            for ngram in listed[length]:
                p = "-99" if ngram == (START,) else repr(log10(self.p(ngram[-1], ngram[:-1])))
                backoff = f"\t{log10(self.weight(ngram))!r}" if length < self.order else ""
                lines.append(f"{p}\t{' '.join(ngram)}{backoff}")
        return "\n".join([*lines, "", "\\end\\", ""])
