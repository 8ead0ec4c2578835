"""Which instruction set is used: the best, or the one that the environment names."""

import os
import subprocess
import sys

import pytest

from sparrot._core import available_kernels


def chosen(name: str | None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "SPARROT_ISA"}
    if name is not None:
        environment["SPARROT_ISA"] = name
    code = "from sparrot import _core; print(_core.chosen_kernels())"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_scalar_is_always_there_and_last():
    assert available_kernels()[-1] == "scalar"


def test_the_best_is_chosen_unless_another_is_named():
    assert chosen(None).stdout.strip() == chosen("").stdout.strip() == available_kernels()[0]


@pytest.mark.parametrize("name", available_kernels())
def test_one_can_be_forced(name):
    assert chosen(name).stdout.strip() == name


def test_an_unknown_one_is_refused_with_the_names_of_the_others():
    failed = chosen("altivec")
    assert failed.returncode != 0
    assert "`altivec`" in failed.stderr
    assert ", ".join(available_kernels()) in failed.stderr
