import os
import subprocess
import sys

import pytest

from sparrot.model_file.errors import FormatError
from sparrot.model_file.source import Source

BYTES = bytes(range(256)) * 64

READS_IN_FOUR_PROCESSES = """
import os, random, sys
from pathlib import Path
from sparrot.model_file.source import Source

source, expected = Source(Path(sys.argv[1])), Path(sys.argv[1]).read_bytes()
children = []
for seed in range(4):
    child = os.fork()
    if child == 0:
        places = random.Random(seed).choices(range(len(expected) - 9000), k=3000)
        os._exit(any(source.read(place, 9000) != expected[place : place + 9000] for place in places))
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "m").write_bytes(BYTES)
    return tmp_path / "m"


def test_the_bytes_at_a_position(path):
    source = Source(path)
    assert source.n_bytes == len(BYTES)
    assert source.read(250, 10) == BYTES[250:260]
    assert source.read(0, 3) == BYTES[:3]
    assert source.read(len(BYTES), 0) == b""


def test_processes_that_share_an_open_file_do_not_move_each_other(path):
    done = subprocess.run([sys.executable, "-c", READS_IN_FOUR_PROCESSES, path], check=False)
    assert done.returncode == 0


def test_the_system_may_read_less_at_once(path, monkeypatch):
    """Linux reads at most 2 GiB in one call."""
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, to, place: preadv(file, [to[0][:7]], place))
    assert Source(path).read(11, 100) == BYTES[11:111]


def test_a_file_that_ends_before_is_refused(path):
    source = Source(path)
    with pytest.raises(FormatError, match=f"ends at byte {len(BYTES)}, and {len(BYTES) + 1} are needed"):
        source.read(len(BYTES) - 1, 2)
    path.write_bytes(BYTES[:100])  # cut while it is open
    with pytest.raises(FormatError, match="ends at byte 100, and 110 are needed"):
        source.read(90, 20)
