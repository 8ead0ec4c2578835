"""The tables that docs/tables.py makes of result files."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"

RESULT = {
    "command": "make results",
    "commit": "0123456789abcdef",
    "machine": {"cpu": "Abacus", "cores": 2},
    "seeds": [1],
    "rows": [
        {"method": "dsnn", "level": "large", "metric": "wer", "value": 1.2345, "spread": 0.1, "unit": "%"},
        {"method": "dsnn", "level": "large", "metric": "bytes", "value": 1234567},
        {
            "method": "dsnn",
            "level": "small",
            "metric": "wer",
            "value": 2,
            "published": 2.5,
            "sparsity": {"lstm": 0.9, "fc": 0.5},
            "parameters": 365_000,
        },
    ],
    "goals": [
        {"name": "a", "required": 1.5, "measured": 1.2345, "better": "lower", "met": True},
        {"name": "b", "required": 9, "measured": 8, "better": "higher", "met": False, "why": "too slow"},
    ],
}

EXPECTED = """\
| Method | Level | Sparsity | Parameters | WER | bytes | WER, published |
| :-- | --: | --: | --: | --: | --: | --: |
| dsnn | large |  |  | 1.234 ± 0.1 % | 1,234,567 |  |
| dsnn | small | lstm 90 %, fc 50 % | 0.365 M | 2 |  | 2.5 |

| Goal | Required | Measured | Met |
| :-- | --: | --: | --: |
| `a` | ≤ 1.5 | 1.234 | yes |
| `b` | ≥ 9 | 8 | no: too slow |

Measured by `make results` at commit `0123456789`; machine: cpu Abacus, cores 2.
"""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/tables.py, which is a script beside the pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tables", module)
    spec.loader.exec_module(module)
    return module


def test_a_section_has_rows_goals_and_origin(tables):
    assert tables.section(RESULT) == EXPECTED


def test_a_page_may_ask_for_a_part(tables):
    _, goals, origin = EXPECTED.split("\n\n")
    assert tables.section(RESULT, "goals") == f"{goals}\n\n{origin}"
    assert tables.section(RESULT, "byt…").startswith("| Method | Level | bytes |\n")
    assert "Goal" not in tables.section(RESULT, "byt…")


@pytest.mark.parametrize("part", ["", " goals", " wer", " kernels.break_even.…"])
def test_only_what_is_between_the_markers_changes(tables, tmp_path, part):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "result.json").write_text(json.dumps(RESULT))
    body = tables.section(RESULT, part.strip() or None)
    before = f"above\n<!-- results:digits{part} -->\nold\n<!-- /results:digits -->\nbelow\n"
    after = f"above\n<!-- results:digits{part} -->\n\n{body}\n<!-- /results:digits -->\nbelow\n"
    assert tables.filled(before, tmp_path) == after
    assert tables.filled(after, tmp_path) == after


def test_a_result_that_is_missing_says_so(tables, tmp_path):
    text = tables.filled("<!-- results:digits -->\n<!-- /results:digits -->\n", tmp_path)
    assert "Not measured yet" in text


def test_text_between_two_sections_of_one_result_stays(tables, tmp_path):
    section = "<!-- results:digits -->\n<!-- /results:digits -->\n"
    assert "\nbetween\n" in tables.filled(f"{section}between\n{section}", tmp_path)
