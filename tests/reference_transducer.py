"""Transducer search and transducers in plain Python: the truth of the compiled ones.

Blank is token 0, and a frame emits at most one token.
"""

from dataclasses import dataclass
from itertools import product
from math import exp, log
from typing import Any, NamedTuple, Protocol

import numpy as np

import rounding
from reference_bias import Bias
from reference_ctc import add, log_softmax
from rounding import Rounded
from sparrot.architecture import Layer, Recurrent, Shape, Transducer, Window
from sparrot.engine.hypothesis import Hypothesis, TokenHit
from sparrot.engine.transducer import ModelLevel

Weights = dict[str, np.ndarray]


class Model(Protocol):
    """Predictor and joint network; what the predictor knows after a hypothesis is its own affair."""

    def start(self, level: int) -> Any: ...
    def predict(self, level: int, token: int, known: Any) -> Any: ...
    def log_probs(self, level: int, frame: np.ndarray, known: Any) -> list[float]: ...


class Compiled:
    """One of the compiled models, asked for one hypothesis at a time."""

    def __init__(self, model) -> None:
        self._model = model

    def start(self, level):
        return self._model.start(level)

    def predict(self, level, token, known):
        return self._model.predict([level], [token], known[0])

    def log_probs(self, level, frame, known):
        return log_softmax(self._model.join([level], frame[None], known[1]))[0].tolist()


class Path(NamedTuple):
    """The most probable alignment of a sequence."""

    log_prob: float
    hits: tuple[TokenHit, ...]


@dataclass
class Sequence:
    """A token sequence that the search keeps: all its alignments, the best, and what the predictor knows."""

    total: float
    best: Path
    known: Any


class BeamSearch:
    """See `sparrot.engine.transducer.TransducerBeamDecoder`."""

    def __init__(
        self, model: Model, beam=4, bias: Bias | None = None, *, margin=10.0, settle_frames=50
    ) -> None:
        self.model, self.beam = model, beam
        self.bias = bias
        self.margin, self.settle_frames = margin, settle_frames
        self.kept: dict[tuple[int, ...], Sequence] = {}  # the best first
        self.n_frames = 0

    def accept(self, frames, level: ModelLevel, blank_penalty: float = 0.0) -> None:
        for frame in np.asarray(frames, np.float32):
            if self.n_frames == 0:
                self.kept = {(): Sequence(0.0, Path(0.0, ()), self.model.start(level.number))}
            self.step(frame, level, blank_penalty)
            self.n_frames += 1

    def step(self, frame: np.ndarray, level: ModelLevel, blank_penalty: float) -> None:
        number = level.number
        stayed: dict[tuple[int, ...], Sequence] = {}
        grown: list[tuple[tuple[int, ...], Sequence]] = []
        rows = {tokens: self.model.log_probs(number, frame, s.known) for tokens, s in self.kept.items()}
        for tokens, sequence in self.kept.items():
            blank = rows[tokens][0] - blank_penalty
            path = Path(sequence.best.log_prob + blank, sequence.best.hits)
            stayed[tokens] = Sequence(sequence.total + blank, path, sequence.known)
        for tokens, sequence in self.kept.items():
            for token, log_prob in enumerate(rows[tokens][1:], start=1):
                hit = TokenHit(token, self.n_frames, log_prob, level.name)
                path = Path(sequence.best.log_prob + log_prob, (*sequence.best.hits, hit))
                total, longer = sequence.total + log_prob, (*tokens, token)
                if longer in stayed:
                    met = stayed[longer]
                    met.total = add(met.total, total)
                    met.best = max(met.best, path, key=lambda each: each.log_prob)
                else:
                    grown.append((longer, Sequence(total, path, sequence.known)))
        ranked = sorted([*stayed.items(), *grown], key=self.score, reverse=True)[: self.beam]
        limit = self.score(ranked[0]) - self.margin
        first = ranked[0][1].best.hits
        settled = tuple(hit.id for hit in first if hit.frame < self.n_frames - self.settle_frames)
        before, self.kept = self.kept, {}
        for tokens, sequence in ranked:
            if self.score((tokens, sequence)) >= limit and tokens[: len(settled)] == settled:
                self.kept[tokens] = sequence
                if tokens not in before:
                    sequence.known = self.model.predict(number, tokens[-1], sequence.known)

    def score(self, kept: tuple[tuple[int, ...], Sequence]) -> float:
        tokens, sequence = kept
        return sequence.total if self.bias is None else sequence.total + self.bias.score(tokens)

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        found = [Hypothesis(kept[1].best.hits, self.score(kept)) for kept in self.kept.items()]
        return tuple(found) or (Hypothesis((), 0.0),)

    def final_hypotheses(self) -> tuple[Hypothesis, ...]:
        if self.bias is None or not self.kept:
            return self.hypotheses()
        found = [
            Hypothesis(s.best.hits, s.total + self.bias.final(tokens)) for tokens, s in self.kept.items()
        ]
        return tuple(sorted(found, key=lambda each: each.log_prob, reverse=True))

    @property
    def n_stable(self) -> int:
        live = list(self.kept)
        n = min((len(tokens) for tokens in live), default=0)
        while len({tokens[:n] for tokens in live}) > 1:
            n -= 1
        return n

    @property
    def trailing_blanks(self) -> int:
        hits = self.hypotheses()[0].tokens
        return self.n_frames - 1 - hits[-1].frame if hits else self.n_frames


