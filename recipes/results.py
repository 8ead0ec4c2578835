"""Trains the published recipes, decodes their test sets once, and writes results/<name>/.

    python recipes/results.py fsdd --corpora <folder of corpora>
    python recipes/results.py an4 --corpora <folder of corpora>
    python recipes/results.py weights --corpora <folder of corpora>
    python recipes/results.py transducer --corpora <folder of corpora>
    python recipes/results.py an4-methods --corpora <folder of corpora>
    python recipes/results.py an4-lm --corpora <folder of corpora>
    python recipes/results.py ptb --corpora <folder of corpora>

`weights` takes the models of the first two in bfloat16 and int8. Manifests go to data/, made from fsdd/,
an4_features/, fotaq/, bass/ and ptb/ of <folder> unless they are there; runs go to runs/. A run that is
complete is not trained again, one that was stopped goes on, and a test set that was decoded once is not
decoded again.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import RESULTS, RUNS, Decoding, Recipe, calibrated, described, measured, sparrot, train

from sparrot.atomic import atomic_write
from sparrot.corpora.manifest import read_manifest
from sparrot.model_file import ModelFile
from sparrot.report.figures import draw_levels
from sparrot.report.results import Goal, Result, reasons

FIRST_DENSE_WER = 71.12  # of recipes/games-rnnt-dense.yaml when it had 16 epochs


def main() -> None:
    """Measures one named result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(MEASURED))
    parser.add_argument(
        "--corpora",
        type=Path,
        default=Path("data"),
        help="folder with fsdd, an4_features, fotaq, bass and ptb",
    )
    parser.add_argument("--why", action="append", default=[], help="GOAL=SENTENCE for a goal that is not met")
    arguments = parser.parse_args()
    try:
        why = reasons(arguments.why)
        prepare(arguments.name, arguments.corpora)
        MEASURED[arguments.name](why)
    except ValueError as error:
        sys.exit(f"recipes/results.py: {error}")
    except subprocess.CalledProcessError as error:  # it has said why
        sys.exit(error.returncode)


