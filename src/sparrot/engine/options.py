"""How a stream decodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Final, Literal

from sparrot.audio import Seconds
from sparrot.engine.endpoint import EndpointRules
from sparrot.engine.hotwords import LARGEST, checked_boosts
from sparrot.engine.language import LanguageModel
from sparrot.engine.word_model import WordModel

LM_SCALE: Final = 0.4
WORD_BONUS: Final = 1.5


@dataclass(frozen=True)
class DecodingOptions:
    """The choices that do not change the network.

    decoder:       `greedy` takes the best token of every frame, `beam` searches over prefixes.
    beam:          hypotheses that the beam search keeps; 4 are usual for a transducer.
    max_symbols:   tokens that a frame may emit in the greedy search of a transducer. CTC and the beam search
                   have at most one, and refuse more.
    blank_penalty: subtracted from the blank's log-probability, beside the level's own: more of it finds
                   tokens that are left out, and some that are not there.
    hotwords:      phrases that are expected, each with its boost: what every time that it stands in a
                   text adds to the text's score, in natural logarithms. Without boosts each has
                   5. Greedy search of a CTC model takes none.
    lm:            a language model, n-gram or recurrent, for beam search.
    lm_pass:       `first` lets it guide the search (shallow fusion); `second` lets the search end and then
                   chooses among the hypotheses that are left (rescoring), which asks the model less often.
    lm_scale:      factor of its log-probabilities.
    word_bonus:    added to a text's score for each of its words, where there is a language model.
    endpoints:     when a segment ends; None makes the whole stream one segment, whose hypothesis
                   then grows with the stream.
    max_pending_s: audio that may wait for `poll`.
    """

    decoder: Literal["greedy", "beam"] = "greedy"
    beam: int = 8
    max_symbols: int = 1
    blank_penalty: float = 0.0
    hotwords: Mapping[str, float] | Sequence[str] = ()
    lm: LanguageModel | WordModel | None = None
    lm_pass: Literal["first", "second"] = "first"
    lm_scale: float = LM_SCALE
    word_bonus: float = WORD_BONUS
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
        self._check_lm()
        _ = self.boosts

    @cached_property
    def boosts(self) -> dict[str, float]:
        """The boost of each hotword. Raises ValueError as `checked_boosts` says."""
        return checked_boosts(self.hotwords)

    def _check_lm(self) -> None:
        if self.lm_pass not in ("first", "second"):
            raise ValueError(f"no pass `{self.lm_pass}` of a language model: choose `first` or `second`")
        of_lm = (self.lm_scale, self.word_bonus, self.lm_pass)
        if self.lm is None and of_lm != (LM_SCALE, WORD_BONUS, "first"):
            raise ValueError(
                "`lm_scale`, `word_bonus` and `lm_pass` are those of a language model: give one as `lm`"
            )
        if self.lm is not None and self.decoder == "greedy":
            raise ValueError(
                "a language model chooses between hypotheses, and greedy search has one: choose the decoder "
                "`beam`"
            )
        if not (0 <= self.lm_scale <= LARGEST and abs(self.word_bonus) <= LARGEST):
            raise ValueError(
                f"`lm_scale` is a number from 0 to {LARGEST:g}, and `word_bonus` one from {-LARGEST:g} to "
                f"{LARGEST:g}; got {self.lm_scale!r} and {self.word_bonus!r}"
            )