def greedy(
    model: Model,
    frames,
    level: ModelLevel,
    blank_penalty: float = 0.0,
    max_symbols: int = 1,
    bias: Bias | None = None,
) -> Hypothesis:
    """The best tokens of every frame, of equals the lowest; see `TransducerGreedyDecoder`."""
    known, hits, total = model.start(level.number), [], 0.0

    def gain(token: int) -> float:
        """What a token adds to the bias, if it does."""
        if bias is None or token == 0:
            return 0.0
        said = tuple(hit.id for hit in hits)
        return max(bias.score((*said, token)) - bias.score(said), 0.0)

    for number, frame in enumerate(np.asarray(frames, np.float32)):
        for _ in range(max_symbols):
            row = model.log_probs(level.number, frame, known)
            row[0] -= blank_penalty
            token = max(range(len(row)), key=lambda k: row[k] + gain(k))
            total += row[token]
            if token == 0:
                break
            hits.append(TokenHit(token, number, row[token], level.name))
            known = model.predict(level.number, token, known)
    score = 0.0 if bias is None else bias.score(tuple(hit.id for hit in hits))
    return Hypothesis(tuple(hits), total + score)


def sequences(model: Model, frames, n_tokens: int) -> dict[tuple[int, ...], float]:
    """Log-probability of every token sequence, summed over every alignment, one by one."""
    probabilities: dict[tuple[int, ...], float] = {}
    for path in product(range(n_tokens), repeat=len(frames)):
        known, log_prob = model.start(0), 0.0
        for frame, token in zip(frames, path, strict=True):
            log_prob += model.log_probs(0, frame, known)[token]
            known = known if token == 0 else model.predict(0, token, known)
        tokens = tuple(token for token in path if token != 0)
        probabilities[tokens] = probabilities.get(tokens, 0.0) + exp(log_prob)
    return {tokens: log(p) for tokens, p in probabilities.items()}


