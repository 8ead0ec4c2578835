"""Language models that searches take into account."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sparrot import _core
from sparrot.text import SPACE, Tokens

WORD_START: Final = "\u2581"  # a space, in the words of a model of tokens
LEAST_SHARE: Final = 0.1  # of a language model's words that a recogniser must be able to write
_GZIP: Final = b"\x1f\x8b"
_SPECIAL: Final = {"<s>", "</s>", "<unk>", "<UNK>"}


class SearchModel:
    """What a search can take a language model for: it scores words, or the tokens of a recogniser."""

    def __init__(self, compiled: _core.LanguageModel, name: str) -> None:
        self.name = name
        self.compiled = compiled
        self._tokens: dict[Tokens, list[bytes]] = {}  # of the recognisers that have been checked

    def token_names(self, tokens: Tokens) -> list[bytes]:
        """What the model calls each token, the blank first; empty if its words are made of tokens.

        Raises ValueError if a recogniser of these tokens can write next to none of the model's words.
        """
        if tokens not in self._tokens:
            self._tokens[tokens] = self._checked_names(tokens)
        return self._tokens[tokens]

    def _checked_names(self, tokens: Tokens) -> list[bytes]:
        words = {word.decode(errors="replace") for word in self.compiled.words()} - _SPECIAL
        ids = range(1, tokens.n_tokens)
        names = [piece.replace(SPACE, WORD_START) for piece in tokens.pieces(ids)]
        of_tokens = any(WORD_START in word for word in words) or not any(map(tokens.is_word_start, ids))
        writable = len(words & set(names)) if of_tokens else _n_writable(words, tokens)
        if writable < LEAST_SHARE * len(words) or not words:
            raise ValueError(
                f"the language model {self.name} does not suit this recogniser, which can write {writable} "
                f"of its {len(words)} {'tokens' if of_tokens else 'words'}, and a tenth is needed; "
                f"{_remedy(words, tokens)}"
            )
        return [b"", *(name.encode() for name in names)] if of_tokens else []


class LanguageModel(SearchModel):
    """An n-gram model with back-off; immutable, so recognisers, streams and threads may share it.

        lm = LanguageModel.load("3gram.arpa")
        recognizer.transcribe("talk.wav", options=DecodingOptions(decoder="beam", lm=lm))

    Its words are those of texts; or they are the tokens of a recogniser, if one of them has a ▁ for a space,
    or if the recogniser writes no spaces.
    """

    compiled: _core.Ngram

    @classmethod
    def load(cls, path: Path | str) -> "LanguageModel":
        """The model of an ARPA file, which may be compressed with gzip.

        Raises: OSError if the file cannot be read; ValueError, which names the line, if it is none or
        damaged.
        """
        raw = Path(path).read_bytes()
        try:
            text = gzip.decompress(raw) if raw.startswith(_GZIP) else raw
            return cls(_core.read_arpa(np.frombuffer(text, np.uint8)), Path(path).name)
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"cannot read {path} as a language model: {error}") from error

    @property
    def order(self) -> int:
        """Words of its longest n-grams."""
        return self.compiled.order

    @property
    def n_ngrams(self) -> int:
        """N-grams of any length that it lists."""
        return self.compiled.n_ngrams

    def log_probs(self, sentence: Sequence[str]) -> list[float]:
        """Natural logarithms: of p of each word of a sentence after those before it, and of its end."""
        return self.compiled.log_probs([word.encode() for word in sentence])


def _n_writable(words: set[str], tokens: Tokens) -> int:
    """How many of the words have only characters that come out of the tokens as they went in."""
    characters = {character for character in set("".join(words)) if _is_written(character, tokens)}
    return sum(map(characters.issuperset, words))


def _is_written(character: str, tokens: Tokens) -> bool:
    try:
        return tokens.decode(tokens.encode(character)) == character
    except ValueError:
        return False


def _remedy(words: set[str], tokens: Tokens) -> str:
    for change, case in ((str.lower, "lower"), (str.upper, "upper")):
        if _n_writable({change(word) for word in words}, tokens) > len(words) / 2:
            return f"put its words in {case} case"
    return "take one that was made of texts as this recogniser writes them"
