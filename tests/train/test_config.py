import re
from pathlib import Path

import pytest
import yaml

from sparrot.model_file.layout import MAX_STOPS
from sparrot.train.config import Config
from sparrot.train.recipe import load_config, parse_config
from train.tiny import SPARSE, config, recipe, write_recipe

HERE = Path("corpus")


def refusal(changes: dict) -> str:
    """What is said about a recipe with changes."""
    with pytest.raises(ValueError, match=r"^cannot use the configuration r\.yaml: ") as caught:
        parse_config(recipe(HERE, changes), "r.yaml")
    return str(caught.value)


def test_every_section_is_read():
    given = config(
        HERE,
        {
            "features.mean": [0.0] * 12,
            "features.scale": [2.0] * 12,
            "tokens": {"kind": "sentencepiece", "size": 30},
            "augment": {"speed": [0.9, 1.0], "spec": {"time_masks": 1}, "gain_db": [-3, 3]},
            "sparsity": SPARSE,
        },
    )
    assert given.features.scale == (2.0,) * 12
    assert given.tokens.size == 30
    assert given.augment.speed == (0.9, 1.0)
    assert given.augment.spec is not None
    assert given.augment.spec.time_masks == 1
    assert given.sparsity is not None
    assert given.sparsity.levels["small"] == {"lstm": 0.75, "fc": 0.5}
    assert given.encoder.fc == (8,)


def test_a_configuration_survives_json_and_yaml():
    given = config(HERE, {"augment.speed": [0.9, 1.0], "sparsity": SPARSE, "dropout": 0.1})
    described = given.model_dump(mode="json")
    assert parse_config(described, "") == given
    assert parse_config(yaml.safe_load(yaml.safe_dump(described)), "") == given


@pytest.mark.parametrize(
    ("key", "place", "nearest"),
    [
        ("optimizer", "`optimizer`", "`optimiser`"),
        ("data.batchseconds", "`data.batchseconds`", "`batch_seconds`"),
        ("encoder.cell_s", "`encoder.cell_s`", "`cells`"),
        ("front.frame", "`front.frame`", "`frames`"),
        ("augment.spec.time_mask", "`augment.spec.time_mask`", "`time_masks`"),
        ("sparsity.mask_evry", "`sparsity.mask_evry`", "`mask_every`"),
    ],
)
def test_an_unknown_key_names_the_nearest(key, place, nearest):
    assert f"{place}: unknown key, did you mean {nearest}?" in refusal({key: 1})


def test_a_key_like_no_other_gets_a_list():
    said = refusal({"tokens.xyzzy": 1})
    assert "`tokens.xyzzy`: unknown key; known are kind, size" in said


