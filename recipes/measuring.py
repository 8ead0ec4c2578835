"""A run trained from its recipe, and its rows of figures: what recipes/results.py makes all results of."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparrot.atomic import atomic_write
from sparrot.corpora.manifest import write_manifest
from sparrot.corpora.sources import read_sources
from sparrot.lm.config import LmConfig
from sparrot.metrics import count_errors, total
from sparrot.model_file import LevelDescription, ModelFile
from sparrot.train.config import Config
from sparrot.train.recipe import load_as, parse_as

RUNS, RESULTS = Path("runs"), Path("results")


@dataclass(frozen=True)
class Recipe:
    """A recipe with keys overridden, `section.key=value`."""

    name: str
    overrides: tuple[str, ...] = ()


def train(run: str, recipe: Recipe | None = None) -> ModelFile:
    """The model of a run, trained unless it is complete; the recipe is that of its name if none is given.

    Raises ValueError if the run is not of the recipe as it is now.
    """
    recipe = recipe or Recipe(run)
    folder, path = RUNS / run, Path(f"recipes/{recipe.name}.yaml")
    if not (folder / "model.sparrot").exists():
        resume = ["--resume"] if (folder / "last.pt").exists() else []
        changes = [part for override in recipe.overrides for part in ("--set", override)]
        verb = ("lm", "train") if is_of_words(path) else ("train",)
        sparrot(*verb, str(path), "--out", str(folder), *changes, *resume)
    model = ModelFile.open(folder / "model.sparrot")
    kind: type[LmConfig] | type[Config] = LmConfig if is_of_words(path) else Config
    given = load_as(kind, path, recipe.overrides)
    if parse_as(kind, model.description.configuration, f"of {folder}") != given:
        raise ValueError(
            f"the run {folder} was not made by {path} as it is now; move it away, or bring the recipe back"
        )
    return model


def is_of_words(recipe: Path) -> bool:
    """Whether a recipe is one of `sparrot lm train`, as its head says."""
    return "sparrot lm train" in recipe.read_text(encoding="utf-8").partition("\nname: ")[0]


@dataclass(frozen=True)
class Decoding:
    """What `sparrot eval` is told beside the set; `name` tells it from others of the same recipe."""

    name: str = ""
    options: tuple[str, ...] = ()


GREEDY = Decoding()


def measured(
    run: str,
    on: str,
    dtype: str | None = None,
    decoding: Decoding = GREEDY,
    recipe: Recipe | None = None,
) -> list[dict[str, Any]]:
    """Rows of one run on a test set; trains it first unless it is complete.

    dtype: of the weights, bf16 or int8, exported with the errors on dev in view; None is float32 as trained.
    """
    model = train(run, recipe)
    names = [part for part in (run, dtype, decoding.name) if part]
    name = "-".join(names).replace(" ", "-")
    kept = RESULTS / "decoded" / f"{name}-{on}.json"
    if not kept.exists():  # a test set is decoded once
        kept.parent.mkdir(parents=True, exist_ok=True)
        source = RUNS / run
        if dtype is not None:
            source = RUNS / run / f"{dtype}.sparrot"
            whole = str(RUNS / run / "model.sparrot")
            sparrot("export", whole, "--weights", dtype, "--output", str(source))
        hypotheses = str(kept.with_suffix(".jsonl"))
        options = [*decoding.options, *([] if decoding.name else ["--write"])]
        found = sparrot("eval", str(source), "--on", on, "--json", "--hypotheses", hypotheses, *options)
        with atomic_write(kept) as file:
            file.write(found.encode())
    told = json.loads(kept.read_text())
    shared = described(run, on, model) | {"method": ", ".join(names)}
    levels = told["levels"]
    rows = rows_of_levels(shared, levels, model)
    if "switching" in told:
        of_no_level = {"level": "switching", "parameters": None, "bytes": None}
        switched = level_rows(shared, {**levels[0], **told["switching"]}, None)
        rows += [{**row, **of_no_level} for row in switched]
    return rows


def described(run: str, on: str, model: ModelFile) -> dict[str, Any]:
    """What every row of a run on a set says."""
    return {
        "method": run,
        "set": on,
        "seed": model.description.configuration["seed"],
        "model_commit": model.description.provenance["commit"],
        "training_minutes": minutes(RUNS / run),
    }


def calibrated(run: str, decoding: Decoding = GREEDY) -> list[dict[str, Any]]:
    """Rows of one run on dev, each half of it decoded with what the other half calibrated.

    So no utterance has a say in what decodes it. A half is every other utterance.
    """
    model = train(run)
    names = [part for part in (run, "calibrated", decoding.name) if part]
    kept = RESULTS / "decoded" / f"{'-'.join(names)}-dev.json"
    if not kept.exists():
        heard = _heard_crosswise(run, decoding)
        told = {"levels": [_told(level, model, heard) for level in model.levels]}
        lines = [json.dumps(hypothesis, ensure_ascii=False) + "\n" for hypothesis in heard]
        for path, text in ((kept.with_suffix(".jsonl"), "".join(lines)), (kept, json.dumps(told, indent=2))):
            with atomic_write(path) as file:
                file.write(text.encode())
    shared = described(run, "dev", model) | {"method": ", ".join(names)}
    return rows_of_levels(shared, json.loads(kept.read_text())["levels"], model)


def _heard_crosswise(run: str, decoding: Decoding) -> list[dict[str, Any]]:
    """What each half of dev is recognised as with the other's calibration, as `eval --hypotheses` says."""
    config = load_as(Config, Path(f"recipes/{run}.yaml"), ())
    dev = read_sources(config.data.dev)
    halves = [RUNS / run / f"dev-{half}.jsonl" for half in ("even", "odd")]
    copy, heard = RUNS / run / "calibrated.sparrot", RUNS / run / "heard.jsonl"
    for half, manifest in enumerate(halves):
        write_manifest(manifest, dev[half::2])
    found: list[dict[str, Any]] = []
    for own, other in (halves, halves[::-1]):
        shutil.copy(RUNS / run / "model.sparrot", copy)
        sparrot("calibrate", str(copy), "--on", str(other), *decoding.options)
        sparrot("eval", str(copy), "--on", str(own), "--hypotheses", str(heard), *decoding.options)
        found += [json.loads(line) for line in heard.read_text(encoding="utf-8").splitlines()]
    return found


