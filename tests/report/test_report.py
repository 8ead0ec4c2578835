"""`sparrot report` on runs of every kind: what is drawn, what stands beside the papers, what is refused."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sparrot.cli.main import run
from sparrot.lm.config import LmConfig
from sparrot.lm.run import train_lm_run
from sparrot.model_file import ModelFile
from sparrot.report.drawing import to_csv
from sparrot.report.methods import Treatment, treatment_of
from sparrot.report.runs import Run, dense_of, open_runs
from sparrot.report.structure import density, outgoing, zeros_by_matrix
from sparrot.report.tables import beside_published, layers_table
from sparrot.train.config import Config
from sparrot.train.run import train_run
from train import tiny

BOOK = Path(__file__).parents[1] / "texts" / "war-and-peace.txt"
TARGETS = {"lstm": 0.6, "fc": 0.5}
THRESHOLD = {"method": "threshold", "sparsity": TARGETS, "ramp": 0.3, "end": 0.7, "every": 2}
ROUNDS = {"method": "rounds", "sparsity": TARGETS, "end": 0.8}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Finished runs: dense, WP, BP, iterative, three levels, and a pruned model of words."""
    base = tmp_path_factory.mktemp("runs")
    corpus = tiny.write_digits(tmp_path_factory.mktemp("corpus"))
    origin = {"training.init_from": str(base / "dense"), "training.epochs": 2}
    wanted = {
        "dense": {},
        "wp": {"pruning": THRESHOLD, **origin},
        "bp": {"pruning": {**THRESHOLD, "block": "4x4"}, **origin},
        "iterative": {"pruning": ROUNDS, **origin},
        "levels": {**tiny.LEARNS, "encoder.cells": 24},
    }
    for name, changes in wanted.items():
        train_run(tiny.config(corpus, changes), base / name, resume=False)
    lines = [line for line in BOOK.read_text().lower().splitlines() if line.split()]
    (base / "train.txt").write_text("\n".join(lines[:300]))
    (base / "valid.txt").write_text("\n".join(lines[300:400]))
    words = LmConfig(
        name="words",
        data={"train": str(base / "train.txt"), "valid": str(base / "valid.txt"), "vocabulary": 200},
        cells=16,
        epochs=2,
        pruning={"method": "gradual", "sparsity": {"lstm": 0.65, "fc": 0.5}, "block": "4x4", "every": 5},
    )
    train_lm_run(words, base / "words", resume=False)
    return {name: base / name for name in (*wanted, "words")}


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    names = [str(folder) for folder in folders.values()]
    closer = ["--closer", "levels", "--closer", "iterative", "--closer", "words"]
    assert run(["report", *names, "-o", str(out), *closer]) == 0
    return out


def test_every_figure_is_in_the_page_and_beside_it(written):
    page, folder = written.read_text(), written.with_suffix("")
    pictures = {path.stem for path in folder.glob("*.png")}
    kinds = {name.split("-")[0] for name in pictures}
    assert kinds == {"accuracy", "layers", "schedule", "kept", "neurons", "map", "weights", "losses"}
    for name in pictures:
        assert f'<figure id="{name}">' in page
        assert (folder / f"{name}.csv").exists()
        png = (folder / f"{name}.png").read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(png[16:20]) == 800
    assert page.count('src="data:image/png;base64,') == len(pictures)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched


def test_every_run_and_level_is_listed_with_its_errors(written, folders):
    header, *found = rows(written.with_suffix("") / "runs.csv")
    assert header[-2:] == ["epochs", "minutes"]
    assert [row[0] for row in found] == ["dense", "wp", "bp", "iterative", "levels", "levels", "words"]
    for row in found[:-1]:
        told = dict(zip(header, row, strict=True))
        log = [json.loads(line) for line in (folders[row[0]] / "log.jsonl").read_text().splitlines()]
        best = next(row for row in reversed(log) if row["event"] == "dev" and row["best"])
        assert told["error"].startswith(f"{100 * best['levels'][told['level']]['wer']:.2f} % WER")
        level = ModelFile.open(folders[row[0]] / "model.sparrot").level(told["level"])
        assert told["sparsity"] == f"{100 * level.overall_sparsity:.1f} %"


