"""Results of recipes and benchmarks: goals, reasons, and that a run is of its recipe."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
import yaml

from sparrot.engine.recognizer import packaged_model
from sparrot.model_file import ModelFile
from sparrot.report.results import Goal, Result, reasons

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("better", "measured", "met"), [("lower", 5.0, True), ("lower", 5.1, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_goal_is_met_at_its_figure_and_explained_otherwise(better, measured, met, sign):
    better = better if sign == 1 else "higher"
    goal = Goal("wer", sign * 5.0, sign * measured, better, why="too little data")
    assert goal.met is met
    assert goal.to_json()["why"] == (None if met else "too little data")
    if not met:
        with pytest.raises(ValueError, match="goal `wer` is not met"):
            Goal("wer", sign * 5.0, sign * measured, better)


def test_reasons_are_goals_with_sentences():
    assert reasons(["a.b=too slow: 2 = 1 + 1"]) == {"a.b": "too slow: 2 = 1 + 1"}
    for wrong in ("a.b", "a.b=", "=x"):
        with pytest.raises(ValueError, match="GOAL=SENTENCE"):
            reasons([wrong])


def test_a_result_is_written_with_its_goals_and_machine(tmp_path):
    Result("make it", [1], [{"metric": "wer"}], [Goal("wer", 5, 4, "lower")]).write(
        tmp_path / "a" / "result.json"
    )
    written = json.loads((tmp_path / "a" / "result.json").read_text())
    assert (written["command"], written["seeds"], written["rows"]) == ("make it", [1], [{"metric": "wer"}])
    assert written["goals"][0]["met"] is True
    assert written["machine"]["cores"] >= 1


def test_a_run_of_another_recipe_is_not_published(tmp_path, monkeypatch):
    train = runpy.run_path(str(ROOT / "recipes" / "measuring.py"))["train"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    shutil.copy(packaged_model(), tmp_path / "runs" / "digits" / "model.sparrot")
    recipe = dict(ModelFile.open(packaged_model()).description.configuration)
    path = tmp_path / "recipes" / "digits.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert train("digits").description.name == recipe["name"]
    path.write_text(yaml.safe_dump({**recipe, "dropout": 0.3}))
    with pytest.raises(ValueError, match=r"was not made by recipes/digits\.yaml as it is now"):
        train("digits")