def test_all_errors_are_told_together():
    said = refusal({"training.epochs": 0, "dropout": 1.5, "optimiser.kind": "adam", "features.n_mels": 2})
    for place in ("training.epochs", "dropout", "optimiser.kind", "features"):
        assert f"`{place}`: " in said
    assert said.count("; `") == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens.kind": "sentencepiece"}, "`size` is given for sentencepiece tokens, and only for them"),
        ({"tokens.size": 30}, "`size` is given for sentencepiece tokens, and only for them"),
        ({"augment.speed": [0.9, 3.0]}, "speed factors lie between 0.5 and 2"),
        ({"augment.gain_db": [3, -3]}, "a range is written low end first; got 3.0 to -3.0"),
        ({"augment.noise": {"manifest": "n", "snr_db": [20, 5]}}, "low end first; got 20.0 to 5.0"),
        ({"optimiser": {"kind": "nesterov", "momentum": 0.0}}, "nesterov needs a `momentum` above 0"),
        ({"optimiser.learning_rate": float("inf")}, "`optimiser.learning_rate`: "),
        ({"optimiser.learning_rate": float("nan")}, "`optimiser.learning_rate`: "),
        ({"sparsity": SPARSE | {"block": "16"}}, "a block shape is written rows x columns"),
        ({"sparsity": SPARSE | {"begin": 0.4, "end": 0.4}}, "got begin 0.4, end 0.4 and freeze 0.7"),
        ({"sparsity": SPARSE | {"begin": 0.1, "initial": 0.5}}, "`begin` must be 0 with it"),
        ({"sparsity": SPARSE | {"dropout": {"tiny": 0.1}}}, "`tiny` is none of the sparse levels, small"),
        ({"sparsity": SPARSE | {"dropout": {"large": 0.1}}}, "the full model's is `dropout` of the recipe"),
        ({"sparsity": SPARSE | {"dropout": {"small": 1.0}}}, "at least 0 and below 1; got {'small': 1.0}"),
        ({"sparsity": SPARSE | {"end": 0.8}}, "freezes then or later; got begin 0.0, end 0.8 and freeze 0.7"),
        ({"sparsity": SPARSE | {"levels": {"large": {"fc": 0.1}}}}, "the first level is the full model"),
        ({"sparsity": {"levels": {"a": {}, "b": {"fc": 0.5}, "c": {"fc": 0.4}}}}, "levels `b` and `c` cross"),
        (
            {"sparsity": {"levels": {"a": {}, "b": {"gru": 0.5}}}},
            "prune gru layers; the network has fc, lstm",
        ),
        ({"encoder": {"cell": "gru", "projection": 4}}, "layer `gru0`: projection cannot be 4"),
        ({"encoder.reduce_after": 2}, "reduces time after one it has; got 1 layers and reduce_after 2"),
        ({"front.frames": 0}, "layer `stack`: right cannot be -1"),
        (
            {"front": {"frames": 5, "stride": 3}},
            "kind none makes no use of `frames`, `stride`; leave that out",
        ),
        ({"name": "no spaces"}, "`name`: "),
        ({"licence": ""}, "`licence`: "),
        ({"seed": 1 << 63}, "`seed`: "),
        ({"data.train": []}, "`data.train`: "),
        ({"features.kind": ["log_mel"]}, "`features`: "),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, said):
    assert said in refusal(changes)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_momentum_is_refused_where_it_would_be_ignored(kind):
    said = refusal({"optimiser": {"kind": kind, "momentum": 0.9}})
    assert f"`optimiser`: kind {kind} makes no use of `momentum`; leave that out, or choose nesterov" in said


@pytest.mark.parametrize("kind", ["constant", "one_cycle"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"decay": 0.9}, "`decay`"),
        ({"every": 0.2}, "`every`"),
        ({"decay": 0.9, "every": 0.2}, "`decay`, `every`"),
    ],
)
def test_steps_are_refused_where_they_would_be_ignored(kind, given, named):
    said = refusal({"schedule": {"kind": kind, **given}})
    assert f"`schedule`: kind {kind} makes no use of {named}; leave that out, or choose step" in said


def test_what_a_kind_uses_may_be_anything():
    used = {
        "optimiser": {"kind": "nesterov", "momentum": 0.9},
        "schedule": {"kind": "step", "decay": 0.9, "every": 0.2},
        "front": {"kind": "convolution", "frames": 5, "stride": 2, "channels": 4},
        "seed": (1 << 63) - 1,
    }
    given = config(HERE, used)
    assert parse_config(given.model_dump(mode="json"), "") == given


@pytest.mark.parametrize("front", ["none", "context", "stack", "convolution"])
@pytest.mark.parametrize("optimiser", ["sgd", "nesterov", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "step", "one_cycle"])
def test_defaults_that_a_kind_does_not_use_survive_a_checkpoint(front, optimiser, schedule):
    kinds = {"front": {"kind": front}, "optimiser": {"kind": optimiser}, "schedule": {"kind": schedule}}
    given = config(HERE, kinds)
    assert parse_config(given.model_dump(mode="json"), "") == given


@pytest.mark.parametrize("name", ["", "all", "a,b", "a b", " a", "a\n", "-a", ".a", "größe", "a/b", "90%"])
def test_a_level_that_no_command_could_name_is_refused(name):
    said = refusal({"sparsity": {"levels": {"large": {}, name: {"lstm": 0.5}}}})
    assert "`sparsity.levels`: a level's name begins with a letter or digit" in said
    assert said.endswith(f"got {name!r}")


