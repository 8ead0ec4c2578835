"""The beginning of the packaged model's file is a smaller model."""

import warnings

import pytest

from sparrot import FormatError, Recognizer
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine.recognizer import packaged_model
from sparrot.model_file import ModelFile

LEVELS = ("large", "medium", "small")
STRINGS = packaged_strings("dev")[::60]


@pytest.fixture(scope="module")
def whole() -> Recognizer:
    return Recognizer.load()


def heard(recognizer: Recognizer, level: str) -> list[dict]:
    rate_hz = recognizer.sample_rate_hz
    assert rate_hz is not None
    return [recognizer.transcribe(load_waveform(s, rate_hz), rate_hz, level=level).to_json() for s in STRINGS]


@pytest.mark.parametrize("extra", [0, 1000])
@pytest.mark.parametrize("densest", LEVELS)
def test_a_file_cut_at_or_after_the_end_of_a_level_transcribes_like_the_whole_file(
    whole, tmp_path, densest, extra
):
    data = packaged_model().read_bytes()
    end = ModelFile.open(packaged_model()).level_bytes(densest)
    path = tmp_path / "cut.sparrot"
    path.write_bytes(data[: end + extra])
    held = LEVELS[LEVELS.index(densest) :]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cut = Recognizer.load(path)
    assert tuple(level.name for level in cut.levels()) == held
    assert [f"is cut at byte {end + extra}" in str(w.message) for w in told] == [True] * (densest != "large")
    for level in held:
        assert heard(cut, level) == heard(whole, level)


def test_a_file_cut_before_the_end_of_its_sparsest_level_is_refused(tmp_path):
    path = tmp_path / "cut.sparrot"
    path.write_bytes(
        packaged_model().read_bytes()[: ModelFile.open(packaged_model()).level_bytes("small") - 1]
    )
    with pytest.raises(FormatError):
        Recognizer.load(path)


@pytest.mark.parametrize("densest", ["medium", "small"])
def test_an_exported_prefix_transcribes_like_the_whole_file(whole, tmp_path, densest):
    ModelFile.open(packaged_model()).max_level_copy(tmp_path / "smaller.sparrot", densest)
    smaller = Recognizer.load(tmp_path / "smaller.sparrot")
    assert tuple(level.name for level in smaller.levels()) == LEVELS[LEVELS.index(densest) :]
    for level in (level.name for level in smaller.levels()):
        assert heard(smaller, level) == heard(whole, level)