def test_sparsities_are_those_of_the_weights(written, folders):
    header, *found = rows(written.with_suffix("") / "layers-wp.csv")
    weights = ModelFile.open(folders["bp"] / "model.sparrot").parameters("pruned")
    shown = dict(zip(header, next(row for row in found if row[0].startswith("bp ")), strict=True))
    for name in header[1:-1]:
        assert float(shown[name]) == pytest.approx(100 * (weights[name] == 0).mean())
    assert float(shown["standard deviation"]) == pytest.approx(
        np.std([100 * (weights[name] == 0).mean() for name in header[1:-1]])
    )


def test_a_schedule_ends_at_the_sparsity_of_the_model(written, folders):
    _, *found = rows(written.with_suffix("") / "schedule-wp.csv")
    assert {row[0] for row in found} == {"wp", "bp", "iterative"}
    assert {row[2] for row in found} == {"lstm0.recurrent", "output.weight"}
    for name in ("wp", "bp"):
        own = [row for row in found if row[0] == name and row[2] == "lstm0.recurrent"]
        steps, shares = [float(row[3]) for row in own], [float(row[4]) for row in own]
        assert steps == sorted(steps)
        assert shares == sorted(shares)
        weights = ModelFile.open(folders[name] / "model.sparrot").parameters("pruned")
        assert shares[-1] == pytest.approx(100 * (weights["lstm0.recurrent"] == 0).mean(), abs=1e-4)


def test_runs_stand_beside_the_rows_of_their_method(folders):
    tables = {table.name: table for table in beside_published(open_runs(list(folders.values())))}
    assert list(tables) == ["table-2", "table-3", "table-4", "table-5", "table-7", "poster"]
    own = tables["table-2"].header.index("our run")
    beside = {row[0]: row[own] for row in tables["table-2"].rows if row[0]}
    assert beside["RNN, dense"] == "dense"
    assert beside["RNN, Narang et al. 2017"] == "wp"
    assert beside["RNN, Han et al. 2015"] == "iterative"
    assert beside["RNN, BP 4×4"] == "bp"
    assert beside["RNN, group lasso"] == "not run"
    assert {row[tables["table-3"].header.index("our run")] for row in tables["table-3"].rows} == {"not run"}
    human = tables["poster"].rows[0]
    assert human[:3] == ["Human (Amodei et al. 2016)", "", "5.83"]
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.header)}
        assert "epochs" in table.header
        assert "minutes" in table.header


def test_a_level_stands_beside_the_published_sparsity_that_is_nearest(folders, tmp_path):
    words = Run.open(folders["words"])
    as_bp = Run(words.folder, words.model, words.log)
    as_bp.__dict__["treatment"] = Treatment("BP", "4×4")
    (point,) = as_bp.points
    for sparsity, expected in ((0.60, 1), (0.75, 2), (0.80, 2), (0.95, 3)):
        as_bp.__dict__["points"] = [type(point)(point.level, sparsity, point.parameters, point.errors)]
        table = next(table for table in beside_published([as_bp]) if table.name == "table-5")
        places = [n for n, row in enumerate(table.rows) if "words" in row]
        assert places == [expected]


def test_what_is_lost_is_against_the_dense_run_it_came_from(folders):
    runs = open_runs([folders["dense"], folders["wp"], folders["levels"]])
    dense, wp, levels = runs
    assert dense_of(wp, runs) is dense
    assert dense_of(dense, runs) is dense
    assert dense_of(levels, runs) is None
    assert dense_of(wp, [wp]) is None


