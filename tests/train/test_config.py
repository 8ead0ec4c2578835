import re
from pathlib import Path

import pytest
import yaml

from sparrot.train.config import Config, load_config, parse_config
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
        ({"name": "no spaces"}, "`name`: "),
        ({"data.train": []}, "`data.train`: "),
        ({"features.kind": ["log_mel"]}, "`features`: "),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, said):
    assert said in refusal(changes)


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


def test_every_recipe_of_the_repository_is_valid():
    root = Path(__file__).parents[2]
    recipes = [*root.glob("recipes/**/*.yaml"), root / "src/sparrot/packaged/demo.yaml"]
    assert len(recipes) > 1
    for path in recipes:
        assert isinstance(load_config(path), Config)
