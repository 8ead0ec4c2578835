"""Text for language models: a sentence a line, as the numbers of its words."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from sparrot.sentences import END
from sparrot.text import WordTokens

UNKNOWN: Final = "<unk>"


def make_vocabulary(sentences: list[list[str]], most: int | None = None) -> WordTokens:
    """The words of the sentences, the most frequent first, and the end of a sentence.

    most: of the tokens that there may be, the end and the unknown word among them; None is all. Of equally
          frequent words the first in the alphabet stay. Where words are left out, or the text itself has the
          word `<unk>`, that stands for every other.

    Raises ValueError if `most` leaves no word.
    """
    counts = Counter(word for words in sentences for word in words)
    marks = counts.pop(UNKNOWN, 0)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    has_unknown = marks > 0 or (most is not None and len(ranked) + 1 > most)
    special = [END, UNKNOWN] if has_unknown else [END]
    if most is not None:
        if most <= len(special):
            raise ValueError(
                f"a vocabulary of {most} tokens has no room for a word beside {', '.join(special)}"
            )
        ranked = ranked[: most - len(special)]
    return WordTokens((*special, *ranked), UNKNOWN if has_unknown else None)


def numbered(sentences: list[list[str]], tokens: WordTokens) -> Tensor:
    """All sentences one after the other, each with its end: int64 (n_words,).

    Raises ValueError for a word without a token, if none stands for it.
    """
    ids = [token for words in sentences for token in tokens.encode(" ".join([*words, END]))]
    return torch.tensor(ids)


def columns(ids: Tensor, batch: int) -> Tensor:
    """A text cut into `batch` equal stretches, int64 (batch, n); what is left over is left out.

    Raises ValueError if a stretch would not have two words.
    """
    n = len(ids) // batch
    if n < 2:
        raise ValueError(
            f"a text of {len(ids)} words cannot be cut into {batch} stretches of two words or more"
        )
    return ids[: batch * n].view(batch, n)


def windows(stretches: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and the words that follow them, int64 (batch, ≤ steps) each, in order."""
    for start in range(0, stretches.shape[1] - 1, steps):
        end = min(start + steps, stretches.shape[1] - 1)
        yield stretches[:, start:end], stretches[:, start + 1 : end + 1]
