"""The table of methods by checks, printed at the end of every run in which a conformance test ran.

It is here and not beside those tests because in a parallel run the process that prints loads this file only.
"""

from __future__ import annotations

import pytest

from tests.baselines.conformance import table


def pytest_configure(config):
    config.addinivalue_line("markers", "check(column): a promise that every method makes, and its column in the table")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if mark := item.get_closest_marker("check"):
        report.user_properties.append(("check", [item.callspec.params["name"], mark.args[0]]))


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, [])]
    found = table.cells(reports)
    if not found:
        return
    width, columns = max(len(name) for name, _ in found), table.columns(found)
    terminalreporter.section("methods by checks")
    for line in table.header(columns, width):
        terminalreporter.line(line)
    for name, signs in table.rows(found, columns):
        terminalreporter.write(name.ljust(width))
        for sign in signs:
            terminalreporter.write(f" {sign}", **table.COLOURS[sign])
        terminalreporter.line("")
    terminalreporter.line(table.LEGEND)
