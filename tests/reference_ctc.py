"""CTC search in plain Python, labelling by labelling: the truth of the compiled decoders.

They do the same operations in the same order, on the same `exp`, `log` and `log1p`: equal to the last bit.
"""

from dataclasses import dataclass, replace
from heapq import nlargest
from math import exp, inf, log, log1p
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reference_bias import Bias
from sparrot.engine.hypothesis import Hypothesis, TokenHit
from sparrot.text import BLANK


def log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Natural log-probabilities of `logits` (n, n_tokens), each row by itself.

    log p[k] = x[k] − m − log(Σ_j exp(x[j] − m)),   m = max x, the sum from the first token on
    """
    rows = np.asarray(logits, np.float32).astype(np.float64)
    log_probs = np.empty_like(rows)
    for row, log_prob in zip(rows.tolist(), log_probs, strict=True):
        shifted = [x - max(row) for x in row]
        total = 0.0
        for x in shifted:  # `sum` would compensate its roundings
            total += exp(x)
        log_prob[:] = [x - log(total) for x in shifted]
    return log_probs


def penalised(log_probs: ArrayLike, blank_penalty: float) -> NDArray[np.float64]:
    """A float64 copy of `log_probs` (n, n_tokens), the blank's lowered by `blank_penalty`."""
    rows = np.array(log_probs, np.float64)
    rows[:, BLANK] -= blank_penalty
    return rows


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

    def final_hypotheses(self) -> tuple[Hypothesis, ...]:
        """The same if the segment ends here."""
        return (self.hypothesis(),)

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

    @property
    def tokens(self) -> tuple[int, ...]:
        """Its tokens alone."""
        tokens, prefix = [], self.prefix
        while prefix.parent is not None:
            tokens.append(prefix.token)
            prefix = prefix.parent
        return tuple(reversed(tokens))

    def before(self, number: int) -> Prefix:
        """Its tokens up to the last that lies before frame `number`."""
        prefix, hits = self.prefix, self._best().hits
        while prefix.parent is not None and hits is not None and hits.last.frame >= number:
            prefix, hits = prefix.parent, hits.before
        return prefix

    def hypothesis(self, bias: float) -> Hypothesis:
        """Its tokens, where its most probable alignment has them, and its score."""
        tokens, hits = [], self._best().hits
        while hits is not None:
            tokens.append(hits.last)
            hits = hits.before
        return Hypothesis(tuple(reversed(tokens)), self.total + bias)

    def _best(self) -> Path:
        return self.to_blank if self.to_blank.log_prob >= self.to_token.log_prob else self.to_token

    def _path_with(self, token: int, frame: Frame) -> Path:
        before = self.to_blank if token == self.prefix.token else self._best()
        return before.emit(token, frame)


def add(a: float, b: float) -> float:
    """log(exp a + exp b), also where one of them is -inf."""
    low, high = (a, b) if a < b else (b, a)
    return high if low == -inf else high + log1p(exp(low - high))


class PrefixBeamDecoder:
    """The most probable labellings, each summed over its alignments.

    A labelling l is kept with p_b(l) and p_n(l), the probabilities of its alignments so far that end
    in a blank and in its last token e. A frame with token probabilities y turns them into

        p_b'(l)  = (p_b(l) + p_n(l)) y[blank]
        p_n'(l)  = p_n(l) y[e] + what grows into it
        p_n'(lc) = (p_b(l) + p_n(l)) y[c],   for c = e only p_b(l) y[c]

    beam:          labellings kept after a frame; of equals the unextended before the extended, then
                   the one ranked higher before the frame, then the lowest token.
    bias:          what is added to the scores by which labellings are ranked.
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
        self,
        beam: int = 8,
        bias: Bias | None = None,
        *,
        token_floor: float = -7.0,
        margin: float = 10.0,
        settle_frames: int = 50,
    ) -> None:
        if beam < 1:
            raise ValueError(f"a beam search keeps at least 1 hypothesis; got a beam of {beam}")
        self.beam, self.token_floor = beam, token_floor
        self.bias = bias
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
        return self._kept[0].hypothesis(self._bias(self._kept[0]))

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """All that are kept, the most probable first."""
        return tuple(each.hypothesis(self._bias(each)) for each in self._kept)

    def final_hypotheses(self) -> tuple[Hypothesis, ...]:
        """The same if the segment ends here."""
        if self.bias is None:
            return self.hypotheses()
        finals = [each.hypothesis(self.bias.final(each.tokens)) for each in self._kept]
        return tuple(sorted(finals, key=lambda each: each.log_prob, reverse=True))

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
                    score = labelling.score_with(token, frame) + self._bias(labelling, token)
                    candidates.append(_Candidate(score, labelling, token))
        unextended = [_Candidate(stay.total + self._bias(stay), stay, None) for stay in stays.values()]
        best = nlargest(self.beam, unextended + candidates, key=_score)  # of equals the first
        limit = best[0].score - self.margin
        likely = [candidate.labelling_at(frame) for candidate in best if limit <= candidate.score > -inf]
        self._keep(likely)

    def _bias(self, labelling: Labelling, *more: int) -> float:
        return 0.0 if self.bias is None else self.bias.score((*labelling.tokens, *more))

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
