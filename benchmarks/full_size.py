"""The networks of the papers at full size: an update of all levels on real speech, the file, and the engine.

    python benchmarks/full_size.py --json

The recipes `librispeech-rnnt-122m` and `librispeech-deepspeech-122m`, each on four clips of five seconds: the
time of an update (one pass a level, the optimiser's step and the masks) on as many threads as torch takes;
the peak memory of the process that trains; parameters and bytes of every level in the exported file; and the
engine's time for a second of the same speech on one thread. The weights have seen a few updates: what is
measured is what they cost.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
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
    for name, published in PUBLISHED.items():
        with tempfile.TemporaryDirectory() as folder:
            own = list(measured(name, Path(folder), given.rounds))
        rows += own
        for level, parameters in published.items():
            counted = next(r["value"] for r in own if r["level"] == level and r["metric"] == "parameters")
            goal = f"full_size.{name}.{level}"
            off = abs(counted / parameters - 1)
            reason = None if off <= TOLERANCE else why.get(goal, UNEXPLAINED)
            goals.append(Goal(goal, 100 * TOLERANCE, 100 * off, "lower", "%", reason))
    result = Result("python benchmarks/full_size.py", [1], rows, goals)
    print(result.shown(as_json=given.json))


def measured(name: str, folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """The rows of one network."""
    tell(f"training {name}: a few minutes")
    command = [sys.executable, __file__, "--train", name, str(folder), str(rounds)]
    trained = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    yield row(name, "all", "update", trained["update_s"], "s", audio_s=trained["audio_s"])
    yield row(name, "all", "peak_memory", trained["peak_bytes"] / 2**30, "GiB")
    yield from in_engine(name, folder / "model.sparrot")


def train(name: str, folder: Path, rounds: int) -> None:
    """Makes some updates, exports, and prints what they cost."""
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
    overrides += ["sparsity.begin=0", "sparsity.initial=1.0", "sparsity.end=0.01", "sparsity.mask_every=1"]
    if name == "rnnt-122m":
        overrides.append(f"tokens.texts=[{TEXTS}]")  # four texts have no 4096 pieces
    config = load_config(ROOT / "recipes" / f"librispeech-{name}.yaml", overrides)
    trainer = Trainer.new(config, folder / "run")
    (batch,) = trainer.data.batches(0)
    seconds = []
    for _ in range(rounds + 1):  # the first one warms up, and has no masks yet
        begin = time.perf_counter()
        update = trainer.update(batch)
        seconds.append(time.perf_counter() - begin)
    assert list(update.losses) == ["large", "medium", "small"]
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.save(folder / "run" / "last.pt")
    export(folder / "run" / "last.pt", folder / "model.sparrot")
    audio = sum(clip.duration for clip in clips)
    print(json.dumps({"update_s": min(seconds[1:]), "audio_s": audio, "peak_bytes": peak}))


def in_engine(name: str, path: Path) -> Iterator[dict[str, Any]]:
    """What every level of a file holds and takes."""
    from sparrot.corpora.manifest import read_manifest
    from sparrot.engine import Recognizer, set_threads
    from sparrot.model_file import ModelFile

    set_threads(1)
    model = ModelFile.open(path)
    recognizer = Recognizer(model)
    clips = read_manifest(CLIPS)[:N_CLIPS]
    for level in model.levels:
        tell(f"{name}, {level.name}")
        recognizer.prepare(level.name)
        begin = time.perf_counter()
        for clip in clips:
            recognizer.transcribe(clip.audio_path, level=level.name)
        taken = time.perf_counter() - begin
        yield row(name, level.name, "parameters", level.parameters, "")
        yield row(name, level.name, "bytes", model.level_bytes(level.name), "")
        yield row(name, level.name, "real_time_factor", taken / sum(clip.duration for clip in clips), "")


def row(name: str, level: str, metric: str, value: float, unit: str, **others: Any) -> dict[str, Any]:
    """A row of the result."""
    own = {"method": name, "set": "ljspeech", "level": level, "metric": metric, "value": value, "unit": unit}
    return own | others


def tell(what: str) -> None:
    """Says what goes on."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
