"""Where the code comes from."""

import subprocess

from sparrot import source
from sparrot.source import source_commit


def test_the_commit_is_that_of_a_checkout_of_the_code(monkeypatch, tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "code.py").touch()
    monkeypatch.setattr(source, "__file__", str(tmp_path / "code.py"))
    assert source_commit() is None
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "of somebody else's project")
    assert source_commit() is None
    git("add", "code.py")
    git("commit", "-q", "-m", "with the code")
    assert source_commit() == git("rev-parse", "HEAD")
    (tmp_path / "code.py").write_text("# changed")
    assert source_commit() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit() is None