def test_timings_of_products_fill_the_table_of_layers(tmp_path):
    kernels = Path(__file__).parents[2] / "results" / "kernels" / "result.json"
    table = layers_table(kernels)
    assert {len(row) for row in table.rows} == {len(table.header)}
    own = table.rows[-1]
    assert own[6] == "sparrot"
    timed = json.loads(kernels.read_text())["rows"]
    hot = [r for r in timed if r.get("contest") == "hot" and r["metric"] == "kernels.time.fp32.b16"]
    dense = min(r["value"] for r in hot if r["kind"] == "dense" and r["shape"] == "1760×1760")
    (ours,) = [
        r["value"]
        for r in hot
        if r["method"] == "sparrot" and r["shape"] == "1760×1760" and r["sparsity"] == 0.9
    ]
    assert own[7] == f"{dense / ours:.2f}×"
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(ValueError, match=r"is no result of benchmarks/kernels\.py"):
        layers_table(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "dense"),
        ({"sparsity": tiny.SPARSE}, "dynamic 4×1"),
        ({"pruning": THRESHOLD}, "WP 1×1"),
        ({"pruning": {**THRESHOLD, "block": "8x4"}}, "BP 8×4"),
        ({"pruning": {**THRESHOLD, "penalty": "l1", "strength": 0.1}}, "ℓ1 + WP 1×1"),
        (
            {"pruning": {**THRESHOLD, "block": "4x4", "penalty": "group_lasso", "strength": 0.1}},
            "GLP 4×4",
        ),
        ({"pruning": {"method": "at_once", "sparsity": TARGETS}}, "hard threshold 1×1"),
        ({"pruning": {"method": "gradual", "sparsity": TARGETS}}, "gradual 1×1"),
        ({"pruning": ROUNDS}, "iterative 1×1"),
        (
            {"pruning": {"method": "penalty", "sparsity": {"lstm": 0}, "penalty": "l_half", "strength": 1}},
            "ℓ½ 1×1",
        ),
    ],
)
def test_methods_go_by_the_names_of_the_papers(tmp_path, changes, expected):
    corpus = tiny.write_corpus(tmp_path)
    start = {"training.init_from": "dense"} if "pruning" in changes else {}
    config = tiny.config(corpus, {**changes, **start})
    assert isinstance(config, Config)
    assert str(treatment_of(config.model_dump(mode="json"))) == expected


def test_neurons_are_columns_and_cells_are_means():
    weights = np.zeros((4, 6), np.float32)
    weights[:2, 1] = 1.0
    weights[3, 4] = -2.0
    assert outgoing({"a": weights, "b": np.ones((2, 3), np.float32)}).tolist() == [0, 2, 0, 0, 1, 0, 2, 2, 2]
    assert density(weights, 2).tolist() == [[2 / 6, 0.0], [0.0, 1 / 6]]
    assert density(weights, 100).tolist() == (weights != 0).astype(float).tolist()
    odd = np.ones((5, 7), np.float32)
    assert density(odd, 3).tolist() == [[1.0] * 3] * 3


def test_numbers_go_into_csv_as_they_are():
    assert to_csv(["a", "b"], [[1.5, None], ['x, "y"', 2]]) == 'a,b\n1.5,\n"x, ""y""",2\n'


def test_zeros_are_counted_for_pruned_matrices_only(folders):
    found = zeros_by_matrix(Run.open(folders["wp"]), "pruned")
    assert set(found) == {"lstm0.input", "lstm0.recurrent", "fc0.weight", "output.weight"}
    assert set(zeros_by_matrix(Run.open(folders["dense"]), "dense").values()) == {0.0}


def refused(capsys, *arguments: str) -> str:
    assert run(["report", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sparrot: ")
    assert said.count("\n") == 1
    return said


def test_what_is_no_run_is_refused(folders, tmp_path, capsys):
    out = ["-o", str(tmp_path / "r.html")]
    dense = str(folders["dense"])
    assert "there is no run folder" in refused(capsys, str(tmp_path / "none"), *out)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    assert "is no finished run: it has no model.sparrot" in refused(capsys, str(unfinished), *out)
    shutil.copy(folders["dense"] / "model.sparrot", unfinished)
    assert "it has no log.jsonl" in refused(capsys, str(unfinished), *out)
    (unfinished / "log.jsonl").write_text("")
    assert "has no evaluation in it" in refused(capsys, str(unfinished), *out)
    (unfinished / "log.jsonl").write_text("{")
    assert "is damaged" in refused(capsys, str(unfinished), *out)
    assert "two of the runs are called `dense`" in refused(capsys, dense, dense, *out)
    assert "Did you mean `dense`?" in refused(capsys, dense, *out, "--closer", "dens")
    assert "the page is an .html file" in refused(capsys, dense, "-o", str(tmp_path / "r.pdf"))
    assert "is no result of" in refused(
        capsys, dense, *out, "--kernels", str(folders["dense"] / "config.yaml")
    )
    assert not (tmp_path / "r.html").exists()
    assert not (tmp_path / "r").exists()