@pytest.mark.parametrize("name", ["a", "self", "All", "all2", "90", "v1.2_x-small"])
def test_a_level_that_commands_can_name_is_taken(name):
    given = config(HERE, {"sparsity": {"levels": {"large": {}, name: {"lstm": 0.5}}}})
    assert given.sparsity is not None
    assert list(given.sparsity.levels) == ["large", name]


def test_levels_are_as_many_as_a_file_holds():
    levels = {"large": {}} | {f"l{i}": {"lstm": 0.5} for i in range(1, MAX_STOPS)}
    config(HERE, {"sparsity": {"levels": levels}})
    said = refusal({"sparsity": {"levels": levels | {"more": {"lstm": 0.5}}}})
    assert f"`sparsity.levels`: a model file holds {MAX_STOPS} levels; got {MAX_STOPS + 1}" in said


def test_levels_may_cross_with_independent_masks_and_masks_may_never_freeze():
    levels = {"a": {}, "b": {"fc": 0.5}, "c": {"fc": 0.4}}
    config(HERE, {"sparsity": {"levels": levels, "nested": False, "end": 1.0, "freeze": None}})


def test_given_features_have_no_waveform_to_change():
    given = {"features": {"kind": "given", "width": 13}, "augment.spec": {}}
    assert config(HERE, given).features.input_width == 13
    wave = {"augment.speed": [0.9], "augment.gain_db": [0, 1], "augment.noise": {"manifest": "n"}}
    wrong = {**wave, "data.strings": 5}
    said = refusal(given | wrong)
    assert "given features have no waveform, which " in said
    for name in wrong:
        assert name in said.split("which")[1]
    for name, value in wrong.items():
        assert f"which {name} would change" in refusal(given | {name: value})


@pytest.mark.parametrize("option", ["trim", "rotate"])
def test_only_the_recordings_of_strings_are_cut(option):
    config(HERE, {f"augment.{option}": 0.2, "data.strings": 5})
    assert f"augment.{option} cuts the recordings of strings" in refusal({f"augment.{option}": 0.2})


# files and overrides


def test_overrides_are_yaml_values(tmp_path):
    path = write_recipe(tmp_path / "r.yaml", HERE)
    given = load_config(
        path,
        [
            "training.epochs=7",
            "augment.spec.time_masks=3",
            "data.train=[a, b]",
            "sparsity=",
            "name=other",
            "licence=a=b",
        ],
    )
    assert (given.training.epochs, given.data.train, given.name) == (7, ["a", "b"], "other")
    assert given.augment.spec is not None
    assert (given.augment.spec.time_masks, given.sparsity, given.licence) == (3, None, "a=b")


def test_an_override_fills_a_section_that_is_there_without_keys(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe(HERE, {"augment": None})))
    assert load_config(path, ["augment.speed=[1.1]"]).augment.speed == (1.1,)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epochs", "an override is written `section.key=value`; got `training.epochs`"),
        ("=3", "an override is written `section.key=value`; got `=3`"),
        ("name.first=3", "cannot override `name.first`: `name` is a value, not a section"),
        ("dropout=[1", "cannot override `dropout`: `[1` is not a YAML value"),
        ("training.epoch=3", "unknown key, did you mean `epochs`?"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path, override, said):
    path = write_recipe(tmp_path / "r.yaml", HERE)
    with pytest.raises(ValueError, match=re.escape(said)):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "r.yaml is not YAML"),
        (b"\xff", "r.yaml is not YAML"),
        (b"- a\n- b", "r.yaml must hold a mapping of sections"),
        (b"", "r.yaml must hold a mapping of sections"),
        (b"name: x", "cannot use the configuration .*r.yaml: `data`: .*; `features`: .*; `training`: "),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content, said):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load_config(tmp_path / "r.yaml")


def test_the_recipe_of_the_demonstration_is_valid():
    path = Path(__file__).parents[2] / "src/sparrot/packaged/demo.yaml"
    assert isinstance(load_config(path), Config)