class Exact:
    """A transducer in float64, which carries along how far float32 may be from it (`rounding`).

    error: the largest bound of a log-probability that was asked for: twice that of the logits of its row.
    """

    def __init__(self, levels: list[Weights]) -> None:
        self.levels = levels
        self.error = 0.0

    def joined(self, level: int, frame: np.ndarray, known) -> Rounded:
        """Logits: O tanh(E e + P p + b) + o."""
        own = self.levels[level]
        hidden = Rounded.exact(frame).matvec(own["joint.encoder"]) + known[1].matvec(own["joint.predictor"])
        hidden = (hidden + Rounded.exact(own["joint.bias"])).tanh()
        return hidden.matvec(own["joint.output"]) + Rounded.exact(own["joint.output_bias"])

    def log_probs(self, level, frame, known):
        logits = self.joined(level, frame, known)
        self.error = max(self.error, 2 * logits.error.max())
        shifted = logits.value - logits.value.max()
        return (shifted - np.log(np.exp(shifted).sum())).tolist()


class ExactLstm(Exact):
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c')."""

    def start(self, level):
        cells = self.levels[level]["recurrent"].shape[1]
        zeros = Rounded.exact(np.zeros(cells))
        return self.predict(level, 0, ((zeros, zeros), zeros))

    def predict(self, level, token, known):
        own, (h, c) = self.levels[level], known[0]
        x = Rounded.exact(own["embedding"][token])
        sums = x.matvec(own["input"]) + h.matvec(own["recurrent"]) + Rounded.exact(own["bias"])
        cells = len(c.value)
        i, f, g, o = (sums[begin : begin + cells] for begin in range(0, 4 * cells, cells))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h


class ExactStateless(Exact):
    """p = max(0, u · V[token before] + v · V[last token])."""

    def start(self, level):
        return self.predict(level, 0, (0, None))

    def predict(self, level, token, known):
        own, before = self.levels[level], known[0]
        older, newer = (Rounded.exact(own["embedding"][each]) for each in (before, token))
        u, v = (Rounded.exact(tap) for tap in own["taps"])
        return token, (u * older + v * newer).activated("relu")


class ExactNetwork(Exact):
    """A transducer of any layers; the predictor knows the state of each layer, and its last output.

    levels: the parameters of each, dense.
    """

    def __init__(self, architecture: Transducer, levels: list[Weights]) -> None:
        super().__init__(levels)
        self._architecture = architecture

    def joined(self, level: int, frame: np.ndarray | Rounded, known) -> Rounded:
        own, output = self.levels[level], self._architecture.output.name
        given = frame if isinstance(frame, Rounded) else Rounded.exact(frame)
        hidden = (given + known[1]).tanh()
        return hidden.matvec(own[f"{output}.weight"], Rounded.exact(own[f"{output}.bias"]))

    def start(self, level):
        predictor = self._architecture.predictor
        pairs = zip(predictor.layers, predictor.shapes(), strict=False)
        return self.predict(level, 0, ([_fresh(layer, given) for layer, given in pairs], None))

    def predict(self, level, token, known):
        x, states = Rounded.exact([token]), []
        predictor = self._architecture.predictor
        for layer, given, state in zip(predictor.layers, predictor.shapes(), known[0], strict=False):
            x, after = _stepped(layer, given, self.levels[level], x, state)
            states.append(after)
        return states, x


def _fresh(layer: Layer, given: Shape) -> Any:
    """Nothing but zeros: the inputs that a window looks back to, h and c of a recurrent layer."""
    if isinstance(layer, Window):
        return [Rounded.exact(np.zeros(given.width))] * layer.left
    if isinstance(layer, Recurrent):
        return Rounded.exact(np.zeros(layer.hidden)), Rounded.exact(np.zeros(layer.cells))
    return None


def _stepped(layer: Layer, given: Shape, weights: Weights, x: Rounded, state: Any) -> tuple[Rounded, Any]:
    """A layer's output for one more token, and its state after it."""
    if isinstance(layer, Window):
        around = [*state, x]
        return rounding.concatenated(around), around[1:]
    if isinstance(layer, Recurrent):
        h, c = rounding.step(layer, weights, x, state)
        return h, (h, c)
    return rounding.apply(layer, given, weights, [x])[0], None
