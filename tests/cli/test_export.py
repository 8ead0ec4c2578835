import errno

import numpy as np
import pytest

from sparrot.audio import Waveform
from sparrot.cli.main import run
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.manifest import read_manifest
from sparrot.engine import Recognizer
from sparrot.model_file import ModelFile
from train import tiny


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tiny.trained_run(tmp_path_factory.getbasetemp())


def told(capsys) -> str:
    """What was printed on stderr, a single line."""
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


def transcripts(path, level: str, run_folder) -> list[dict]:
    """What the recordings of dev are recognised as, with times and confidences."""
    recognizer = Recognizer.load(path, level=level)
    dev = read_manifest(run_folder.parent / "tiny-corpus" / "dev.jsonl")
    waves = [Waveform(load_waveform(utterance, 8000), 8000) for utterance in dev]
    return [recognizer.transcribe(wave).to_json() for wave in waves]


def test_a_run_becomes_a_model_file(run_folder, tmp_path, capsys):
    out = tmp_path / "out.sparrot"
    assert run(["export", str(run_folder), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes() == (run_folder / "model.sparrot").read_bytes()


def test_a_run_keeps_its_model(run_folder, tmp_path, capsys):
    (tmp_path / "best.pt").write_bytes((run_folder / "best.pt").read_bytes())
    assert run(["export", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'model.sparrot'}\n"
    assert (tmp_path / "model.sparrot").read_bytes() == (run_folder / "model.sparrot").read_bytes()


def test_a_checkpoint_is_exported_beside_itself(run_folder, tmp_path, capsys):
    (tmp_path / "some.pt").write_bytes((run_folder / "best.pt").read_bytes())
    assert run(["export", str(tmp_path / "some.pt")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'model.sparrot'}\n"
    assert (tmp_path / "model.sparrot").read_bytes() == (run_folder / "model.sparrot").read_bytes()


@pytest.mark.parametrize("source", ["run", "model"])
def test_a_cut_model_transcribes_like_the_whole(run_folder, tmp_path, source):
    out = tmp_path / "small.sparrot"
    given = run_folder if source == "run" else run_folder / "model.sparrot"
    assert run(["export", str(given), "--max-level", "small", "--output", str(out)]) == 0
    assert list(tmp_path.iterdir()) == [out]
    cut, whole = ModelFile.open(out), ModelFile.open(run_folder / "model.sparrot")
    assert [level.name for level in cut.levels] == ["small"]
    assert out.stat().st_size < (run_folder / "model.sparrot").stat().st_size
    np.testing.assert_equal(dict(cut.parameters("small")), dict(whole.parameters("small")))
    heard = transcripts(out, "small", run_folder)
    assert heard == transcripts(run_folder / "model.sparrot", "small", run_folder)
    assert len({transcript["text"] for transcript in heard}) > 2


def test_a_model_is_cut_in_its_own_place(run_folder, tmp_path):
    path = tmp_path / "model.sparrot"
    path.write_bytes((run_folder / "model.sparrot").read_bytes())
    assert run(["export", str(path), "--max-level", "small", "-o", str(path)]) == 0
    assert [level.name for level in ModelFile.open(path).levels] == ["small"]


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("run", ["--max-level", "smal"], "no level `smal`: there are large, small. Did you mean `small`?"),
        ("model", ["--max-level", "smal"], "Did you mean `small`? `sparrot inspect"),
        ("model", [], "is a model file already: to cut it down, name --max-level and --output"),
        ("empty", [], "there is no checkpoint"),
        ("none.pt", [], "there is no checkpoint"),
        ("bad.pt", [], "is damaged, or no checkpoint"),
        ("none.sparrot", [], "none.sparrot: no such file or directory"),
        ("none.sparrot", ["--max-level", "small"], "none.sparrot: no such file or directory"),
    ],
)
def test_bad_input_leaves_nothing(run_folder, tmp_path, capsys, source, options, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    places = {"run": run_folder, "model": run_folder / "model.sparrot"}
    before = sorted(tmp_path.rglob("*"))
    given = places.get(source, tmp_path / source)
    assert run(["export", str(given), "-o", str(tmp_path / "out.sparrot"), *options]) == 2
    assert said in told(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_to_cut_a_model_an_output_is_needed(run_folder, capsys):
    before = (run_folder / "model.sparrot").read_bytes()
    assert run(["export", str(run_folder / "model.sparrot"), "--max-level", "small"]) == 2
    assert "name --max-level and --output" in told(capsys)
    assert (run_folder / "model.sparrot").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "n_written"), [([], 0), (["--max-level", "small"], 0), (["--max-level", "small"], 1)]
)
def test_a_full_disk_leaves_nothing_half_written(
    run_folder, tmp_path, capsys, monkeypatch, options, n_written
):
    """The disk takes `n_written` files and no more."""
    out, left = tmp_path / "out.sparrot", [2 * n_written]  # a file and its folder are synced
    out.write_bytes(b"what was there")

    def sync(_):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", sync)
    assert run(["export", str(run_folder), "-o", str(out), *options]) == 2
    assert told(capsys).endswith("out.sparrot: no space left on device\n")
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_bytes() == b"what was there"
