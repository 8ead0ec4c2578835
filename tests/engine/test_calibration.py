from dataclasses import replace
from math import isnan, log

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sparrot.corpora.manifest import Utterance
from sparrot.engine import DecodingOptions
from sparrot.engine.calibration import (
    N_HEARD,
    PENALTIES,
    TEMPERATURES,
    calibrate_level,
    fitted_temperature,
    least,
    normalised_cross_entropy,
    scaled,
)
from sparrot.engine.evaluation import evaluate_level
from sparrot.model_file import ModelFile
from tone_model import RATE_HZ, sound, write_tone_model
from tone_transducer import SURE, write_tone_transducer

NO_ENDPOINTS = DecodingOptions(endpoints=None)


@pytest.fixture
def utterances(tmp_path):
    """Tones with their texts; the second has a word that no tone says, the third one that nobody hears."""
    made = []
    for i, (heard, text) in enumerate([("abc", "abc"), ("ba cab", "ba b"), ("a b", "a a b")]):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, sound(heard), RATE_HZ, "FLOAT")
        made.append(Utterance(id=f"u{i}", text=text, duration=len(sound(heard)) / RATE_HZ, audio_path=path))
    return made


def calibrated(path, utterances, level="large", **options):
    return calibrate_level(ModelFile.open(path), level, utterances, replace(NO_ENDPOINTS, **options))


# The blank penalty


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_a_level_that_doubts_its_letters_gets_the_penalty_that_finds_them(tmp_path, utterances, decoder):
    """Letters are 1.1 less likely than the blank, so the least penalty that finds them is 1.25."""
    path = write_tone_transducer(tmp_path / "m", doubt=SURE + 1.1)
    found = calibrated(path, utterances, decoder=decoder)
    assert (found.before.blank_penalty, found.before.counts.deletions) == (0.0, 6)
    assert found.after.blank_penalty == 1.25
    assert (found.after.counts.deletions, found.after.counts.substitutions) == (1, 1)


@pytest.mark.parametrize("write", [write_tone_model, write_tone_transducer])
@pytest.mark.parametrize("own", [-20.0, 0.0, 2.25])
def test_the_penalty_that_the_file_has_does_not_matter(tmp_path, utterances, write, own):
    path = write(tmp_path / "m", large={"blank_penalty": own})
    found = calibrated(path, utterances)
    assert found.before.blank_penalty == own
    assert found.after.blank_penalty == 0.0
    assert found.after.counts == calibrated(write(tmp_path / "other"), utterances).before.counts


def test_what_is_found_is_what_the_level_then_makes(tmp_path, utterances):
    found = calibrated(write_tone_transducer(tmp_path / "m", doubt=7.1), utterances)
    given_it = {
        "blank_penalty": found.after.blank_penalty,
        "confidence_temperature": found.after.confidence_temperature,
    }
    path = write_tone_transducer(tmp_path / "m", doubt=7.1, large=given_it)
    assert (
        evaluate_level(ModelFile.open(path), "large", utterances, NO_ENDPOINTS).counts == found.after.counts
    )
    again = calibrated(path, utterances)
    assert again.before == again.after
    assert replace(again.after, nce=0.0) == replace(found.after, nce=0.0)
    assert again.after.nce == pytest.approx(found.after.nce)


def test_a_level_is_calibrated_by_itself_and_progress_is_told(tmp_path, utterances):
    heard = []
    path = write_tone_transducer(tmp_path / "m", large={"blank_penalty": -20.0})
    found = calibrate_level(
        ModelFile.open(path), "small", utterances, NO_ENDPOINTS, lambda: heard.append(None)
    )
    assert (found.level, found.before.blank_penalty) == ("small", 0.0)
    assert len(PENALTIES) * len(utterances) <= len(heard) <= N_HEARD * len(utterances)


def test_a_level_that_the_file_lacks_is_refused(tmp_path, utterances):
    with pytest.raises(ValueError, match="no level `medium`"):
        calibrated(write_tone_transducer(tmp_path / "m"), utterances, level="medium")


@given(st.floats(PENALTIES[0], PENALTIES[-1]), st.sampled_from([1, 2]))
def test_the_least_of_a_valley_is_found_to_an_eighth(bottom, power):
    assert abs(least(lambda p: (abs(p - bottom) ** power, 0.0)) - bottom) <= 0.125 + 1e-9


def test_of_equal_penalties_the_least_cer_and_then_the_nearest_to_0_is_chosen():
    assert least(lambda _: (0.5, 0.5)) == 0.0
    assert least(lambda p: (float(not 1.0 <= p <= 2.0), 0.0)) == 1.0
    assert least(lambda p: (0.5, abs(p - 1.5))) == 1.5


# The confidences


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_makes_words_as_often_right_as_their_confidences_say(temperature):
    """Of words with log-odds T · log 3, 3 of 4 are right; of those with T · log 9, 9 of 10."""
    odds, right = np.repeat([3.0, 9.0, 1 / 3], [4, 10, 4]), [True] * 3 + [False] + [True] * 9 + [False] * 4
    confidences = 1 / (1 + odds**-temperature)
    found = fitted_temperature(confidences, np.array([*right, True]))
    assert found == temperature
    np.testing.assert_allclose(scaled(confidences, 1 / found), odds / (1 + odds), rtol=1e-12)


def test_the_fitted_temperature_is_the_most_likely():
    random = np.random.default_rng(3)
    confidences, right = random.beta(2, 1, 300), random.random(300) < 0.5
    found = fitted_temperature(confidences, right)
    best = normalised_cross_entropy(scaled(confidences, 1 / found), right)
    for other in (0.5 * found, 0.98 * found, 1.02 * found, 2 * found):
        if TEMPERATURES[0] <= other <= TEMPERATURES[1]:
            assert normalised_cross_entropy(scaled(confidences, 1 / other), right) < best


@pytest.mark.parametrize("right", [[], [True, True], [False]])
def test_words_that_are_all_right_or_all_wrong_tell_nothing(right):
    confidences = np.full(len(right), 0.7)
    assert fitted_temperature(confidences, np.array(right, dtype=bool)) is None
    assert isnan(normalised_cross_entropy(confidences, np.array(right, dtype=bool)))


def test_certain_confidences_stay_finite_and_bounded():
    certain = np.array([1.0, 0.0, 1.0, 0.0])
    assert fitted_temperature(certain, np.array([True, False, True, False])) == pytest.approx(TEMPERATURES[0])
    assert fitted_temperature(certain, np.array([False, True, False, True])) == pytest.approx(TEMPERATURES[1])
    assert np.isfinite(normalised_cross_entropy(certain, np.array([False, True, True, False])))


def test_normalised_cross_entropy_by_hand():
    right = np.array([True, True, True, False])
    share = normalised_cross_entropy(np.full(4, 0.75), right)
    assert share == pytest.approx(0.0, abs=1e-12)
    found = normalised_cross_entropy(np.array([0.9, 0.8, 0.9, 0.2]), right)
    expected = 1 - (2 * log(0.9) + log(0.8) + log(0.8)) / (3 * log(0.75) + log(0.25))
    assert found == pytest.approx(expected)
    assert normalised_cross_entropy(np.array([0.1, 0.1, 0.1, 0.9]), right) < 0 < found < 1
