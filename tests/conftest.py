"""What every test shares: quiet threads, repeatable examples, and no test that is skipped unnoticed."""

import os

# Before torch or numpy is imported. Spinning threads ruin timings where cores are shared, and one thread
# sums in the same order on every machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, **_COMMON)
settings.register_profile("nightly", derandomize=False, max_examples=1000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

MAY_SKIP = "may_skip"
skipped = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MAY_SKIP}: needs what some machines lack; others must not be skipped"
    )
    config.stash[skipped] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker(MAY_SKIP) is None:
        item.config.stash[skipped].append(item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    if report.outcome == "skipped":
        collector.config.stash[skipped].append(collector.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[skipped] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name in config.stash[skipped]:
        terminalreporter.write_line(
            f"SKIPPED, which only a test marked `{MAY_SKIP}` may be: {name}", red=True
        )