def _told(level: LevelDescription, model: ModelFile, heard: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `eval --json` says of a level, but for its speed."""
    of_level = [h for h in heard if h["level"] == level.name]
    counts = total([count_errors(h["reference"], h["hypothesis"]) for h in of_level])
    return {
        "level": level.name,
        "wer": counts.wer,
        "cer": counts.cer,
        "words": counts.words,
        "parameters": level.parameters,
        "bytes": model.level_bytes(level.name),
    }


def rows_of_levels(
    shared: dict[str, Any], levels: Sequence[dict[str, Any]], model: ModelFile
) -> list[dict[str, Any]]:
    """A row a metric for every level."""
    dropped = {level.name: level.overall_sparsity for level in model.levels}
    return [row for level in levels for row in level_rows(shared, level, dropped[level["level"]])]


def level_rows(shared: dict[str, Any], level: dict[str, Any], sparsity: float | None) -> list[dict[str, Any]]:
    """A row a metric for one level, which drops the share `sparsity` of all parameters."""
    described = {
        **shared,
        "level": level["level"],
        "sparsity": None if sparsity is None else round(sparsity, 4),
        "parameters": level["parameters"],
        "bytes": level["bytes"],
        "words": level["words"],
        "spread": None,
        "published": None,
    }
    figures = {"wer": (100 * level["wer"], "%"), "cer": (100 * level["cer"], "%")}
    if "rtf" in level:
        figures["rtf"] = (level["rtf"], "")
    return [
        {**described, "metric": m, "value": round(v, 4), "unit": unit} for m, (v, unit) in figures.items()
    ]


def minutes(folder: Path) -> float:
    """Wall time of a run, from its record."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return float(next(row["minutes"] for row in reversed(rows) if row["event"] in ("dev", "valid")))


def sparrot(*arguments: str) -> str:
    """What `sparrot ARGUMENTS` prints; its progress goes to the terminal."""
    command = [sys.executable, "-m", "sparrot", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
