"""CTC prefix beam search (Graves 2012, sec. 7.5.3; Hannun et al. 2014, arXiv 1408.2873, alg. 1)."""

from heapq import nlargest
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparrot.engine.hypothesis import Hypothesis
from sparrot.engine.labelling import Frame, Labelling
from sparrot.engine.log_probs import penalised
from sparrot.text import BLANK


class PrefixBeamDecoder:
    """The most probable labellings, each summed over its alignments.

    A labelling l is kept with p_b(l) and p_n(l), the probabilities of its alignments so far that end
    in a blank and in its last token e. A frame with token probabilities y turns them into

        p_b'(l)  = (p_b(l) + p_n(l)) y[blank]
        p_n'(l)  = p_n(l) y[e] + what grows into it
        p_n'(lc) = (p_b(l) + p_n(l)) y[c],   for c = e only p_b(l) y[c]

    beam:          labellings kept after a frame; of equals the unextended before the extended, then
                   the one ranked higher before the frame, then the lowest token.
    token_floor:   labellings grow by the frame's best token and by those with at least this
                   log-probability (-7 is 0.1 %).
    margin:        labellings this far (log) below the best are given up.
    settle_frames: so are those that part from the best more than this many frames back. Frames are
                   independent given the audio, so what follows hardly changes their order, and
                   without this a doubt at the start keeps its share of the beam to the end.

    A token's frame is that of its highest probability along its run, the first of equals, in the
    labelling's most probable alignment. Memory grows by one entry a token: the labellings share
    theirs but for the last `settle_frames`.
    Raises ValueError if `beam` is under 1.
    """

    def __init__(
        self, beam: int = 8, *, token_floor: float = -7.0, margin: float = 10.0, settle_frames: int = 50
    ) -> None:
        if beam < 1:
            raise ValueError(f"a beam search keeps at least 1 hypothesis; got a beam of {beam}")
        self.beam, self.token_floor = beam, token_floor
        self.margin, self.settle_frames = margin, settle_frames
        self.reset()

    def reset(self) -> None:
        """Starts a new segment at output frame 0."""
        self._kept = [Labelling.empty()]
        self.n_frames = 0
        self.trailing_blanks = 0  # frames at the end whose best token is the blank

    def accept(self, log_probs: ArrayLike, level: str, blank_penalty: float = 0.0) -> None:
        """Goes on by frames (n, n_tokens) of natural log-probabilities computed at `level`.

        blank_penalty: subtracted from the blank's before anything else.
        Raises ValueError if a frame has no finite best token, or the array not two tokens or more.
        """
        for row in penalised(log_probs, blank_penalty):
            self._step(Frame(row.tolist(), self.n_frames, level), self._worthwhile(row))
            self.trailing_blanks = self.trailing_blanks + 1 if row.argmax() == BLANK else 0
            self.n_frames += 1

    @property
    def n_stable(self) -> int:
        """Tokens shared by all live hypotheses; later frames cannot change them, so it never falls."""
        depth = min(labelling.prefix.depth for labelling in self._kept)
        ends = {labelling.prefix.cut(depth) for labelling in self._kept}
        while len(ends) > 1:
            depth -= 1
            ends = {end.cut(depth) for end in ends}
        return depth

    def hypothesis(self) -> Hypothesis:
        """The most probable labelling so far."""
        return self._kept[0].hypothesis()

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """All that are kept, the most probable first."""
        return tuple(labelling.hypothesis() for labelling in self._kept)

    def _worthwhile(self, row: NDArray[np.float64]) -> list[int]:
        """The tokens by which labellings may grow, rising."""
        tokens = row[BLANK + 1 :]
        worthwhile = np.flatnonzero(tokens >= min(self.token_floor, tokens.max()))
        return (worthwhile + BLANK + 1).tolist()

    def _step(self, frame: Frame, tokens: list[int]) -> None:
        stays = {labelling.prefix: labelling.stay(frame) for labelling in self._kept}
        candidates: list[_Candidate] = []
        for labelling in self._kept:
            children = labelling.prefix.children
            for token in tokens:
                longer = stays.get(children[token]) if token in children else None
                if longer is not None:
                    longer.join(labelling, frame)
                else:
                    candidates.append(_Candidate(labelling.score_with(token, frame), labelling, token))
        unextended = [_Candidate(stay.total, stay, None) for stay in stays.values()]
        best = nlargest(self.beam, unextended + candidates, key=_score)  # of equals the first
        limit = best[0].score - self.margin
        likely = [candidate.labelling_at(frame) for candidate in best if limit <= candidate.score > -inf]
        self._keep(likely)

    def _keep(self, likely: list[Labelling]) -> None:
        """Keeps those that agree with the best, the first, in all that lies `settle_frames` back."""
        settled = likely[0].before(self.n_frames - self.settle_frames)
        kept = [labelling for labelling in likely if labelling.prefix.cut(settled.depth) is settled]
        prefixes = {labelling.prefix for labelling in kept}
        for labelling in (*self._kept, *likely):
            labelling.prefix.prune(prefixes)
        self._kept = kept


class _Candidate(NamedTuple):
    """What may be kept after a frame: a labelling, or what `token` makes of one."""

    score: float
    labelling: Labelling
    token: int | None

    def labelling_at(self, frame: Frame) -> Labelling:
        return self.labelling if self.token is None else self.labelling.grow(self.token, frame)


def _score(candidate: _Candidate) -> float:
    return candidate.score
