import ctypes
import os
import subprocess
import sys

from sparrot.train.environment import prepare_process


class Library:
    """A C library that takes down what it is asked."""

    def __init__(self):
        self.asked = []

    def mallopt(self, parameter, value):
        self.asked.append((parameter, value))
        return 1


def test_freed_memory_is_kept_and_idle_threads_sleep(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    prepare_process()
    m_mmap_threshold, m_trim_threshold = -3, -1  # malloc.h
    assert library.asked == [(m_mmap_threshold, 1 << 30), (m_trim_threshold, 1 << 30)]
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


def test_a_choice_of_the_user_stays(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_another_c_library_or_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    prepare_process()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: 1 / 0)
    prepare_process()


def test_it_is_ready_before_torch():
    code = "import sys; from sparrot.train.environment import prepare_process as p; p(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & {"torch", "numpy"}
