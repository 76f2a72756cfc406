"""The tables of methods and of engines by checks, printed at the end of every run in which a conformance test ran.

They are here and not beside those tests because in a parallel run the process that prints loads this file only.
"""

from __future__ import annotations

import pytest

from tests import conformance_table as table


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too: they take minutes")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "check(column, of='methods'): a promise that every method (or engine) makes, and its column"
    )
    config.addinivalue_line("markers", "slow: takes minutes, and runs with --slow only")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; --slow runs it"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if mark := item.get_closest_marker("check"):
        row, of = item.callspec.params["name"], mark.kwargs.get("of", "methods")
        report.user_properties.append(("check", [row, mark.args[0]]))
        report.user_properties.append(("of", of))


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, [])]
    for of, legend in table.LEGENDS.items():
        found = table.cells(reports, of)
        if not found:
            continue
        width, columns = max(len(name) for name, _ in found), table.columns(found)
        terminalreporter.section(f"{of} by checks")
        for line in table.header(columns, width):
            terminalreporter.line(line)
        for name, signs in table.rows(found, columns):
            terminalreporter.write(name.ljust(width))
            for sign in signs:
                terminalreporter.write(f" {sign}", **table.COLOURS[sign])
            terminalreporter.line("")
        terminalreporter.line(legend)
