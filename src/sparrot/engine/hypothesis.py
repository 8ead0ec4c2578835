"""What a decoder believes: tokens, where each was emitted and how sure it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenHit:
    """One token of a hypothesis.

    frame:    output frame in the segment at which it is emitted.
    log_prob: its highest log-probability along its run of frames in the best alignment.
    level:    the level that computed that frame.
    """

    id: int
    frame: int
    log_prob: float
    level: str


@dataclass(frozen=True)
class Hypothesis:
    """The tokens of a segment and the natural logarithm of their score."""

    tokens: tuple[TokenHit, ...]
    log_prob: float
