from pathlib import Path

import pytest

from train import tiny


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny corpus; not to be changed."""
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))
