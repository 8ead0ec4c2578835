"""How a stream decodes."""

from dataclasses import dataclass, field
from typing import Literal

from sparrot.audio import Seconds
from sparrot.engine.endpoint import EndpointRules


@dataclass(frozen=True)
class DecodingOptions:
    """The choices that do not change the network.

    decoder:       `greedy` takes the best token of every frame, `beam` searches over prefixes.
    beam:          hypotheses that the beam search keeps.
    endpoints:     when a segment ends; None makes the whole stream one segment, whose hypothesis
                   then grows with the stream.
    max_pending_s: audio that may wait for `poll`.
    """

    decoder: Literal["greedy", "beam"] = "greedy"
    beam: int = 8
    endpoints: EndpointRules | None = field(default_factory=EndpointRules)
    max_pending_s: Seconds = 30.0

    def __post_init__(self) -> None:
        if self.decoder not in ("greedy", "beam"):
            raise ValueError(f"no decoder `{self.decoder}`: choose `greedy` or `beam`")
        if self.beam < 1:
            raise ValueError(f"a beam search keeps at least 1 hypothesis; got a beam of {self.beam}")
        if not self.max_pending_s > 0:
            raise ValueError(f"`max_pending_s` must be over 0 seconds; got {self.max_pending_s!r}")
