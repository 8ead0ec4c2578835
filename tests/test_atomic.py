"""atomic_write: the whole file or the old one, and no temporary file in any case."""

import errno
import os
import stat
from pathlib import Path

import pytest

from sparrot.atomic import atomic_write, check_writable


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


def test_the_name_of_an_open_file_is_refused(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"old")
    with (tmp_path / "log").open("ab") as log:
        name = f"/dev/fd/{log.fileno()}"
        for attempt in (check_writable, lambda path: atomic_write(path).__enter__()):
            with pytest.raises(ValueError, match=f"cannot write {name}: it is not a regular file"):
                attempt(name)
    assert (tmp_path / "log").read_bytes() == b"old"


def test_a_file_passes_its_permissions_on(tmp_path: Path):
    target = tmp_path / "secret"
    target.write_bytes(b"old")
    for mode in (0o600, 0o640):
        target.chmod(mode)
        with atomic_write(target) as file:
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode  # before a byte is written
            file.write(b"new")
        assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_symbolic_link_stays_and_its_file_is_written(tmp_path: Path):
    (tmp_path / "models").mkdir()
    target, link = tmp_path / "models" / "v1.sparrot", tmp_path / "current.sparrot"
    link.symlink_to(Path("models") / "v1.sparrot")
    for content in (b"made", b"replaced"):
        with atomic_write(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert target.read_bytes() == content
        assert list((tmp_path / "models").iterdir()) == [target]


def test_an_error_names_the_link_that_was_asked_for(tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "no" / "model.sparrot")
    for attempt in (check_writable, lambda path: atomic_write(path).__enter__()):
        with pytest.raises(FileNotFoundError) as missing:
            attempt(link)
        assert missing.value.filename == str(link)


def test_whether_a_file_can_be_written_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "old").write_bytes(b"old")
    check_writable(tmp_path / "old")
    check_writable(str(tmp_path / "new"))
    for folder, error in (("no", FileNotFoundError), ("old", NotADirectoryError)):
        with pytest.raises(error) as missing:
            check_writable(tmp_path / folder / "new")
        assert missing.value.filename == str(tmp_path / folder / "new")
    with pytest.raises(ValueError, match="not a regular file"):
        check_writable(tmp_path)
    monkeypatch.setattr(Path, "open", lambda path, _: denied(path))
    with pytest.raises(PermissionError) as refused:
        check_writable(tmp_path / "new")
    assert refused.value.filename == str(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def denied(path: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))
