"""What the compiled searches have in common, whatever they accept."""

from sparrot._core import CtcDecoder, TransducerDecoder
from sparrot.engine.hypothesis import Hypothesis, TokenHit

_Hits = list[tuple[int, int, float, int]]


class Search:
    """The hypotheses of a compiled search, to which levels are numbers."""

    def __init__(self, search: CtcDecoder | TransducerDecoder) -> None:
        self._found = search
        self._levels: dict[int, str] = {}  # by number, those that have been used

    def reset(self) -> None:
        """Starts a new segment at output frame 0."""
        self._found.reset()

    @property
    def n_frames(self) -> int:
        """Output frames of the segment so far."""
        return self._found.n_frames

    @property
    def trailing_blanks(self) -> int:
        """Frames at the end whose best token is the blank."""
        return self._found.trailing_blanks

    @property
    def n_tokens(self) -> int:
        """Tokens of the most probable hypothesis."""
        return self._found.n_tokens

    @property
    def n_stable(self) -> int:
        """Tokens shared by all live hypotheses; later frames cannot change them, so it never falls."""
        return self._found.n_stable

    def hypothesis(self) -> Hypothesis:
        """The most probable hypothesis so far."""
        return self._shown(*self._found.best())

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """All that are kept, the most probable first."""
        return tuple(self._shown(*found) for found in self._found.hypotheses())

    def final_hypotheses(self) -> tuple[Hypothesis, ...]:
        """The same if the segment ends here, which counts for hotwords and language models."""
        return tuple(self._shown(*found) for found in self._found.finals())

    def _shown(self, hits: _Hits, log_prob: float) -> Hypothesis:
        levels = self._levels
        tokens = tuple(TokenHit(id_, frame, p, levels[number]) for id_, frame, p, number in hits)
        return Hypothesis(tokens, log_prob)
