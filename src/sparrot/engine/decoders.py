"""From log-probabilities to tokens: CTC decoders that take a segment in pieces.

Blank is token 0. Both decoders treat one output frame after the other, so a segment decodes alike
however it is cut.
"""

from dataclasses import replace
from typing import TypeAlias

from numpy.typing import ArrayLike

from sparrot.engine.hypothesis import Hypothesis, TokenHit
from sparrot.engine.log_probs import log_softmax, penalised
from sparrot.engine.prefix_beam import PrefixBeamDecoder
from sparrot.text import BLANK

__all__ = ["BLANK", "Decoder", "GreedyDecoder", "Hypothesis", "PrefixBeamDecoder", "TokenHit", "log_softmax"]


class GreedyDecoder:
    """The best token of every frame; repeats and blanks collapse (Graves et al. 2006, sec. 3.2).

    A token's frame is the first of its run. All tokens are stable: what has been said stays said.
    Ties go to the lowest token.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Starts a new segment at output frame 0."""
        self._hits: list[TokenHit] = []
        self._log_prob = 0.0
        self._last = BLANK
        self.n_frames = 0
        self.trailing_blanks = 0  # frames at the end whose best token is the blank

    def accept(self, log_probs: ArrayLike, level: str, blank_penalty: float = 0.0) -> None:
        """Goes on by frames (n, n_tokens) computed at `level`; see `PrefixBeamDecoder.accept`."""
        rows = penalised(log_probs, blank_penalty)
        for row, token in zip(rows, rows.argmax(axis=1).tolist(), strict=True):
            self._go_on(token, float(row[token]), level)

    @property
    def n_stable(self) -> int:
        """Tokens that later frames cannot change: all."""
        return len(self._hits)

    def hypothesis(self) -> Hypothesis:
        """The tokens so far; the score is that of the best alignment."""
        return Hypothesis(tuple(self._hits), self._log_prob)

    def _go_on(self, token: int, log_prob: float, level: str) -> None:
        if token == BLANK:
            self.trailing_blanks += 1
        else:
            self.trailing_blanks = 0
            if token != self._last:
                self._hits.append(TokenHit(token, self.n_frames, log_prob, level))
            elif log_prob > self._hits[-1].log_prob:
                self._hits[-1] = replace(self._hits[-1], log_prob=log_prob)
        self._last = token
        self._log_prob += log_prob
        self.n_frames += 1


Decoder: TypeAlias = GreedyDecoder | PrefixBeamDecoder
