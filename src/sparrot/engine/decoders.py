"""From the network's output to tokens: CTC decoders that take a segment in pieces.

Blank is token 0. The decoders treat one output frame after the other, so a segment decodes alike however it
is cut. They are compiled (csrc/decoder) and run without Python's lock.
"""

import numpy as np
from numpy.typing import ArrayLike

from sparrot import _core
from sparrot.engine.hypothesis import Hypothesis, TokenHit
from sparrot.engine.search import Search
from sparrot.text import BLANK

__all__ = ["BLANK", "CtcDecoder", "GreedyDecoder", "Hypothesis", "PrefixBeamDecoder", "TokenHit"]


class CtcDecoder(Search):
    """A compiled decoder; levels are numbered in the order of their first use."""

    def __init__(self, search: _core.CtcDecoder) -> None:
        super().__init__(search)
        self._search = search
        self._numbers: dict[str, int] = {}

    def accept(self, log_probs: ArrayLike, level: str, blank_penalty: float = 0.0) -> None:
        """Goes on by frames (n, n_tokens) of natural log-probabilities computed at `level`.

        blank_penalty: subtracted from the blank's before anything else.
        Raises ValueError, before the first frame, if a frame has no finite best token, or the array not two
        tokens or more, the same number in all of a segment.
        """
        rows = np.ascontiguousarray(log_probs, np.float64)
        _check_rows(rows.shape)
        self._search.accept(rows, self._number(level), blank_penalty)

    def accept_logits(self, logits: ArrayLike, level: str, blank_penalty: float = 0.0) -> None:
        """The same of what the network computed, float32 (n, n_tokens), by its log-softmax in float64.

            log p[k] = x[k] − m − log(Σ_j exp(x[j] − m)),   m = max x

        Raises ValueError, before the first frame, if a logit is not finite.
        """
        rows = np.ascontiguousarray(logits, np.float32)
        _check_rows(rows.shape)
        self._search.accept_logits(rows, self._number(level), blank_penalty)

    def _number(self, level: str) -> int:
        number = self._numbers.setdefault(level, len(self._numbers))
        self._levels[number] = level
        return number


class GreedyDecoder(CtcDecoder):
    """The best token of every frame; repeats and blanks collapse (Graves et al. 2006, sec. 3.2).

    A token's frame is the first of its run. All tokens are stable: what has been said stays said. Ties go to
    the lowest token. The score is that of the best alignment.
    """

    def __init__(self) -> None:
        super().__init__(_core.greedy_decoder())


class PrefixBeamDecoder(CtcDecoder):
    """The most probable labellings, each summed over its alignments.

    CTC prefix beam search (Graves 2012, sec. 7.5.3; Hannun et al. 2014, arXiv 1408.2873, alg. 1).
    A labelling l is kept with p_b(l) and p_n(l), the probabilities of its alignments so far that end in a
    blank and in its last token e. A frame with token probabilities y turns them into

        p_b'(l)  = (p_b(l) + p_n(l)) y[blank]
        p_n'(l)  = p_n(l) y[e] + what grows into it
        p_n'(lc) = (p_b(l) + p_n(l)) y[c],   for c = e only p_b(l) y[c]

    beam:          labellings kept after a frame; of equals the unextended before the extended, then
                   the one ranked higher before the frame, then the lowest token.
    bias:          what is added to their scores, a function of their tokens.
    token_floor:   labellings grow by the frame's best token and by those with at least this
                   log-probability (-7 is 0.1 %).
    margin:        labellings this far (log) below the best are given up.
    settle_frames: so are those that part from the best more than this many frames back. Frames are
                   independent given the audio, so what follows hardly changes their order, and
                   without this a doubt at the start keeps its share of the beam to the end.

    A token's frame is that of its highest probability along its run, the first of equals, in the
    labelling's most probable alignment. Memory grows by one entry a token: the labellings share
    theirs but for the last `settle_frames`.
    Raises ValueError if `beam` is under 1, or another option out of its range.
    """

    def __init__(
        self,
        beam: int = 8,
        bias: _core.Bias | None = None,
        *,
        token_floor: float = -7.0,
        margin: float = 10.0,
        settle_frames: int = 50,
    ) -> None:
        super().__init__(_core.prefix_beam_decoder(beam, token_floor, margin, settle_frames, bias))


def _check_rows(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            f"a decoder takes log-probabilities (n_frames, n_tokens) of the blank and at least one more "
            f"token; got an array of shape {shape}"
        )
