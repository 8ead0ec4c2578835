import errno
import os
import signal
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from sparrot.cli.main import VERBS, app, run
from sparrot.model_file import FormatError
from tone_model import RATE_HZ, sound, write_tone_model


@pytest.fixture
def verb(monkeypatch):
    """Puts a function in the place of `sparrot train`."""

    def replace(function):
        function.__name__ = "train"
        monkeypatch.setitem(sys.modules, "sparrot.cli.train", types.SimpleNamespace(train=function))

    return replace


def told(capsys):
    """The one line on stderr."""
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("sparrot: ")
    return printed.err.removeprefix("sparrot: ").rstrip("\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("no level `smal`.\n  It holds\n  large."), "no level `smal`. It holds large."),
        (TypeError("samples must be float"), "samples must be float"),
        (
            FormatError("its header is cut", "header", 8, "Copy it again"),
            "its header is cut (`header`, byte 8). Copy it again.",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.wav"),
            "a.wav: no such file or directory",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (OSError("the disk is gone"), "the disk is gone"),
        (MemoryError("Unable to allocate 256. GiB"), "this needs more memory than there is"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "`torch` is not installed: training needs `pip install sparrot[train]`",
        ),
        (
            ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
            "`torch.nn` is not installed: training needs `pip install sparrot[train]`",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(verb, capsys, error, sentence):
    def fail() -> None:
        raise error

    verb(fail)
    assert run(["train"]) == 2
    assert told(capsys) == sentence


def test_a_missing_torch_is_one_sentence(verb, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    def train() -> None:
        import torch  # noqa: F401

    verb(train)
    assert run(["train"]) == 2
    assert told(capsys) == "`torch` is not installed: training needs `pip install sparrot[train]`"


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), AssertionError("x"), ModuleNotFoundError("x", name="sparrot.y")]
)
def test_our_own_faults_keep_their_traceback(verb, error):
    def fail() -> None:
        raise error

    verb(fail)
    with pytest.raises(type(error)):
        run(["train"])


def test_debugging_shows_the_traceback_too(verb, capsys, monkeypatch):
    def fail() -> None:
        raise ValueError("wrong")

    verb(fail)
    monkeypatch.setenv("SPARROT_DEBUG", "1")
    assert run(["train"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert printed.endswith("sparrot: wrong\n")


def test_ctrl_c_is_130(verb, capsys):
    def train() -> None:
        signal.raise_signal(signal.SIGINT)

    verb(train)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in background
    try:
        assert run(["train"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert told(capsys) == "interrupted"


def test_what_a_verb_returns_is_the_exit_code(verb):
    verb(lambda: 1)
    assert run(["train"]) == 1
    verb(lambda: None)
    assert run(["train"]) == 0


def test_a_warning_is_one_line(verb, capsys):
    def train() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("the file is cut", stacklevel=1)

    verb(train)
    before = warnings.showwarning
    assert run(["train"]) == 0
    assert told(capsys) == "warning: the file is cut"
    assert warnings.showwarning is before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["transcribe", "a.wav", "--fromat", "json"],
            "`sparrot transcribe` has no option `--fromat`. Did you mean `--format`? "
            "`sparrot transcribe --help` lists them",
        ),
        (
            ["transcribe", "a.wav", "--lvl", "small"],
            "`sparrot transcribe` has no option `--lvl`. Did you mean `--level`? "
            "`sparrot transcribe --help` lists them",
        ),
        (
            ["inspect", "--xyzzy"],
            "`sparrot inspect` has no option `--xyzzy`. `sparrot inspect --help` lists them",
        ),
        (
            ["--vresion"],
            "`sparrot` has no option `--vresion`. Did you mean `--version`? `sparrot --help` lists them",
        ),
        (
            ["transcrib"],
            "No such command 'transcrib'. Did you mean 'transcribe'? "
            "`sparrot --help` says what sparrot takes",
        ),
        (
            ["transcribe"],
            "Missing argument 'FILES...'; `sparrot transcribe --help` says what sparrot transcribe takes",
        ),
        (
            ["transcribe", "a", "--format", "jsno"],
            "Invalid value for '--format': 'jsno' is not one of 'text', 'json', 'srt', 'vtt'; "
            "`sparrot transcribe --help` says what sparrot transcribe takes",
        ),
    ],
)
def test_a_wrong_command_line_is_one_sentence_with_the_nearest(capsys, arguments, sentence):
    assert run(arguments) == 2
    assert told(capsys) == sentence


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_verb(capsys, arguments):
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there(capsys, verb):
    assert run([verb, "--help"]) == 0
    assert f"sparrot {verb}" in capsys.readouterr().out


def test_a_group_of_verbs_prints_its_help(capsys):
    assert run(["data"]) == 2
    printed = capsys.readouterr()
    assert "sparrot data" in printed.out
    assert printed.err == ""


def test_version(capsys):
    from sparrot import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"sparrot {__version__}\n"


def test_the_application_is_a_typer_one():
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0


def python(*arguments, **settings):
    """An interpreter whose stdout is buffered, as it is for users who redirect it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, **settings)


def test_help_loads_no_verb_and_nothing_heavy():
    code = "import sys; from sparrot.cli.main import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {
        "numpy",
        "torch",
        "soundfile",
        "sparrot.engine",
        *(f"sparrot.cli.{verb}" for verb in VERBS),
    }


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    soundfile.write(folder / "a.wav", sound("ab"), RATE_HZ)
    return ["transcribe", folder / "a.wav", "--model", write_tone_model(folder / "tones.sparrot")]


WRITES_AND_ENDS = """
import sys, types; from sparrot.cli.main import run
def train(): sys.stdout.write("not flushed")
sys.modules["sparrot.cli.train"] = types.SimpleNamespace(train=train)
sys.exit(run(["train"]))
"""


def test_a_reader_that_went_away_is_no_error(recording):
    for command in (["-m", "sparrot", *recording], ["-c", WRITES_AND_ENDS]):
        process = python(*command, stdout=subprocess.PIPE)
        process.stdout.close()
        with process.stderr:
            assert process.stderr.read() == b""
        assert process.wait() == 1


def test_a_full_disk_is_one_sentence(recording, capsys):
    for command in (["-m", "sparrot", *recording], ["-c", WRITES_AND_ENDS]):
        with Path("/dev/full").open("w") as full:
            process = python(*command, stdout=full, text=True)
            assert process.communicate()[1] == "sparrot: no space left on device\n"
        assert process.returncode == 2
    assert run([*map(str, recording), "-o", "/dev/full"]) == 2
    assert told(capsys) == "no space left on device"


def test_a_closed_stdout_is_told_before_anything_is_done(recording):
    command = " ".join(map(str, [sys.executable, "-m", "sparrot", *recording, ">&-"]))
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "sparrot: standard output is closed: send it to a file, or to /dev/null\n"
