"""From an encoder's output to tokens by a transducer: searches that take a segment in pieces."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparrot import _core
from sparrot._core import TransducerModel
from sparrot.engine.search import Search


class ModelLevel(NamedTuple):
    """A level by its name, and by its number in the model."""

    name: str
    number: int


class TransducerDecoder(Search):
    """A compiled search for the tokens of a transducer."""

    def __init__(self, search: _core.TransducerDecoder) -> None:
        super().__init__(search)
        self._search = search

    def accept(self, frames: ArrayLike, level: ModelLevel, blank_penalty: float = 0.0) -> None:
        """Goes on by encoder frames (n, width) computed at `level`.

        blank_penalty: subtracted from the log-probability of the blank.
        Raises ValueError if the model has no such level, if frames have another width, or if what the joint
        network makes of one is not finite; those before it are decoded.
        """
        self._search.accept(*self._piece(frames, level), blank_penalty)

    def _piece(self, frames: ArrayLike, level: ModelLevel) -> tuple[NDArray[np.float32], int]:
        rows = np.ascontiguousarray(frames, np.float32)
        if rows.ndim != 2:
            raise ValueError(f"a transducer takes encoder frames (n_frames, width); got shape {rows.shape}")
        self._levels.setdefault(level.number, level.name)
        return rows, level.number


class TransducerGreedyDecoder(TransducerDecoder):
    """The best token of every frame, of equals the lowest; what has been said stays said, so all is stable.

    max_symbols: tokens that a frame may emit. After a token that is not the last of them the next is looked
                 for at the same frame, until it is the blank.
    bias:        of hotwords: a token that goes on in one is preferred by what it adds to the score. None
                 loses by what it takes back, since there is no other hypothesis to turn to.

    1 is what icefall and sherpa-onnx take, and CTC has no other: it costs nothing where tokens are rarer than
    frames. A model whose frames are longer than its shortest tokens needs more (NeMo takes 10).
    Raises ValueError if `max_symbols` is under 1.
    """

    def __init__(self, model: TransducerModel, max_symbols: int = 1, bias: _core.Bias | None = None) -> None:
        super().__init__(_core.transducer_greedy_decoder(model, max_symbols, bias))


class TransducerBeamDecoder(TransducerDecoder):
    """The most probable token sequences, with at most one token a frame.

    The modified beam search of k2 and icefall; blank is token 0. With y(l, t) the token probabilities after
    the sequence l at frame t,

        p'(l)  = p(l) y(l, t)[blank] + what grows into it
        p'(lc) = p(l) y(l, t)[c]

    Departs from icefall in two points: hypotheses with equal tokens are merged before the best are chosen, so
    that a full beam of different ones is left, and scores are not divided by lengths.

    model:         predictor and joint network.
    beam:          hypotheses kept after a frame; 1 is greedy search. Of equals the unextended before the
                   extended, then the one ranked higher before the frame, then the lowest token.
    bias:          what is added to their scores, a function of their tokens.
    margin:        hypotheses this far (log) below the best are given up.
    settle_frames: so are those that part from the best more than this many frames back.

    A token's frame is where the most probable alignment has it. A hypothesis keeps its predictor state over a
    switch of level. Raises ValueError if an option is out of its range.
    """

    def __init__(
        self,
        model: TransducerModel,
        beam: int = 8,
        bias: _core.Bias | None = None,
        *,
        margin: float = 10.0,
        settle_frames: int = 50,
    ) -> None:
        super().__init__(_core.transducer_beam_decoder(model, beam, margin, settle_frames, bias))


class Piece(NamedTuple):
    """What one of several searches is to accept."""

    decoder: TransducerDecoder
    frames: ArrayLike
    level: ModelLevel
    blank_penalty: float = 0.0


def accept_all(pieces: Sequence[Piece]) -> list[str | None]:
    """Lets each decoder accept its piece, all of them frame by frame, so that weights are read once for all.

    They are of one model. Each decodes as it does alone, but for the rounding of products.

    Returns: for each piece why it could not be decoded, or None; the others are.
    Raises ValueError, before anything is decoded, if decoders do not share their model or one is named twice.
    """
    return _core.accept_together(
        [(p.decoder._search, *p.decoder._piece(p.frames, p.level), p.blank_penalty) for p in pieces]
    )
