"""The recipes at full size train on real speech that is laid out as LibriSpeech is."""

import json
import shutil
from pathlib import Path

import pytest

from sparrot.corpora import librispeech
from sparrot.corpora.manifest import read_manifest
from sparrot.model_file import ModelFile
from sparrot.nn.presets import PRESETS
from sparrot.train.export import export
from sparrot.train.loop import Trainer
from sparrot.train.recipe import load_config

ROOT = Path(__file__).parents[2]
CLIPS = ROOT / "tests" / "recordings" / "ljspeech" / "manifest.jsonl"
SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other")
NAMES = ("rnnt-122m", "deepspeech-122m")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """LJ Speech in the layout of LibriSpeech, prepared; one clip in each set but the first training set."""
    base = tmp_path_factory.mktemp("librispeech")
    clips = read_manifest(CLIPS)
    for i, subset in enumerate(SUBSETS):
        chapter = base / "LibriSpeech" / subset / "1" / str(i)
        chapter.mkdir(parents=True)
        lines = []
        for number, clip in enumerate(clips[4:] if i == 0 else clips[i - 1 : i]):
            name = f"1-{i}-{number:04d}"
            shutil.copy(clip.audio_path, chapter / f"{name}.flac")
            lines.append(f"{name} {clip.text.upper()}\n")
        (chapter / f"1-{i}.trans.txt").write_text("".join(lines))
    librispeech.prepare(base / "LibriSpeech", base / "manifests")
    return base / "manifests"


def config_of(name: str, corpus: Path, *overrides: str):
    """The recipe, its manifests those of `corpus`."""
    given = load_config(ROOT / "recipes" / f"librispeech-{name}.yaml")
    moved = {
        key: json.dumps([str(corpus / Path(path).name) for path in getattr(given.data, key)])
        for key in ("train", "dev")
    }
    return load_config(
        ROOT / "recipes" / f"librispeech-{name}.yaml",
        [f"data.{key}={value}" for key, value in moved.items()] + list(overrides),
    )


@pytest.mark.parametrize("name", [*NAMES, "ds2-birnn-67m", "ds2-gru-115m"])
def test_a_recipe_has_the_sizes_of_its_preset(name):
    config = load_config(ROOT / "recipes" / f"librispeech-{name}.yaml")
    preset = PRESETS[name]
    assert config.features.input_width == preset.input_width
    for part in ("front", "encoder", "predictor"):
        assert getattr(config, part) == getattr(preset, part)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_three_updates_at_full_size(name, corpus, tmp_path):
    texts = ROOT / "tests" / "texts" / "war-and-peace.txt"
    pieces = [f"tokens.texts=[{texts}]"] if name == "rnnt-122m" else []
    # Four utterances of five seconds an update; from the first one on every level drops what it will.
    steps = ["data.batch_seconds=24", "sparsity.begin=0", "sparsity.initial=1.0", "sparsity.mask_every=1"]
    config = config_of(name, corpus, *pieces, *steps, "sparsity.end=0.02", "training.epochs=25")
    trainer = Trainer.new(config, tmp_path / "run")
    losses = [trainer.update(batch).losses for batch in list(trainer.data.batches(0))[:3]]
    assert len(losses) == 3
    assert list(losses[-1]) == ["large", "medium", "small"]
    trainer.save(tmp_path / "run" / "last.pt")
    export(tmp_path / "run" / "last.pt", tmp_path / "m.sparrot")
    large, medium, small = (level.parameters for level in ModelFile.open(tmp_path / "m.sparrot").levels)
    assert [large, medium, small] == pytest.approx([122.2e6, 39.6e6, 14.6e6], rel=0.01 if pieces else 0.5)
