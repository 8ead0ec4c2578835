"""What a level decodes with beside its weights, found on a set of utterances.

A recogniser that is not sure says blank, and the sparser a level is, the less sure it is: words are left out.
A blank penalty gives some of them back. Confidences are off by level too: a temperature scales their log-odds
until words are as often right as their confidences say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import log, nan
from typing import Final

import numpy as np
import numpy.typing as npt

from sparrot.corpora.manifest import Utterance
from sparrot.engine.evaluation import hear
from sparrot.engine.options import DecodingOptions
from sparrot.engine.recognizer import Recognizer
from sparrot.engine.recordings import Recording
from sparrot.metrics import ErrorCounts, correct_words
from sparrot.model_file import Calibration, ModelFile

PENALTIES: Final = tuple(step / 2 for step in range(-2, 7))  # −1 … 3, in natural logarithms
REFINEMENT: Final = 0.25
N_HEARD: Final = len(PENALTIES) + 3
TEMPERATURES: Final = (0.1, 10.0)

_LEAST = 1e-12  # distance of a confidence from 0 and from 1, whose log-odds are infinite

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Fit:
    """What a level decodes with, and how well that does.

    nce: normalised cross entropy of the words' confidences, see `normalised_cross_entropy`.
    """

    blank_penalty: float
    confidence_temperature: float
    counts: ErrorCounts
    nce: float


@dataclass(frozen=True)
class LevelCalibration:
    """A level as its file has it, and as it fits the utterances best."""

    level: str
    before: Fit
    after: Fit

    def written(self, on: str) -> Calibration:
        """What the model file keeps of it; on: the name of the set."""
        counts = self.after.counts
        measured = {on: {"wer": counts.wer, "cer": counts.cer, "words": counts.words}}
        return Calibration(self.after.blank_penalty, self.after.confidence_temperature, measured)


@dataclass(frozen=True, eq=False)
class _Heard:
    """Errors with one blank penalty; of each word heard, its confidence and whether it is right."""

    counts: ErrorCounts
    confidences: Float64
    right: Bool

    def fit(self, blank_penalty: float, temperature: float, before: float) -> Fit:
        """The fit with a temperature in the place of the one that the confidences were made with."""
        nce = normalised_cross_entropy(scaled(self.confidences, before / temperature), self.right)
        return Fit(blank_penalty, temperature, self.counts, nce)


def calibrate_level(
    model: ModelFile,
    level: str,
    utterances: Sequence[Utterance],
    options: DecodingOptions,
    after_each: Callable[[], None] = lambda: None,
) -> LevelCalibration:
    """The blank penalty and the confidence temperature that fit a named level best.

    The penalty has the least WER of those from −1 to 3 in steps of 0.5, then of the two 0.25 beside the best;
    of equals, the least CER, then the one nearest to 0. The temperature makes what was right and wrong with
    that penalty most likely; it stays where all words are right, or all wrong. All this is our choice.

    options:    with the level's penalty alone, and none of the stream's.
    after_each: called at most N_HEARD times for every utterance, to show progress.
    Raises:     ValueError as `evaluate_level` does.
    """
    found = model.named_level(level)
    own, temperature = found.blank_penalty, found.confidence_temperature
    recognizer = Recognizer(model, found.name)
    recognizer.check(options)
    recognizer.prepare(found.name)

    @cache
    def heard(penalty: float) -> _Heard:
        decoding = replace(options, blank_penalty=penalty - own)
        return _hear(recognizer, utterances, decoding, after_each)

    best = least(lambda penalty: (heard(penalty).counts.wer, heard(penalty).counts.cer))
    fitted = fitted_temperature(scaled(heard(best).confidences, temperature), heard(best).right)
    return LevelCalibration(
        found.name,
        heard(own).fit(own, temperature, temperature),
        heard(best).fit(best, fitted or temperature, temperature),
    )


def least(cost: Callable[[float], tuple[float, float]]) -> float:
    """The penalty of least cost among PENALTIES and those beside the best; of equals, the nearest to 0."""

    def order(penalty: float) -> tuple[float, float, float]:
        return *cost(penalty), abs(penalty)

    best = min(PENALTIES, key=order)
    return min(best, best - REFINEMENT, best + REFINEMENT, key=order)


def scaled(confidences: Float64, factor: float) -> Float64:
    """σ(factor · logit c) of confidences c in [0, 1]: float64 (n,), as shaped."""
    inside = np.clip(confidences, _LEAST, 1 - _LEAST)
    return 1 / (1 + np.exp(-factor * np.log(inside / (1 - inside))))


def fitted_temperature(confidences: Float64, right: Bool) -> float | None:
    """The temperature T that makes what is right and wrong most likely.

        argmin Σ −log σ(±logit(c) / T),   + where a word is right, − where it is wrong

    confidences, right: (n,). The sum is convex in 1 / T: bisection of its slope, between T = 0.1 and 10.
    Returns: to three digits after the point; None where all words are right or all wrong, or there are none.
    """
    if right.all() or not right.any():
        return None
    inside = np.clip(confidences, _LEAST, 1 - _LEAST)
    margins = np.where(right, 1.0, -1.0) * np.log(inside / (1 - inside))

    def slope(inverse: float) -> float:
        return float(-(margins / (1 + np.exp(np.clip(inverse * margins, -700, 700)))).sum())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return round(2 / (low + high), 3)


def normalised_cross_entropy(confidences: Float64, right: Bool) -> float:
    """How much confidences (n,) in [0, 1] tell of what is right (n,), at most 1 (NIST; Siu et al. 1997).

        1 − H / H₀,   H = −Σ log(c if right else 1 − c),   H₀ the same with the share of right words as c

    0 is what one confidence for all words, that share, would have. NaN where all are right, or all wrong.
    """
    share = float(right.mean()) if len(right) else 0.0
    if share in (0.0, 1.0):
        return nan
    inside = np.clip(confidences, _LEAST, 1 - _LEAST)
    entropy = -np.log(np.where(right, inside, 1 - inside)).sum()
    without = -len(right) * (share * log(share) + (1 - share) * log(1 - share))
    return float(1 - entropy / without)


def _hear(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    options: DecodingOptions,
    after_each: Callable[[], None],
) -> _Heard:
    confidences: list[float] = []
    right: list[bool] = []

    def recognise(utterance: Utterance, recording: Recording) -> str:
        transcript = recognizer.transcribe(recording, options=options)
        confidences.extend(word.confidence for word in transcript.words)
        right.extend(correct_words(utterance.text, transcript.text))
        return transcript.text

    counts = hear(recognizer, utterances, recognise, after_each).counts
    return _Heard(counts, np.array(confidences, dtype=np.float64), np.array(right, dtype=np.bool_))
