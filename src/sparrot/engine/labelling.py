"""The labellings of a prefix beam search: their scores, their alignments, and the tree they share."""

from dataclasses import dataclass, replace
from math import exp, inf, log1p
from typing import NamedTuple, Optional

from sparrot.engine.hypothesis import Hypothesis, TokenHit
from sparrot.text import BLANK


class Frame(NamedTuple):
    """One output frame: its log-probabilities (n_tokens,), its number in the segment, its level."""

    log_probs: list[float]
    number: int
    level: str


class Prefix:
    """A node of the tree of labellings: a token after another prefix; the root is empty.

    A labelling has one node as long as it or a longer one is kept, so equal labellings meet.
    """

    __slots__ = ("children", "depth", "parent", "token")

    def __init__(self, token: int, parent: Optional["Prefix"]) -> None:
        self.token = token
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.children: dict[int, Prefix] = {}

    def child(self, token: int) -> "Prefix":
        """The prefix one token longer."""
        if token not in self.children:
            self.children[token] = Prefix(token, self)
        return self.children[token]

    def cut(self, depth: int) -> "Prefix":
        """Its first `depth` tokens."""
        prefix = self
        while prefix.depth > depth and prefix.parent is not None:
            prefix = prefix.parent
        return prefix

    def prune(self, kept: set["Prefix"]) -> None:
        """Takes it out of the tree, and what it leaves without use, unless a kept one needs it."""
        prefix = self
        while prefix.parent is not None and prefix not in kept and not prefix.children:
            prefix.parent.children.pop(prefix.token, None)
            prefix = prefix.parent


class Hits(NamedTuple):
    """The tokens of an alignment, the last first; alignments share what came before."""

    last: TokenHit
    before: Optional["Hits"]


class Path(NamedTuple):
    """The most probable alignment of one kind, and its log-probability."""

    log_prob: float
    hits: Hits | None

    def blank(self, log_prob: float) -> "Path":
        """One more blank."""
        return Path(self.log_prob + log_prob, self.hits)

    def repeat(self, frame: Frame) -> "Path":
        """One more frame of the last token, whose hit moves there if it is more probable there."""
        assert self.hits is not None
        last, before = self.hits
        log_prob, hits = frame.log_probs[last.id], self.hits
        if log_prob > last.log_prob:
            hits = Hits(replace(last, frame=frame.number, log_prob=log_prob, level=frame.level), before)
        return Path(self.log_prob + log_prob, hits)

    def emit(self, token: int, frame: Frame) -> "Path":
        """One more token."""
        log_prob = frame.log_probs[token]
        hit = TokenHit(token, frame.number, log_prob, frame.level)
        return Path(self.log_prob + log_prob, Hits(hit, self.hits))


NOWHERE = Path(-inf, None)


@dataclass(eq=False, slots=True)
class Labelling:
    """A labelling that the search keeps.

    p_blank, p_token: log-probability of all its alignments so far that end in a blank, in its last
                      token; `total` is that of both.
    to_blank, to_token: the most probable alignment of each kind.
    """

    prefix: Prefix
    p_blank: float = -inf
    p_token: float = -inf
    to_blank: Path = NOWHERE
    to_token: Path = NOWHERE
    total: float = -inf

    @classmethod
    def empty(cls) -> "Labelling":
        """No token, before the first frame."""
        return cls(Prefix(BLANK, None), p_blank=0.0, to_blank=Path(0.0, None), total=0.0)

    def stay(self, frame: Frame) -> "Labelling":
        """It after a frame that adds no token: a blank or its last token again."""
        blank = frame.log_probs[BLANK]
        stayed = Labelling(self.prefix, p_blank=self.total + blank, to_blank=self._best().blank(blank))
        if self.prefix.parent is not None:
            stayed.p_token = self.p_token + frame.log_probs[self.prefix.token]
            stayed.to_token = self.to_token.repeat(frame)
        stayed.total = add(stayed.p_blank, stayed.p_token)
        return stayed

    def score_with(self, token: int, frame: Frame) -> float:
        """Log-probability of the labelling that one more token at `frame` makes of it."""
        before = self.p_blank if token == self.prefix.token else self.total
        return before + frame.log_probs[token]

    def grow(self, token: int, frame: Frame) -> "Labelling":
        """That labelling."""
        score, path = self.score_with(token, frame), self._path_with(token, frame)
        return Labelling(self.prefix.child(token), p_token=score, to_token=path, total=score)

    def join(self, shorter: "Labelling", frame: Frame) -> None:
        """Adds the alignments by which `shorter`, one token less, grows into it at `frame`."""
        token = self.prefix.token
        self.p_token = add(self.p_token, shorter.score_with(token, frame))
        self.total = add(self.p_blank, self.p_token)
        path = shorter._path_with(token, frame)
        if path.log_prob > self.to_token.log_prob:
            self.to_token = path

    def before(self, number: int) -> Prefix:
        """Its tokens up to the last that lies before frame `number`."""
        prefix, hits = self.prefix, self._best().hits
        while prefix.parent is not None and hits is not None and hits.last.frame >= number:
            prefix, hits = prefix.parent, hits.before
        return prefix

    def hypothesis(self) -> Hypothesis:
        """Its tokens, where its most probable alignment has them, and its score."""
        tokens, hits = [], self._best().hits
        while hits is not None:
            tokens.append(hits.last)
            hits = hits.before
        return Hypothesis(tuple(reversed(tokens)), self.total)

    def _best(self) -> Path:
        return self.to_blank if self.to_blank.log_prob >= self.to_token.log_prob else self.to_token

    def _path_with(self, token: int, frame: Frame) -> Path:
        before = self.to_blank if token == self.prefix.token else self._best()
        return before.emit(token, frame)


def add(a: float, b: float) -> float:
    """log(exp a + exp b), also where one of them is -inf."""
    low, high = (a, b) if a < b else (b, a)
    return high if low == -inf else high + log1p(exp(low - high))
