"""How a stream decodes."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from sparrot.audio import Seconds
from sparrot.engine.endpoint import EndpointRules


@dataclass(frozen=True)
class DecodingOptions:
    """The choices that do not change the network.

    decoder:       `greedy` takes the best token of every frame, `beam` searches over prefixes.
    beam:          hypotheses that the beam search keeps; 4 are usual for a transducer.
    max_symbols:   tokens that a frame may emit in the greedy search of a transducer. CTC and the beam search
                   have at most one, and refuse more.
    blank_penalty: subtracted from the blank's log-probability, beside the level's own: more of it finds
                   tokens that are left out, and some that are not there.
    endpoints:     when a segment ends; None makes the whole stream one segment, whose hypothesis
                   then grows with the stream.
    max_pending_s: audio that may wait for `poll`.
    """

    decoder: Literal["greedy", "beam"] = "greedy"
    beam: int = 8
    max_symbols: int = 1
    blank_penalty: float = 0.0
    endpoints: EndpointRules | None = field(default_factory=EndpointRules)
    max_pending_s: Seconds = 30.0

    def __post_init__(self) -> None:
        if self.decoder not in ("greedy", "beam"):
            raise ValueError(f"no decoder `{self.decoder}`: choose `greedy` or `beam`")
        if self.beam < 1:
            raise ValueError(f"a beam search keeps at least 1 hypothesis; got a beam of {self.beam}")
        if self.max_symbols < 1:
            raise ValueError(f"a frame may emit at least 1 token; got max_symbols of {self.max_symbols}")
        if self.max_symbols > 1 and self.decoder == "beam":
            raise ValueError(
                f"the beam search emits at most one token a frame, and max_symbols is {self.max_symbols}: "
                "leave it at 1, or choose the decoder `greedy`"
            )
        if not isfinite(self.blank_penalty):
            raise ValueError(f"the blank penalty must be a finite number; got {self.blank_penalty!r}")
        if not self.max_pending_s > 0:
            raise ValueError(f"`max_pending_s` must be over 0 seconds; got {self.max_pending_s!r}")
