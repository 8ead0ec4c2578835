"""When a segment ends."""

from dataclasses import dataclass
from typing import Literal

from sparrot.audio import Seconds


@dataclass(frozen=True)
class EndpointRules:
    """Three rules, looked at after every chunk; the values are those of sherpa-onnx.

    trailing_silence:     a segment ends after this much silence, even if nothing was said;
    silence_after_speech: after this much once something was said;
    length:               and at this length whatever is being said.

    Silence is the time since the last token.
    """

    trailing_silence: Seconds = 2.4
    silence_after_speech: Seconds = 1.2
    length: Seconds = 20.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"the endpoint rule `{name}` must be over 0 seconds; got {value!r}")

    def reason(
        self, *, silence: Seconds, length: Seconds, spoken: bool
    ) -> Literal["endpoint", "limit"] | None:
        """Why a segment of this length, silent for this long, ends here; None if it goes on."""
        if silence >= self.trailing_silence or (spoken and silence >= self.silence_after_speech):
            return "endpoint"
        return "limit" if length >= self.length else None
