from collections.abc import Callable
from pathlib import Path

import pytest

from model_file.written import read_all, write_small
from sparrot.model_file import FormatError


@pytest.fixture(scope="session")
def small_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the small network with the levels large, medium and small; not to be changed."""
    path = tmp_path_factory.mktemp("small") / "small.sparrot"
    write_small(path)
    return path


@pytest.fixture
def refusal(tmp_path) -> Callable[[bytes], FormatError]:
    """The error of opening these bytes and reading every level."""

    def read(raw: bytes) -> FormatError:
        path = tmp_path / "malformed.sparrot"
        path.write_bytes(raw)
        with pytest.raises(FormatError) as caught:
            read_all(path)
        assert str(caught.value).startswith(f"cannot read {path} as a model: ")
        return caught.value

    return read
