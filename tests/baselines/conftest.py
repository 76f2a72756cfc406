"""The table of methods by checks, printed at the end of a run of the conformance tests."""

from __future__ import annotations

import pytest

from tests.baselines.conformance import table
from tests.baselines.conformance.parts import FIT_ITERATIONS

COLUMNS = pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def coarse_fits(monkeypatch):
    monkeypatch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", FIT_ITERATIONS)


def pytest_configure(config):
    config.addinivalue_line("markers", "check(column): a promise that every method makes, and its column in the table")


def pytest_collection_finish(session):
    marks = (item.get_closest_marker("check") for item in session.items)
    session.config.stash[COLUMNS] = list(dict.fromkeys(mark.args[0] for mark in marks if mark))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if mark := item.get_closest_marker("check"):
        report.user_properties.append(("check", [item.callspec.params["name"], mark.args[0]]))


def pytest_terminal_summary(terminalreporter, config):
    reports = [report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, [])]
    found, columns = table.cells(reports), config.stash.get(COLUMNS, [])
    if not found:
        return
    width = max(len(name) for name, _ in found)
    terminalreporter.section("methods by checks")
    for line in table.header(columns, width):
        terminalreporter.line(line)
    for name, signs in table.rows(found, columns):
        terminalreporter.write(name.ljust(width))
        for sign in signs:
            terminalreporter.write(f" {sign}", **table.COLOURS[sign])
        terminalreporter.line("")
    terminalreporter.line(table.LEGEND)
