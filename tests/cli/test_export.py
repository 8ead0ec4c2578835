import errno
import json

import numpy as np
import pytest

from sparrot.architecture import Architecture, Linear, Recurrent, SharedRnn
from sparrot.audio import Waveform
from sparrot.cli.main import run
from sparrot.cli.weights import costs_too_much, first_inputs
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.manifest import read_manifest
from sparrot.engine import Recognizer
from sparrot.metrics import ErrorCounts
from sparrot.model_file import ModelFile, convert
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


@pytest.mark.parametrize("options", [[], ["--weights", "int8"]])
def test_stops_between_the_levels(run_folder, tmp_path, capsys, monkeypatch, options):
    monkeypatch.setattr("sparrot.model_file.stop_plan.LEAST_COLUMNS", 1)
    out = tmp_path / "out.sparrot"
    assert run(["export", str(run_folder), "-o", str(out), "--stops", "5", *options]) == 0
    printed = capsys.readouterr()
    assert (printed.out, "stops" in printed.err) == (f"{out}\n", False)
    file, plain = ModelFile.open(out), ModelFile.open(run_folder / "model.sparrot")
    assert [level.stop for level in file.levels] == [4, 0]
    if not options:
        np.testing.assert_equal(file.parameters("small"), plain.parameters("small"))
    sparsities = [stop.overall_sparsity for stop in file.stops]
    assert sparsities == sorted(set(sparsities), reverse=True)
    middle = file.level(sparsities[2]).name
    heard = transcripts(out, middle, run_folder)
    assert len({transcript["text"] for transcript in heard}) > 2
    assert {word["level"] for t in heard for s in t["segments"] for word in s["words"]} == {middle}
    assert run(["eval", str(out), "--levels", middle, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["levels"][0]
    assert (row["level"], row["bytes"]) == (middle, file.level_bytes(middle))


def test_fewer_stops_than_were_asked_for_are_told(run_folder, tmp_path, capsys):
    assert run(["export", str(run_folder), "-o", str(tmp_path / "out"), "--stops", "32"]) == 0
    assert told(capsys) == "2 stops: with more of them, segments would be too thin to run fast\n"
    assert (tmp_path / "out").read_bytes() == (run_folder / "model.sparrot").read_bytes()


def measured_by_eval(path, capsys) -> dict:
    capsys.readouterr()
    assert run(["eval", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["levels"]
    return {row["level"]: {key: row[key] for key in ("wer", "cer", "words")} for row in rows}


@pytest.mark.parametrize(("weights", "dtype"), [("bf16", "BF16"), ("int8", "I8")])
@pytest.mark.parametrize("source", ["run", "model"])
def test_other_weights_are_measured_and_kept_with_their_errors(
    run_folder, tmp_path, capsys, monkeypatch, source, weights, dtype
):
    monkeypatch.setattr("sparrot.cli.weights.TOLERATED_ERRORS", 1000)
    out, whole = tmp_path / "out.sparrot", run_folder / "model.sparrot"
    given = run_folder if source == "run" else whole
    assert run(["export", str(given), "--weights", weights, "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    for expected in (
        "WER on dev",
        "float32",
        weights,
        f"{whole.stat().st_size:,}",
        f"{out.stat().st_size:,}",
    ):
        assert expected in printed.err
    assert list(tmp_path.iterdir()) == [out]
    file = ModelFile.open(out)
    assert {stored.dtype for stored in file.matrices} == {dtype}
    convert(ModelFile.open(whole), tmp_path / "converted", {s.matrix.name: dtype for s in file.matrices})
    assert [stop.crc32 for stop in file.stops] == [
        s.crc32 for s in ModelFile.open(tmp_path / "converted").stops
    ]
    kept = {level.name: level.measured["dev"] for level in file.levels}
    assert kept == measured_by_eval(out, capsys)
    assert all(f"{accuracy['wer']:.2%}" in printed.err for accuracy in kept.values())


def test_the_first_input_matrix_stays_in_bfloat16_where_int8_costs_too_much(
    run_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sparrot.cli.weights.TOLERATED_ERRORS", -1000)
    monkeypatch.setattr("sparrot.cli.weights.TOLERATED_SHARE", -1000)
    out = tmp_path / "out.sparrot"
    assert run(["export", str(run_folder), "--weights", "int8", "-o", str(out)]) == 0
    dtypes = {stored.matrix.name: stored.dtype for stored in ModelFile.open(out).matrices}
    assert dtypes == {name: "BF16" if name == "lstm0.input" else "I8" for name in dtypes}
    assert "lstm0.input in bf16" in capsys.readouterr().err.replace("│", "").replace("\n", " ")


def errors(*counts: int) -> list[ErrorCounts]:
    return [ErrorCounts(words=1000, substitutions=n) for n in counts]


@pytest.mark.parametrize(
    ("before", "after", "is_too_much"),
    [
        ((10, 20), (12, 22), False),  # two words are no reason, whatever their share
        ((10, 20), (10, 23), True),
        ((300, 20), (303, 20), False),  # nor is 1 %
        ((300, 20), (304, 20), True),
        ((10, 20), (0, 0), False),
    ],
)
def test_what_int8_may_cost(before, after, is_too_much):
    assert costs_too_much(errors(*before), errors(*after)) is is_too_much


def test_the_input_matrices_of_the_first_recurrent_layer():
    layers = (Linear("in", 3), Recurrent("a", "gru", 2, bidirectional=True), Recurrent("b", "lstm", 2))
    assert first_inputs(Architecture(3, layers)) == ["a.input", "a.reverse.input"]
    assert first_inputs(Architecture(3, layers[:1])) == []
    assert first_inputs(Architecture(3, (SharedRnn("c", 4), *layers[1:]))) == ["c.input"]


def test_a_cut_model_in_int8_is_the_beginning_of_the_whole(run_folder, tmp_path):
    for name, options in (("whole", []), ("small", ["--max-level", "small"])):
        arguments = ["export", str(run_folder), "--weights", "int8", "-o", str(tmp_path / name)]
        assert run([*arguments, *options]) == 0
    whole, small = ModelFile.open(tmp_path / "whole"), ModelFile.open(tmp_path / "small")
    assert small.stops == whole.stops[:1]
    assert small.levels == whole.levels[1:]


def test_a_model_is_cut_in_its_own_place(run_folder, tmp_path):
    path = tmp_path / "model.sparrot"
    path.write_bytes((run_folder / "model.sparrot").read_bytes())
    assert run(["export", str(path), "--max-level", "small", "-o", str(path)]) == 0
    assert [level.name for level in ModelFile.open(path).levels] == ["small"]


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("run", ["--max-level", "smal"], "no level `smal`: there are large, small. Did you mean `small`?"),
        ("model", ["--max-level", "smal"], "Did you mean `small`? A number from 0"),
        ("model", [], "is a model file already: to cut it down, name --max-level and --output; to change"),
        ("model", ["--weights", "bf16", "--on", "none"], "there is no set `none`"),
        ("model", ["--weights", "bf16", "--max-level", "smal"], "Did you mean `small`?"),
        ("run", ["--weights", "int8", "--max-level", "smal"], "Did you mean `small`?"),
        ("model", ["--stops", "4"], "is a model file already: stops are made of a run, so name that"),
        ("run", ["--stops", "1"], "1 stops are asked for, and 2 levels can have 2 to 32"),
        ("run", ["--stops", "33", "--weights", "bf16"], "33 stops are asked for"),
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
