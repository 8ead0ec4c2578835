"""What a recipe or benchmark measured, in the one shape that tables are made from."""

import argparse
import json
import os
import platform
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sparrot.atomic import atomic_write
from sparrot.source import source_commit

UNEXPLAINED = "not explained yet: say --why GOAL=SENTENCE"


@dataclass(frozen=True)
class Goal:
    """A figure that was promised.

    unit: of both figures, such as `%`; empty if they have none.
    why:  the reason if it is not met, needed then and left out otherwise.
    """

    name: str
    required: float
    measured: float
    better: Literal["higher", "lower"]
    unit: str = ""
    why: str | None = None

    def __post_init__(self) -> None:
        if not self.met and not self.why:
            raise ValueError(
                f"goal `{self.name}` is not met ({self.measured:.4g}{self.unit} instead of "
                f"{self.required:.4g}{self.unit}): a result says why"
            )

    @property
    def met(self) -> bool:
        """Whether the measured figure is at least as good as the required one."""
        if self.better == "higher":
            return self.measured >= self.required
        return self.measured <= self.required

    def to_json(self) -> dict[str, Any]:
        """Its entry in a result file."""
        return {**asdict(self), "met": self.met, "why": None if self.met else self.why}


@dataclass(frozen=True)
class Result:
    """Rows of figures and the goals they were measured for.

    rows: each names its method, set, level, metric, value and unit, and what else is known of it.
    """

    command: str
    seeds: Sequence[int]
    rows: Sequence[Mapping[str, Any]]
    goals: Sequence[Goal]

    def to_json(self) -> dict[str, Any]:
        """The whole result, with the commit of this code and the machine it runs on."""
        return {
            "command": self.command,
            "commit": source_commit(),
            "machine": machine(),
            "seeds": list(self.seeds),
            "rows": [dict(row) for row in self.rows],
            "goals": [goal.to_json() for goal in self.goals],
        }

    def shown(self, *, as_json: bool) -> str:
        """What a benchmark prints: one JSON object, or a line a row and a line a goal."""
        if as_json:
            return json.dumps(self.to_json(), indent=1, ensure_ascii=False)
        return "\n".join([*map(_row_line, self.rows), *map(_goal_line, self.goals)])

    def write(self, path: Path) -> None:
        """Writes the result file in the place of `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write((json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n").encode())


def _row_line(row: Mapping[str, Any]) -> str:
    named = f"{row['method']:34} {row['set']:26} {row['level']:8} {row['metric']:24}"
    return f"{named} {row['value']:.5g} {row['unit']}".rstrip()


def _goal_line(goal: Goal) -> str:
    met = "met" if goal.met else "missed"
    return f"{goal.name}: {goal.measured:.3g}{goal.unit}, required {goal.required:.3g}{goal.unit}: {met}"


def reasons(given: Sequence[str]) -> dict[str, str]:
    """Why goals are not met, by goal, out of `GOAL=SENTENCE` options. Raises ValueError for another form."""
    for reason in given:
        if not re.fullmatch(r"[\w.-]+=.+", reason):
            raise ValueError(f"a reason is written GOAL=SENTENCE; got `{reason}`")
    return dict(reason.split("=", 1) for reason in given)


def benchmark_options(
    described: str, rounds: int, own: Callable[[argparse.ArgumentParser], object] | None = None
) -> tuple[argparse.Namespace, dict[str, str]]:
    """The command line of a benchmark, and why goals are not met, by goal.

    described: its first line is the help.
    rounds:    how often every figure is taken unless `--rounds` says.
    own:       adds what only this benchmark has.

    Reasons that are known stand in `reasons.toml` beside the script; `--why` comes over them.
    """
    parser = argparse.ArgumentParser(description=described.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of every figure (default {rounds})")
    parser.add_argument("--why", action="append", default=[], help="GOAL=SENTENCE for a goal that is not met")
    if own:
        own(parser)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    known = Path(sys.argv[0]).with_name("reasons.toml")
    before = tomllib.loads(known.read_text("utf-8")) if known.exists() else {}
    try:
        return given, before | reasons(given.why)
    except ValueError as error:
        parser.error(str(error))


def machine() -> dict[str, Any]:
    """Processor, its cores, system and Python of this machine."""
    return {
        "cpu": _processor(),
        "cores": _n_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
