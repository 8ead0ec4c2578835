"""atomic_write: the whole file or the old one, and no temporary file in any case."""

import errno
import os
import stat
from pathlib import Path

import pytest

from sparrot.atomic import atomic_write


def test_the_file_appears_when_the_block_ends_and_not_before(tmp_path: Path):
    target = tmp_path / "model.sparrot"
    with atomic_write(target) as file:
        file.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type[BaseException]):
    target = tmp_path / "model.sparrot"
    target.write_bytes(b"old")
    with pytest.raises(failure), atomic_write(target) as file:
        file.write(b"half of the n")
        raise failure
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_rename_leaves_nothing(tmp_path: Path):
    folder = tmp_path / "taken"
    with pytest.raises(OSError, match="taken"), atomic_write(folder) as file:
        folder.mkdir()  # in the meantime
        file.write(b"x")
    assert list(tmp_path.iterdir()) == [folder]


def test_an_error_of_the_system_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FileNotFoundError) as missing, atomic_write(tmp_path / "no" / "model.sparrot"):
        pass
    assert missing.value.filename == str(tmp_path / "no" / "model.sparrot")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as disk, atomic_write(tmp_path / "model.sparrot"):
        pass
    assert disk.value.filename == str(tmp_path / "model.sparrot")
    with pytest.raises(FileNotFoundError) as other, atomic_write(tmp_path / "model.sparrot"):
        (tmp_path / "input").open()
    assert other.value.filename == str(tmp_path / "input")


def test_the_bytes_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    order: list[object] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append(synced(descriptor)))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *a: (order.append("replace"), replace(*a))[1])
    with atomic_write(tmp_path / "a") as file:
        file.write(b"bytes")
    assert order == [5, "replace", "folder"]


def synced(descriptor: int) -> object:
    """The length of the file that reaches the disk, or "folder"."""
    status = os.fstat(descriptor)
    return "folder" if stat.S_ISDIR(status.st_mode) else status.st_size


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path):
    (tmp_path / "ordinary").write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "atomic")}
    assert len(modes) == 1


def test_a_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "nowhere" / "a"):
        pass


def test_a_device_or_a_folder_is_refused(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target in (Path(os.devnull), pipe, tmp_path):
        with pytest.raises(ValueError, match="not a regular file"), atomic_write(target):
            pytest.fail("the block ran")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
