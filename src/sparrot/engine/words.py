"""Words with times and confidences, made of the tokens of a hypothesis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, expm1, log

from sparrot.audio import Seconds
from sparrot.engine.decoders import TokenHit
from sparrot.engine.events import Word
from sparrot.engine.timing import FrameClock
from sparrot.model_file import LevelDescription
from sparrot.text import Tokens


@dataclass(frozen=True)
class WordMaker:
    """Turns the tokens of a segment into its words.

    levels: by name, for their emission delays and confidence temperatures.
    """

    tokens: Tokens
    clock: FrameClock
    levels: Mapping[str, LevelDescription]

    def words(self, hits: Sequence[TokenHit], segment: int) -> tuple[Word, ...]:
        """The words of `hits`, of the segment that starts at feature frame `segment`.

        A word starts at its first token and ends at the next word's start or one output frame after
        its last token, whichever is first. Where a switch of level with another emission delay
        would turn time back, time stands still.
        """
        spans = self.tokens.words([hit.id for hit in hits])
        times = self._times(hits, segment)
        starts = [times[first] for _, first, _ in spans] + [float("inf")]
        return tuple(
            Word(
                text,
                start=times[first],
                end=min(starts[index + 1], times[last] + self.clock.frame),
                confidence=self._confidence(hits[first : last + 1]),
                level=hits[last].level,
            )
            for index, (text, first, last) in enumerate(spans)
        )

    def _times(self, hits: Sequence[TokenHit], segment: int) -> list[Seconds]:
        """When each token was said, never falling."""
        times: list[Seconds] = []
        for hit in hits:
            delay = self.levels[hit.level].emission_delay_s
            time = self.clock.time(segment, hit.frame, delay)
            times.append(max(time, times[-1]) if times else time)
        return times

    def _confidence(self, hits: Sequence[TokenHit]) -> float:
        temperature = self.levels[hits[-1].level].confidence_temperature
        return confidence([hit.log_prob for hit in hits], temperature)


def confidence(log_probs: Sequence[float], temperature: float) -> float:
    """How sure a word is, in [0, 1], from the log-probabilities of its tokens.

        c = σ(logit(p) / T),   p = (Π p_i)^(1/n)

    p_i is the token's probability at the frame that emitted it and T the level's confidence
    temperature: at T = 1 the confidence is the geometric mean of the tokens' probabilities, and
    T ≠ 1 stretches its log-odds until it matches how often the words are right.
    """
    mean = sum(log_probs) / len(log_probs)
    if mean >= 0:
        return 1.0
    log_odds = (mean - log(-expm1(mean))) / temperature
    return 1 / (1 + exp(-log_odds)) if log_odds > -700 else 0.0
