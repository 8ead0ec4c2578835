"""Recurrent language models of words, run by the engine."""

import math
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparrot import _core
from sparrot.engine.language import SearchModel
from sparrot.engine.network import NetworkStream, advance
from sparrot.engine.prepared import PreparedLevel, PreparedModel
from sparrot.model_file import Level, ModelFile
from sparrot.sentences import END
from sparrot.text import WordTokens

_NO_INDEX = -1  # of a word that the network has none for


class WordModel(SearchModel):
    """A recurrent language model in a model file, at any of its levels.

        model = WordModel.load("words.sparrot", level="small")
        model.log_probs(["in", "the", "beginning"])
        recognizer.transcribe("talk.wav", options=DecodingOptions(decoder="beam", lm=model))

    In a search, a word that it has no token for has that of `<unk>`, or ln p = −20 and a fresh start after it
    if it has none.
    """

    def __init__(self, model: ModelFile, level: Level | None = None) -> None:
        tokens = model.description.tokens
        if not isinstance(tokens, WordTokens) or END not in tokens.symbols:
            raise ValueError(
                f"{model.path} is no language model of words: its tokens are {tokens.kind}; `sparrot lm "
                "train` makes one"
            )
        self.tokens = tokens
        self._prepared = PreparedModel(model, "copy")
        name = next(iter(self._prepared.levels)) if level is None else self._prepared.name(level)
        self._level: PreparedLevel = self._prepared[name]
        super().__init__(_compiled(tokens, self._level), model.path.name)

    @classmethod
    def load(cls, path: Path | str, level: Level | None = None) -> "WordModel":
        """The model of a file; `level` is a name, or a number from 0 to 1; None is the densest.

        Raises: OSError or ValueError if the file cannot be read, or holds no such model or level.
        """
        return cls(ModelFile.open(path), level)

    def at(self, level: Level) -> "WordModel":
        """The same model at another level; they share what has been read."""
        other = copy(self)
        other._level = self._prepared[self._prepared.name(level)]
        other.compiled = _compiled(self.tokens, other._level)
        return other

    @property
    def level(self) -> str:
        """The level that is run."""
        return self._level.described.name

    def log_probs(self, sentence: Sequence[str]) -> list[float]:
        """Natural logarithms: of p of each word of a sentence after those before it, and of its end.

        Raises: ValueError for a word without a token, if none stands for it.
        """
        ids = self.tokens.encode(" ".join([END, *sentence, END]))
        return [float(found) for found in self.log_probs_of(np.array(ids))]

    def log_probs_of(self, ids: NDArray[np.int64], chunk: int = 64) -> NDArray[np.float64]:
        """Of every token but the first, ln p(token | tokens before it), the state carried from first to last.

        ids:     int64 (n,). chunk: tokens that the engine is given at a time.
        Returns: float64 (n − 1,).
        """
        stream = NetworkStream(self._level.network, chunk)
        found = [np.zeros(0)]
        for start in range(0, len(ids) - 1, chunk):
            following = ids[start + 1 : start + 1 + chunk]
            given = ids[start : start + len(following)]
            stream.push(given[:, None].astype(np.float32))
            if len(given) < chunk:
                stream.finish()
            (logits,) = advance([stream], [self._level.stop])
            found.append(_log_softmax(logits)[np.arange(len(following)), following])
        return np.concatenate(found)

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> float:
        """The exponential of the mean of −ln p of all words and ends, sentences following one another."""
        ids = [token for words in sentences for token in self.tokens.encode(" ".join([*words, END]))]
        found = self.log_probs_of(np.array([self.tokens.encode(END)[0], *ids]))
        return math.exp(-found.mean())


def _compiled(tokens: WordTokens, level: PreparedLevel) -> _core.LanguageModel:
    """The level as searches take it; the words that begin, end or replace are called as in ARPA files."""
    end = tokens.encode(END)[0]
    indices = {b"<s>": end, b"</s>": end}
    indices[b"<unk>"] = _NO_INDEX if tokens.unknown is None else tokens.symbols.index(tokens.unknown) + 1
    for index, symbol in enumerate(tokens.symbols, 1):
        if symbol not in (END, tokens.unknown):
            indices.setdefault(symbol.encode(), index)
    return _core.network_word_model(list(indices), list(indices.values()), level.network.core, level.stop)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return normalised