def prepare(name: str, corpora: Path) -> None:
    """Makes the manifests that a result needs, where there are none yet."""
    if name in ("an4", "weights", "an4-methods", "an4-lm") and not Path("data/an4/train.jsonl").exists():
        sparrot("data", "prepare", "an4", str(corpora / "an4_features"), "data/an4")
    for split in ("train", "dev") if name == "an4-lm" else ():
        texts = [utterance.text for utterance in read_manifest(Path(f"data/an4/{split}.jsonl"))]
        Path(f"data/an4/{split}.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    for game in ("fotaq", "bass") if name == "transducer" else ():
        if not Path(f"data/{game}/train.jsonl").exists():
            sparrot("data", "prepare", game, str(corpora / game), f"data/{game}")
    if name in ("fsdd", "weights", "transducer") and not Path("data/fsdd/train.jsonl").exists():
        sparrot("data", "prepare", "fsdd", str(corpora / "fsdd"), "data/fsdd")
    if name == "ptb" and not Path("data/ptb").exists():
        shutil.copytree(corpora / "ptb", "data/ptb")
    others = Path("data/fsdd-left-out")
    if name == "fsdd" and not (others / "strings-dev.jsonl").exists():
        sparrot("data", "prepare", "fsdd", str(corpora / "fsdd"), str(others), "--left-out", "theo")
        for split in ("left_out", "dev"):
            strings = others / f"strings-{split.replace('_', '-')}.jsonl"
            sparrot("data", "strings", str(others / f"{split}.jsonl"), str(strings))


def fsdd(why: dict[str, str]) -> None:
    """Connected digits: three levels of one model, and a speaker that training never heard."""
    train("fsdd-base")
    train("fsdd-long")
    rows = measured("fsdd-dsnn", "test") + measured("fsdd-left-out", "left_out")
    wer = {row["level"]: row["value"] for row in rows if row["metric"] == "wer" and row["set"] == "test"}
    required = {"large": 1.5, "medium": 1.7, "small": 2.5}
    goals = [
        Goal(name, most, wer[level], "lower", "%", why.get(name))
        for level, most in required.items()
        for name in [f"fsdd.{level}.wer"]
    ]
    publish("fsdd", rows, goals, "Connected digits (FSDD)")


def an4(why: dict[str, str]) -> None:
    """AN4 without a language model: dense, then dynamic sparsity from its weights."""
    rows = measured("an4-dense", "test")
    train("an4-ramp")
    rows += measured("an4-dsnn", "test")
    wer = {row["level"]: row["value"] for row in rows if row["metric"] == "wer"}
    relative = wer["small"] / wer["dense"]
    goals = [
        Goal("an4.dense.wer", 13.0, wer["dense"], "lower", "%", why.get("an4.dense.wer")),
        Goal("an4.small.relative", 1.10, relative, "lower", "", why.get("an4.small.relative")),
    ]
    publish("an4", rows, goals, "AN4, no language model")


def weights(why: dict[str, str]) -> None:
    """Every type of weights at every level: what rounding costs on the test sets of the other results."""
    rows, goals = [], []
    for recipe in ("fsdd-dsnn", "an4-dsnn"):
        before = measured(recipe, "test")
        rows += [{**row, "method": f"{recipe}, float32"} for row in before]
        for dtype in ("bf16", "int8"):
            after = measured(recipe, "test", dtype)
            rows += after
            name = f"weights.{dtype}.{recipe.split('-')[0]}.more_errors"
            goals.append(Goal(name, 2, more_errors(before, after), "lower", "", why.get(name)))
    publish("weights", rows, goals, "Weights in bfloat16 and int8")


def transducer(why: dict[str, str]) -> None:
    """Lines of games, by CTC and by a transducer, dense and at three levels: streamed, on half of dev, tune.

    The goal of level large is the word error rate of the first dense transducer, less 5 % of it; both goals
    are for greedy search with calibrated levels.
    """
    beam, switching = Decoding("beam", ("--decoder", "beam")), Decoding("", ("--switch-every", "0.5..2"))
    rows = [row for kind in ("ctc", "rnnt") for row in measured(f"games-{kind}-dense", "dev")]
    rows += [row for kind in ("ctc", "rnnt") for row in measured(f"games-{kind}", "dev", None, switching)]
    greedy = [row for row in rows if row["method"] == "games-rnnt" and row["level"] != "switching"]
    codes = measured("games-rnnt", "dev", "int8")
    rows += codes
    for run in ("games-rnnt-dense", "games-rnnt"):
        rows += measured(run, "dev", None, beam) + calibrated(run) + calibrated(run, beam)
    wer = {(row["method"], row["level"]): row["value"] for row in rows if row["metric"] == "wer"}
    large, small = (wer["games-rnnt, calibrated", level] for level in ("large", "small"))
    required = {
        "transducer.large.wer": (round(0.95 * FIRST_DENSE_WER, 2), large, "%"),
        "transducer.small.relative": (1.08, small / large, ""),
        "transducer.int8.more_errors": (0.01, more_errors(greedy, codes) / greedy[0]["words"], ""),
    }
    goals = [
        Goal(name, most, found, "lower", unit, why.get(name))
        for name, (most, found, unit) in required.items()
    ]
    publish("transducer", rows, goals, "Lines of games, 5 hours of training")


def an4_methods(why: dict[str, str]) -> None:
    """Every method of pruning on AN4, a few epochs each from one dense model: whether it gets as sparse."""
    train("an4-methods-dense")
    rows, goals = measured("an4-methods-dense", "dev"), []
    for method in (*METHODS, *LARGER_BLOCKS):
        run, recipe = run_of(method)
        own = [{**row, "method": f"an4-{method}"} for row in measured(run, "dev", recipe=recipe)]
        reached = ModelFile.open(RUNS / run / "model.sparrot").level("pruned").sparsity["lstm"]
        rows += [
            *own,
            {**own[0], "metric": "sparsity of LSTM", "value": round(100 * reached, 2), "unit": "%"},
        ]
        if method in METHODS:
            name, most, off = f"methods.sparsity.{method}", METHODS[method][0], 100 * abs(reached - 0.8)
            goals.append(Goal(name, most, off, "lower", "points from 80 %", why.get(name)))
    publish("an4-methods", rows, goals)


def run_of(method: str) -> tuple[str, Recipe]:
    """The run of a method on AN4, and what makes it; the recipe as it stands is that of gradual pruning."""
    pruning = LARGER_BLOCKS[method] if method in LARGER_BLOCKS else METHODS[method][1]
    if not pruning:
        return "an4-methods", Recipe("an4-methods")
    return f"an4-{method}", Recipe("an4-methods", (f"pruning={pruning}",))


def an4_lm(why: dict[str, str]) -> None:
    """AN4 with a recurrent language model of its training texts, guiding the beam search and rescoring it."""
    train("an4-words")
    lm = ("--decoder", "beam", "--lm", str(RUNS / "an4-words"))
    decodings = [
        Decoding("beam", ("--decoder", "beam")),
        Decoding("first pass", lm),
        Decoding("second pass", (*lm, "--lm-pass", "second")),
    ]
    heard: dict[str, Recipe | None] = {"an4-methods-dense": None, **dict([run_of("iterative")])}
    rows = [
        row
        for run, recipe in heard.items()
        for decoding in decodings
        for row in measured(run, "dev", None, decoding, recipe)
    ]
    publish("an4-lm", rows, [])


def ptb(why: dict[str, str]) -> None:
    """The small language model of Zaremba et al. 2014 on Penn Treebank, dense and pruned in blocks."""
    rows = [
        row for run in ("ptb-small", "ptb-small-bp") for on in ("valid", "test") for row in foretold(run, on)
    ]
    found = {(row["method"], row["set"]): row["value"] for row in rows}
    dropped = ModelFile.open(RUNS / "ptb-small-bp" / "model.sparrot").levels[0].overall_sparsity
    required = {
        "ptb.dense.valid": (121.4 * 1.02, found["ptb-small", "valid"], ""),
        "ptb.dense.test": (115.9 * 1.02, found["ptb-small", "test"], ""),
        "ptb.pruned.sparsity": (2.0, 100 * abs(dropped - 0.65), "points from 65 %"),
    }
    goals = [
        Goal(name, round(most, 1), found, "lower", unit, why.get(name))
        for name, (most, found, unit) in required.items()
    ]
    publish("ptb", rows, goals)


def foretold(run: str, on: str) -> list[dict[str, Any]]:
    """The perplexity of every level of a language model on a text; trains it first unless it is complete."""
    model = train(run)
    kept = RESULTS / "decoded" / f"{run}-{on}.json"
    if not kept.exists():  # a test text is read once
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as file:
            file.write(sparrot("lm", "eval", str(RUNS / run), "--on", on, "--json").encode())
    shared = described(run, on, model)
    return [
        {
            **shared,
            "level": level["level"],
            "sparsity": round(model.level(level["level"]).overall_sparsity, 4),
            "parameters": level["parameters"],
            "bytes": level["bytes"],
            "words": level["words"],
            "spread": None,
            "published": {"valid": 121.4, "test": 115.9}[on] if run == "ptb-small" else None,
            "metric": "perplexity",
            "value": round(level["perplexity"], 2),
            "unit": "",
        }
        for level in json.loads(kept.read_text())["levels"]
    ]


# How far from 80 % of the LSTM layers a method may end, in points, and what replaces the recipe's `pruning`.
# Of a threshold, `sparsity` is the share of the dense model's weights under it; the strength of a penalty was
# found by trying. Every method ends its ramp at 60 % of the steps, and renews masks every 10.
_SCHEDULE = "end: 0.6, every: 10, exclude: [layers.output.*]"
_ALONE = "method: penalty, sparsity: {lstm: 0, fc: 0}, every: 10, exclude: [layers.output.*]"
_ALL = "sparsity: {lstm: 0.8, fc: 0.8}"
_WP = f"method: threshold, {_ALL}, {_SCHEDULE}"
_BP = "method: threshold, sparsity: {lstm: %s, fc: %s}, block: %s, " + _SCHEDULE
METHODS: dict[str, tuple[float, str]] = {
    "gradual": (0.001, ""),
    "hard": (
        0.001,
        f"{{method: at_once, {_ALL}, begin: 0.05, every: 10, scope: type, exclude: [layers.output.*]}}",
    ),
    "iterative": (0.001, f"{{method: rounds, {_ALL}, begin: 0.05, {_SCHEDULE}, scope: type}}"),
    "wp": (2.0, f"{{{_WP}}}"),
    "bp": (2.0, f"{{{_BP % (0.838, 0.75, '4x4')}}}"),
    "glp": (
        2.0,
        f"{{{_BP % (0.822, 0.75, '4x4')}, penalty: group_lasso, strength: 0.1, penalise: until_end}}",
    ),
    "l1": (2.0, f"{{{_ALONE}, penalty: l1, strength: 0.66}}"),
    "l1wp": (2.0, f"{{{_WP}, penalty: l1, strength: 0.02}}"),
    "lhalf": (2.0, f"{{{_ALONE}, penalty: l_half, strength: 0.21}}"),
    "lhalfwp": (2.0, f"{{{_WP}, penalty: l_half, strength: 0.005}}"),
    "gl": (2.0, f"{{{_ALONE}, block: 4x4, penalty: group_lasso, strength: 2.4}}"),
}
# The same in larger blocks, for the figures over block sizes.
LARGER_BLOCKS = {
    f"bp-{block}": f"{{{_BP % (*shares, block)}}}"
    for block, shares in {
        "8x8": (0.783, 0.5),
        "12x2": (0.82, 0.7),
        "16x16": (0.703, 0.5),
        "32x32": (0.606, 0.42),
    }.items()
}

MEASURED = {
    "fsdd": fsdd,
    "an4": an4,
    "weights": weights,
    "transducer": transducer,
    "an4-methods": an4_methods,
    "an4-lm": an4_lm,
    "ptb": ptb,
}


def more_errors(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> int:
    """Word errors that the second model makes more than the first, at the level where it is worst."""
    errors = [
        [round(row["value"] / 100 * row["words"]) for row in rows if row["metric"] == "wer"]
        for rows in (before, after)
    ]
    return max(new - old for old, new in zip(*errors, strict=True))


def publish(name: str, rows: list[dict[str, Any]], goals: list[Goal], title: str | None = None) -> None:
    """Writes result.json, and the figure of the levels under its title, if it is given one."""
    command = f"python recipes/results.py {name}"
    seeds = sorted({row["seed"] for row in rows})
    Result(command, seeds, rows, goals).write(RESULTS / name / "result.json")
    if title is not None:
        draw_levels(rows, title, RESULTS / name / "levels.png")


if __name__ == "__main__":
    main()
