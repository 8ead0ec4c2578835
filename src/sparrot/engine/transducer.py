"""From an encoder's output to tokens by a transducer: greedy and beam search, a segment in pieces."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sparrot._core import TransducerModel, transducer_decoder
from sparrot.engine.search import Search


class TransducerDecoder(Search):
    """The most probable token sequences, with at most one token a frame.

    The modified beam search of k2 and icefall; blank is token 0. With y(l, t) the token probabilities after
    the sequence l at frame t,

        p'(l)  = p(l) y(l, t)[blank] + what grows into it
        p'(lc) = p(l) y(l, t)[c]

    Departs from icefall in two points: hypotheses with equal tokens are merged before the best are chosen, so
    that a full beam of different ones is left, and scores are not divided by lengths.

    model:         predictor and joint network.
    levels:        the names of the model's levels, in the order of their numbers.
    beam:          hypotheses kept after a frame; 1 is greedy search. Of equals the unextended before the
                   extended, then the one ranked higher before the frame, then the lowest token.
    margin:        hypotheses this far (log) below the best are given up.
    settle_frames: so are those that part from the best more than this many frames back.

    A token's frame is where the most probable alignment has it. A hypothesis keeps its predictor state over a
    switch of level. Raises ValueError if an option is out of its range.
    """

    def __init__(
        self,
        model: TransducerModel,
        levels: Sequence[str],
        beam: int = 4,
        *,
        margin: float = 10.0,
        settle_frames: int = 50,
    ) -> None:
        self._search = transducer_decoder(model, beam, margin, settle_frames)
        super().__init__(self._search, levels)

    def accept(self, frames: ArrayLike, level: str, blank_penalty: float = 0.0) -> None:
        """Goes on by encoder frames (n, width) computed at `level`.

        blank_penalty: subtracted from the log-probability of the blank.
        Raises ValueError if there is no such level, if frames have another width, or if what the joint
        network makes of one is not finite; those before it are decoded.
        """
        rows = np.ascontiguousarray(frames, np.float32)
        if rows.ndim != 2:
            raise ValueError(f"a transducer takes encoder frames (n_frames, width); got shape {rows.shape}")
        if level not in self._levels:
            raise ValueError(f"the transducer has no level `{level}`: it has {', '.join(self._levels)}")
        self._search.accept(rows, self._levels.index(level), blank_penalty)
