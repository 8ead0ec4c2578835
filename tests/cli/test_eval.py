import errno
import json
import shutil
import warnings
from dataclasses import replace

import pytest
import soundfile

from sparrot.cli.main import run
from sparrot.corpora.manifest import read_manifest, write_manifest
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine.cost import macs_per_second
from sparrot.metrics import count_errors, total
from sparrot.model_file import LevelToWrite, ModelFile, write_model
from tone_model import RATE_HZ, sound, write_tone_model
from train import tiny

KEYS = {
    "level",
    "wer",
    "cer",
    "words",
    "substitutions",
    "insertions",
    "deletions",
    "sparsity",
    "parameters",
    "bytes",
    "macs_per_audio_second",
    "rtf",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tiny.trained_run(tmp_path_factory.getbasetemp())


@pytest.fixture
def model(run_folder, tmp_path):
    """A copy of the model, to be written into."""
    return shutil.copy(run_folder / "model.sparrot", tmp_path / "model.sparrot")


def told(capsys) -> str:
    """What was printed on stderr, a single line."""
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


def measured(capsys, *arguments) -> dict:
    capsys.readouterr()
    assert run(["eval", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_the_promised_keys_for_every_level(run_folder, tmp_path, capsys):
    heard = tmp_path / "heard.jsonl"
    described = measured(capsys, run_folder, "--hypotheses", heard)
    assert set(described) == {"model", "set", "levels"}
    assert (described["model"], described["set"]) == ("tiny", "dev")
    assert [row["level"] for row in described["levels"]] == ["large", "small"]
    file = ModelFile.open(run_folder / "model.sparrot")
    rows = [json.loads(line) for line in heard.read_text().splitlines()]
    assert len(rows) == 2 * 18
    for row in described["levels"]:
        assert set(row) == KEYS
        name = row["level"]
        errors = total([count_errors(h["reference"], h["hypothesis"]) for h in rows if h["level"] == name])
        assert (row["wer"], row["cer"], row["words"]) == (errors.wer, errors.cer, 18)
        kinds = (errors.substitutions, errors.insertions, errors.deletions)
        assert (row["substitutions"], row["insertions"], row["deletions"]) == kinds
        assert 0 < errors.wer < 1
        assert row["sparsity"] == dict(file.level(name).sparsity)
        assert (row["parameters"], row["bytes"]) == (file.level(name).parameters, file.level_bytes(name))
        macs = macs_per_second(file.description.architecture, 100.0, file.parameters(name))
        assert row["macs_per_audio_second"] == round(macs)
        assert 0 < row["rtf"] < 1
    large, small = described["levels"]
    assert small["macs_per_audio_second"] < 0.5 * large["macs_per_audio_second"]


def test_progress_stays_out_of_the_json(run_folder, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # for rich, that is a terminal
    assert run(["eval", str(run_folder), "--levels", "small", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["set"] == "dev"
    assert "recognising" in printed.err


def test_hypotheses_name_utterance_level_and_both_texts(run_folder, tmp_path):
    dev = read_manifest(run_folder.parent / "tiny-corpus" / "dev.jsonl")
    heard = tmp_path / "heard.jsonl"
    assert run(["eval", str(run_folder), "--levels", "small", "--hypotheses", str(heard)]) == 0
    rows = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [(row["id"], row["level"], row["reference"]) for row in rows] == [
        (utterance.id, "small", utterance.text) for utterance in dev
    ]
    assert all(set(row) == {"id", "level", "reference", "hypothesis"} for row in rows)


def test_levels_are_chosen_by_name(run_folder, capsys):
    both = measured(capsys, run_folder)["levels"]
    chosen = measured(capsys, run_folder, "--levels", "small,large")["levels"]
    assert [row["level"] for row in chosen] == ["small", "large"]
    assert [row["wer"] for row in chosen] == [row["wer"] for row in reversed(both)]


def test_write_puts_errors_into_the_file_and_nothing_else(model, capsys):
    before = ModelFile.open(model)
    row = measured(capsys, model, "--levels", "small", "--write")["levels"][0]
    after = ModelFile.open(model)
    expected = {"dev": {"wer": row["wer"], "cer": row["cer"], "words": 18}}
    assert after.level("small").measured == expected
    assert after.level("large").measured == before.level("large").measured == {}
    assert after.description == before.description
    assert measured(capsys, model)["levels"][1]["wer"] == row["wer"]


def test_without_write_the_file_stays(model):
    before = model.read_bytes()
    assert run(["eval", str(model), "--levels", "large"]) == 0
    assert model.read_bytes() == before


def test_without_a_model_the_packaged_digits_are_measured(tmp_path, capsys):
    write_manifest(tmp_path / "few.jsonl", packaged_strings("dev")[:3])
    described = measured(capsys, "--on", tmp_path / "few.jsonl")
    assert [row["level"] for row in described["levels"]] == ["large", "medium", "small"]
    assert all(row["wer"] == 0 for row in described["levels"])


def test_a_table_for_readers(run_folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["eval", str(run_folder)]) == 0
    printed = capsys.readouterr().out
    assert "tiny on dev" in printed
    for heading in ("level", "sparsity", "WER", "CER", "words", "parameters", "bytes", "MMAC/s", "RTF"):
        assert heading in printed
    large, small = (line for line in printed.splitlines() if "large" in line or "small" in line)
    assert "none" in large
    shares = ModelFile.open(run_folder / "model.sparrot").level("small").sparsity
    assert set(shares) == {"lstm", "fc"}
    assert ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()) in small


# sets


def test_sets_are_those_of_the_recipe_manifests_and_packaged(run_folder, tmp_path, capsys):
    dev = read_manifest(run_folder.parent / "tiny-corpus" / "dev.jsonl")
    write_manifest(tmp_path / "some.jsonl", dev[:3])
    assert measured(capsys, run_folder, "--on", tmp_path / "some.jsonl")["levels"][0]["words"] == 3
    assert measured(capsys, run_folder, "--on", "dev")["levels"][0]["words"] == 18
    packaged = measured(capsys, run_folder, "--on", "packaged:dev", "--levels", "large")
    assert (packaged["set"], packaged["levels"][0]["words"]) == ("packaged:dev", 300)


def test_a_test_set_has_the_name_that_the_recipe_gives_it(tmp_path, capsys):
    corpus = tiny.write_corpus(tmp_path)
    write_manifest(tmp_path / "few.jsonl", read_manifest(corpus / "dev.jsonl")[:2])
    changes = {"data.test": {"few": str(tmp_path / "few.jsonl")}, "training.epochs": 1}
    recipe = tiny.write_recipe(tmp_path / "r.yaml", corpus, changes)
    assert run(["train", str(recipe), "--out", str(tmp_path / "run")]) == 0
    assert measured(capsys, tmp_path / "run", "--on", "few")["levels"][0]["words"] == 2
    assert run(["eval", str(tmp_path / "run"), "--on", "fewer"]) == 2
    assert "there is no set `fewer`: the model's recipe names dev, few, and there" in told(capsys)


def test_sparsities_are_the_nearest_stops_each_once(run_folder, capsys):
    rows = measured(capsys, run_folder, "--levels", "0.02,small,0.99")["levels"]
    assert [row["level"] for row in rows] == ["large", "small"]


def test_streams_that_switch_are_measured_beside_the_levels(run_folder, tmp_path, capsys):
    heard = tmp_path / "heard.jsonl"
    options = ["--switch-every", "0.05..0.2", "--hypotheses", heard]
    told = measured(capsys, run_folder, *options)
    assert told["levels"] == measured_again(capsys, run_folder, told)
    row = told["switching"]
    assert {*row} == {"dwell_s", "seed", "levels", "switches"} | KEYS - {
        "level",
        "sparsity",
        "parameters",
        "bytes",
        "macs_per_audio_second",
    }
    assert (row["dwell_s"], row["seed"], row["levels"]) == ([0.05, 0.2], 1, ["large", "small"])
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    dev = read_manifest(run_folder.parent / "tiny-corpus" / "dev.jsonl")
    assert [line["level"] for line in lines] == [
        name for name in ("large", "small", "switching") for _ in dev
    ]
    assert 0 < row["switches"] < sum(utterance.duration for utterance in dev) / 0.05


def measured_again(capsys, run_folder, told) -> list[dict]:
    """The rows of the levels without switching, with the time that the others took."""
    rows = measured(capsys, run_folder)["levels"]
    return [{**row, "rtf": other["rtf"]} for row, other in zip(rows, told["levels"], strict=True)]


def test_switching_follows_its_seed(run_folder, capsys):
    rows = [
        measured(capsys, run_folder, "--switch-every", "0.1", "--seed", seed)["switching"]
        for seed in (1, 1, 2)
    ]
    assert len({row.pop("rtf") for row in rows}) > 1
    assert rows[0] == rows[1]
    assert rows[2]["seed"] == 2
    assert rows[0]["dwell_s"] == [0.1, 0.1]


def test_the_table_has_a_row_of_the_streams_that_switch(run_folder, capsys):
    capsys.readouterr()
    assert run(["eval", str(run_folder), "--switch-every", "0.1"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "switching" in line]
    assert "switches" in row
    assert "%" in row


# bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--levels", "smal"], "Did you mean `small`?"),
        (["--levels", "large,"], "no level `` in"),
        (["--levels", "large,1.5"], "no level `1.5` in"),
        (
            ["--on", "nothing"],
            "there is no set `nothing`: the model's recipe names dev, and there is no such",
        ),
        (["--on", "packaged:tset"], "no packaged recordings of the split 'tset'"),
        (["--decoder", "beem"], "beem"),
        (["--level", "large"], "has no option `--level`. Did you mean `--levels`?"),
        (["--beam", "0", "--decoder", "beam"], "beam"),
        (["--switch-every", "often"], "takes the seconds at a level, as in 1, or in 0.5..2 from one to"),
        (["--switch-every", "0.5.."], "got `0.5..`"),
        (["--switch-every", "2..0.5"], "the shorter first; got 2 and 0.5 seconds"),
        (["--switch-every", "0..1"], "between two positive bounds"),
        (["--switch-every", "1..inf"], "between two positive bounds"),
        (["--switch-every", "1..nan"], "between two positive bounds"),
        (["--switch-every", "1", "--levels", "small,0.9"], "takes two levels at least, and here is 1"),
    ],
)
def test_bad_options_are_told_in_a_sentence(run_folder, tmp_path, capsys, options, said):
    heard = tmp_path / "heard.jsonl"
    assert run(["eval", str(run_folder), "--hypotheses", str(heard), *options]) == 2
    assert said in told(capsys)
    assert not heard.exists()


def test_a_run_folder_without_a_model_says_how_to_get_one(tmp_path, capsys):
    assert run(["eval", str(tmp_path)]) == 2
    sentence = told(capsys)
    assert f"the run {tmp_path} has no model.sparrot: it is written when training ends" in sentence
    assert f"`sparrot export {tmp_path}`" in sentence
    assert (
        f"no single file holds independent masks; its errors on dev are in {tmp_path / 'log.jsonl'}"
        in sentence
    )


def test_a_model_that_is_not_there_is_told(tmp_path, capsys):
    assert run(["eval", str(tmp_path / "none.sparrot")]) == 2
    assert "none.sparrot" in told(capsys)


def test_a_manifest_with_missing_files_is_refused(model, tmp_path, capsys):
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio_path": "lost.wav", "duration": 1, "text": "1"}\n')
    before = model.read_bytes()
    assert run(["eval", str(model), "--on", str(tmp_path / "m.jsonl"), "--write"]) == 2
    assert "needs 1 file(s) that cannot be found: " in told(capsys)
    assert model.read_bytes() == before


@pytest.fixture
def nothing_is_recognised(monkeypatch):
    monkeypatch.setattr("sparrot.cli.eval.measure", lambda *_: pytest.fail("a set was looked at"))


@pytest.mark.usefixtures("nothing_is_recognised")
def test_what_cannot_be_written_is_told_before_the_set_is_looked_at(model, tmp_path, capsys, monkeypatch):
    assert run(["eval", str(model), "--hypotheses", str(tmp_path / "no" / "h.jsonl")]) == 2
    assert told(capsys) == f"sparrot: {tmp_path / 'no' / 'h.jsonl'}: no such file or directory\n"
    assert run(["eval", str(model), "--hypotheses", str(model)]) == 2
    assert f"{model} would be written over {model}, which is read" in told(capsys)
    assert run(["eval", "--write"]) == 2
    assert "would rewrite the digits model that comes with the package" in told(capsys)

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("sparrot.atomic.check_writable", denied)
    assert run(["eval", str(model), "--write"]) == 2
    assert told(capsys) == f"sparrot: {model}: permission denied\n"


@pytest.mark.usefixtures("nothing_is_recognised")
def test_a_cut_model_is_not_measured_to_be_written_into(model, tmp_path, capsys):
    cut = tmp_path / "cut.sparrot"
    cut.write_bytes(model.read_bytes()[:-64])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run(["eval", str(cut), "--write"]) == 2
    assert f"{cut} is cut; take the whole file" in told(capsys)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_results_are_printed_even_if_they_cannot_be_written(model, capsys, monkeypatch, options):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sparrot.model_file.reader.write_prefix", full)
    assert run(["eval", str(model), "--levels", "small", "--write", *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.strip() == "sparrot: no space left on device"
    assert "small" in printed.out


@pytest.mark.parametrize("data", ["mine", {"dev": "x", "test": ["y"]}, None, {"test": {}}])
def test_a_model_of_another_trainer_names_no_sets(tmp_path, capsys, data):
    path, sound_path = tmp_path / "tones.sparrot", tmp_path / "a.wav"
    file = ModelFile.open(write_tone_model(path))
    description = replace(file.description, configuration={"data": data})
    levels = [LevelToWrite(name="large", kept={})]
    write_model(path, description, file.parameters("large"), levels, {})
    named = "dev" if isinstance(data, dict) and "dev" in data else "none"
    assert run(["eval", str(path)]) == 2
    assert f"there is no set `dev`: the model's recipe names {named}, and there is no such" in told(capsys)
    soundfile.write(sound_path, sound("ab"), RATE_HZ)
    row = {"id": "a", "audio_path": "a.wav", "duration": len(sound("ab")) / RATE_HZ, "text": "ab"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    assert measured(capsys, path, "--on", tmp_path / "m.jsonl")["levels"][0]["wer"] == 0


def test_texts_without_a_word_have_no_error_rate(run_folder, tmp_path, capsys):
    (first, *_) = read_manifest(run_folder.parent / "tiny-corpus" / "dev.jsonl")
    write_manifest(tmp_path / "silence.jsonl", [replace(first, text="")])
    assert run(["eval", str(run_folder), "--on", str(tmp_path / "silence.jsonl")]) == 2
    assert told(capsys).endswith("silence.jsonl` have no word, so there is no error rate\n")
