"""Errors of streams whose level changes while they speak."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile

from sparrot.corpora.manifest import Utterance
from sparrot.engine import DecodingOptions
from sparrot.engine.evaluation import evaluate_level
from sparrot.engine.switching import Switching, evaluate_switching
from sparrot.model_file import ModelFile
from tone_model import RATE_HZ, features_of, sound, write_tone_model

LEVELS = ("large", "small")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ModelFile.open(write_tone_model(tmp_path_factory.mktemp("tones") / "tones.sparrot"))


@pytest.fixture
def utterances(tmp_path):
    """Tones, of which the level `small` does not hear c."""
    made = []
    for name, text in [("ab", "abab"), ("c", "c" * 40), ("bc", "bcbc cbcb")]:
        soundfile.write(tmp_path / f"{name}.wav", sound(text), RATE_HZ, "FLOAT")
        duration = len(sound(text)) / RATE_HZ
        made.append(Utterance(id=name, audio_path=tmp_path / f"{name}.wav", duration=duration, text=text))
    return made


def utterance(name: str, duration: float) -> Utterance:
    return Utterance(id=name, audio_path="nowhere.wav", duration=duration, text="a")


# What is drawn


@pytest.mark.parametrize("bounds", [(0.5, 2.0), (0.3, 0.3), (0.001, 0.002)])
def test_levels_change_after_times_between_the_bounds(bounds):
    frame_s, levels = 0.03, ("a", "b", "c")
    trace = Switching(levels, *bounds).draw(utterance("u", 600.0), frame_s)
    starts, drawn = zip(*trace, strict=True)
    assert starts[0] == 0
    assert starts[-1] * frame_s < 600 + frame_s
    dwells = np.diff(starts) * frame_s
    assert dwells.min() >= max(bounds[0] - frame_s, 0.99 * frame_s)
    assert dwells.max() <= max(bounds[1], frame_s) + 1.01 * frame_s
    assert np.mean(dwells) == pytest.approx(max(np.mean(bounds), frame_s), rel=0.1)
    assert all(one != next_one for one, next_one in pairwise(drawn))
    assert {drawn.count(level) * 3 // (len(drawn) - 3) for level in levels} <= {0, 1}


def test_a_drawing_depends_on_the_seed_and_the_utterance_alone():
    def drawn(seed, name):
        return Switching(LEVELS, 0.1, 1.0, seed).draw(utterance(name, 20.0), 0.03)

    assert drawn(1, "u") == drawn(1, "u")
    assert len({drawn(1, "u"), drawn(2, "u"), drawn(1, "v")}) == 3


@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)]
)
def test_times_that_cannot_be_drawn_are_refused(bounds):
    with pytest.raises(ValueError, match="between two positive bounds, the shorter first"):
        Switching(LEVELS, *bounds)


def test_one_level_is_nothing_to_switch_between():
    with pytest.raises(ValueError, match="takes two levels at least, and here is 1"):
        Switching(("small", "small"), 1.0, 2.0)


# What is heard


def test_what_a_level_does_not_hear_is_lost_while_it_holds(model, utterances):
    result = evaluate_switching(model, Switching(LEVELS, 0.2, 0.4), utterances, DecodingOptions())
    ab, c, bc = (hypothesis.text for hypothesis in result.hypotheses)
    assert ab == "abab"
    assert 0 < len(c) < 40
    assert set(c) == {"c"}
    assert set(bc) == {"b", "c", " "}
    assert result.counts.words == 4
    assert result.rtf > 0


def test_a_time_longer_than_the_utterances_is_a_level_each(model, utterances):
    result = evaluate_switching(model, Switching(LEVELS, 60.0, 60.0), utterances, DecodingOptions())
    assert result.switches == 0
    plain = {level: evaluate_level(model, level, utterances, DecodingOptions()) for level in LEVELS}
    for number, hypothesis in enumerate(result.hypotheses):
        drawn = result.switching.draw(utterances[number], 1.0)[0][1]
        assert hypothesis.text == plain[drawn].hypotheses[number].text


def test_switches_are_counted(model, utterances):
    switching = Switching(LEVELS, 0.2, 0.4)
    result = evaluate_switching(model, switching, utterances, DecodingOptions())
    duration = sum(one.duration for one in utterances)
    assert duration / 0.4 - 2 * len(utterances) <= result.switches <= duration / 0.2


def test_every_utterance_is_told_of(model, utterances):
    calls = []
    evaluate_switching(
        model, Switching(LEVELS, 1.0, 1.0), utterances, DecodingOptions(), lambda: calls.append(1)
    )
    assert len(calls) == len(utterances)


def test_given_features_are_read_from_their_files(tmp_path):
    np.save(tmp_path / "a.npy", features_of(sound("abab")))
    given = Utterance(id="g", feature_path=tmp_path / "a.npy", duration=0.6, text="abab")
    file = ModelFile.open(write_tone_model(tmp_path / "given.sparrot", given=True))
    result = evaluate_switching(file, Switching(LEVELS, 0.1, 0.1), [given], DecodingOptions())
    assert result.hypotheses[0].text == "abab"
    assert result.switches > 0
