import json

import pytest

from golden.regenerate import FOLDER, golden
from sparrot import Recognizer


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer.load()


def test_the_packaged_model_reads_what_it_read_before(recognizer):
    """`python tests/golden/regenerate.py` makes these files anew, if a change is meant."""
    kept = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    assert set(kept) == {level.name for level in recognizer.levels()}
    heard = golden(recognizer)
    for level in kept:
        assert heard[level] == kept[level]
