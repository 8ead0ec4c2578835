"""The networks of the papers at full size: an update on real speech or text, the file, and the engine.

    python benchmarks/full_size.py --json

The recipes `librispeech-*`, each on four clips of five seconds, and `ptb-large` on a book with 10,000 words:
the time of an update on one thread (a pass a level, the step of the optimiser and the masks); the peak memory
of the process that trains; parameters and bytes of every level in the exported file; and the engine's time
for a second of the same speech, on one thread too. The weights have seen a few updates: what is measured is
what they cost. Networks that are pruned for good are 90 % sparse from the first update on, in 4×4 blocks; the
model of words is 65 % sparse.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options

ROOT = Path(__file__).parents[1]
CLIPS = ROOT / "tests" / "recordings" / "ljspeech" / "manifest.jsonl"
TEXTS = ROOT / "tests" / "texts" / "war-and-peace.txt"
PUBLISHED = {
    "rnnt-122m": {"large": 122.2e6, "medium": 39.6e6, "small": 14.6e6},
    "deepspeech-122m": {"large": 122.7e6},
}
PRUNED = {"ds2-birnn-67m": "rnn", "ds2-gru-115m": "gru"}
WORDS = "ptb-lstm-1500"
N_CLIPS = 4
TOLERANCE = 0.01  # of the published numbers of parameters


def main() -> None:
    """Measures, then prints one JSON object or one line a figure. `--train` is for its own use."""
    if sys.argv[1:2] == ["--train"]:
        name, folder, rounds = sys.argv[2:]
        train(name, Path(folder), int(rounds))
        return
    given, why = benchmark_options(__doc__ or "", 3)
    rows: list[dict[str, Any]] = []
    goals = []
    for name in (*PUBLISHED, *PRUNED, WORDS):
        with tempfile.TemporaryDirectory() as folder:
            own = list(measured(name, Path(folder), given.rounds))
        rows += own
        for level, parameters in PUBLISHED.get(name, {}).items():
            counted = next(r["value"] for r in own if r["level"] == level and r["metric"] == "parameters")
            goal = f"full_size.{name}.{level}"
            off = abs(counted / parameters - 1)
            reason = None if off <= TOLERANCE else why.get(goal, UNEXPLAINED)
            goals.append(Goal(goal, 100 * TOLERANCE, 100 * off, "lower", "%", reason))
    result = Result(f"python benchmarks/full_size.py --rounds {given.rounds}", [1], rows, goals)
    print(result.shown(as_json=given.json))


def measured(name: str, folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """The rows of one network."""
    tell(f"training {name}: a few minutes")
    command = [sys.executable, __file__, "--train", name, str(folder), str(rounds)]
    trained = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    yield row(name, "all", "update", trained["update_s"], "s", **trained["of"])
    yield row(name, "all", "peak_memory", trained["peak_bytes"] / 2**30, "GiB")
    yield from in_engine(name, folder / "model.sparrot")


def train(name: str, folder: Path, rounds: int) -> None:
    """Makes some updates, exports, and prints what they cost."""
    if name == WORDS:
        train_words(folder, rounds)
        return
    warnings.filterwarnings("ignore", "LSTM with projections")
    from sparrot.train.environment import prepare_process

    prepare_process()
    from sparrot.corpora.manifest import read_manifest, write_manifest
    from sparrot.train.export import export
    from sparrot.train.loop import Trainer
    from sparrot.train.recipe import load_config

    clips = read_manifest(CLIPS)[:N_CLIPS]
    write_manifest(folder / "clips.jsonl", clips)
    overrides = [f"data.{split}=[{folder / 'clips.jsonl'}]" for split in ("train", "dev")]
    overrides += ["data.batch_seconds=30", "augment.speed=[1.0]", f"training.epochs={100 * (rounds + 1)}"]
    # Every level drops what it will from the first update on.
    if name in PRUNED:
        overrides.append(f"pruning={pruning({PRUNED[name]: 0.9, 'fc': 0.9}, '[layers.output.*]')}")
    else:
        overrides += ["sparsity.begin=0", "sparsity.initial=1.0", "sparsity.end=0.01"]
        overrides.append("sparsity.mask_every=1")
    if name == "rnnt-122m":
        overrides.append(f"tokens.texts=[{TEXTS}]")  # four texts have no 4096 pieces
    config = load_config(ROOT / "recipes" / f"librispeech-{name}.yaml", overrides)
    trainer = Trainer.new(config, folder / "run")
    (batch,) = trainer.data.batches(0)
    audio = sum(clip.duration for clip in clips)
    levels = tell_costs(lambda: list(trainer.update(batch).losses), rounds, {"audio_s": audio})
    assert levels == (["pruned"] if name in PRUNED else ["large", "medium", "small"])
    trainer.save(folder / "run" / "last.pt")
    export(folder / "run" / "last.pt", folder / "model.sparrot")


def train_words(folder: Path, rounds: int) -> None:
    """The same of the model of words."""
    from sparrot.lm.config import LmConfig
    from sparrot.lm.export import export_lm
    from sparrot.lm.text import windows
    from sparrot.lm.trainer import LmTrainer
    from sparrot.train.recipe import load_as

    (folder / "text.txt").write_text(TEXTS.read_text("utf-8").lower(), "utf-8")
    overrides = [f"data={{train: {folder / 'text.txt'}, valid: {folder / 'text.txt'}, vocabulary: 10000}}"]
    overrides.append(f"pruning={pruning(dict.fromkeys(('embedding', 'lstm', 'fc'), 0.65), '[]')}")
    config = load_as(LmConfig, ROOT / "recipes" / "ptb-large.yaml", overrides)
    trainer = LmTrainer.new(config, folder / "run")
    trainer.network.train()
    given, following = next(windows(trainer.train, config.steps))
    levels = tell_costs(lambda: list(trainer.update(given, following)), rounds, {"words": following.numel()})
    assert levels == ["pruned"]
    trainer.save("last.pt")
    export_lm(folder / "run" / "last.pt", folder / "model.sparrot")


def pruning(sparsity: dict[str, float], exclude: str) -> str:
    """The section of a recipe that drops so much at the first update."""
    shares = ", ".join(f"{kind}: {share}" for kind, share in sparsity.items())
    return f"{{method: at_once, sparsity: {{{shares}}}, block: 4x4, begin: 0, exclude: {exclude}}}"


def tell_costs(update: Callable[[], list[str]], rounds: int, of: dict[str, float]) -> list[str]:
    """Prints what an update costs, the least of several after one that warms up; returns its levels."""
    levels, seconds = update(), []
    for _ in range(rounds):
        begin = time.perf_counter()
        levels = update()
        seconds.append(time.perf_counter() - begin)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"update_s": min(seconds), "of": of, "peak_bytes": peak}))
    return levels


def in_engine(name: str, path: Path) -> Iterator[dict[str, Any]]:
    """What every level of a file holds and takes."""
    from sparrot.corpora.manifest import read_manifest
    from sparrot.engine import Recognizer, set_threads
    from sparrot.model_file import ModelFile

    set_threads(1)
    model = ModelFile.open(path)
    for level in model.levels:
        yield row(name, level.name, "parameters", level.parameters, "")
        yield row(name, level.name, "bytes", model.level_bytes(level.name), "")
    if name == WORDS:
        return
    recognizer = Recognizer(model)
    clips = read_manifest(CLIPS)[:N_CLIPS]
    for level in model.levels:
        tell(f"{name}, {level.name}")
        recognizer.prepare(level.name)
        begin = time.perf_counter()
        for clip in clips:
            recognizer.transcribe(clip.audio_path, level=level.name)
        taken = time.perf_counter() - begin
        yield row(name, level.name, "real_time_factor", taken / sum(clip.duration for clip in clips), "")


def row(name: str, level: str, metric: str, value: float, unit: str, **others: Any) -> dict[str, Any]:
    """A row of the result."""
    heard = "book" if name == WORDS else "ljspeech"
    own = {"method": name, "set": heard, "level": level, "metric": metric, "value": value, "unit": unit}
    return own | others


def tell(what: str) -> None:
    """Says what goes on."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
