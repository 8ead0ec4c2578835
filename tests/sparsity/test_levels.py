"""Levels: their order, their names, and which of them may not be."""

import pytest

from sparrot.sparsity import Levels

PRESET = {"large": {}, "medium": {"lstm": 0.7}, "small": {"lstm": 0.9, "fc": 0.5}}


def test_levels_keep_their_order_and_targets():
    levels = Levels(**PRESET)
    assert list(levels) == ["large", "medium", "small"]
    assert levels.full == "large"
    assert levels.sparse == ("medium", "small")
    assert levels.types == ("lstm", "fc")
    assert dict(levels["small"]) == {"lstm": 0.9, "fc": 0.5}
    assert len(levels) == 3


def test_levels_cannot_be_changed():
    given = {"lstm": 0.7}
    levels = Levels(large={}, medium=given)
    given["lstm"] = 0.1
    assert levels["medium"]["lstm"] == 0.7
    with pytest.raises(TypeError):
        levels["medium"]["lstm"] = 0.1


def test_an_unknown_level_is_refused_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"no level `smal`: there are large, medium, small. Did you mean `small`\?"
    ):
        Levels(**PRESET).require("smal")


def test_a_name_like_no_other_gets_no_guess():
    with pytest.raises(ValueError, match=r"no level `42`: there are large, medium, small\.$"):
        Levels(**PRESET).require("42")


def test_the_first_level_is_the_full_model():
    with pytest.raises(ValueError, match="the first level is the full model"):
        Levels(medium={"lstm": 0.7}, large={})
    with pytest.raises(ValueError, match="the first level is the full model"):
        Levels()
    assert Levels(large={"lstm": 0.0}, small={"lstm": 0.9}).full == "large"


def test_a_level_may_have_any_name():
    levels = Levels(**{"self": {}, "targets": {"lstm": 0.5}, "": {"lstm": 0.9}})
    assert list(levels) == ["self", "targets", ""]


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity: float):
    with pytest.raises(ValueError, match="level `small` asks for lstm sparsity"):
        Levels(large={}, small={"lstm": sparsity})


def test_levels_that_cross_are_named():
    crossing = Levels(large={}, medium={"lstm": 0.7, "fc": 0.6}, small={"lstm": 0.9, "fc": 0.5})
    with pytest.raises(ValueError, match=r"`medium` and `small` cross: fc goes from 0\.6 down to 0\.5"):
        crossing.require_nested()


def test_a_type_that_a_sparser_level_forgets_crosses():
    forgetful = Levels(large={}, medium={"fc": 0.5}, small={"lstm": 0.9})
    with pytest.raises(ValueError, match=r"fc goes from 0\.5 down to 0\.0"):
        forgetful.require_nested()


def test_the_preset_is_nested():
    Levels(**PRESET).require_nested()


def test_levels_show_what_they_are():
    assert repr(Levels(large={}, small={"fc": 0.5})) == "Levels(large={}, small={'fc': 0.5})"
