"""Methods or engines as rows, checks as columns: what a run of the conformance tests has shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

PASSED, FAILED, REFUSED, NOT_RUN = "✓", "✗", "–", " "
COLOURS = {PASSED: {"green": True}, FAILED: {"red": True, "bold": True}, REFUSED: {"yellow": True}, NOT_RUN: {}}
LEGENDS = {
    "methods": f"{PASSED} kept   {FAILED} broken   {REFUSED} refuses such problems, and says what to use instead",
    "engines": f"{PASSED} kept   {FAILED} broken   {REFUSED} there is no such thing in this engine",
}
"""What there are tables of -> the line below."""

Cells = dict[tuple[str, str], str]
"""(method or engine, check) -> sign."""


def cells(reports: Iterable[pytest.TestReport], of: str) -> Cells:
    """Those of one table. One broken promise breaks the cell; it counts as refused where every test of it was."""
    found: Cells = {}
    for report in reports:
        told = dict(report.user_properties)
        if "check" not in told or told["of"] != of or report.skipped or (report.passed and report.when != "call"):
            continue
        key = tuple(told["check"])
        sign = FAILED if report.failed else REFUSED if told.get("refused") else PASSED
        worst_first = (FAILED, PASSED, REFUSED)
        found[key] = min(found.get(key, sign), sign, key=worst_first.index)
    return found


def columns(found: Cells) -> list[str]:
    """The checks by name: tests that run in parallel end in any order."""
    return sorted({column for _, column in found})


def header(columns: Sequence[str], width: int) -> list[str]:
    """One line per column, each beginning above its own signs."""
    return [" " * width + " │" * i + " " + name for i, name in enumerate(columns)]


def rows(found: Cells, columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(method or engine, its signs in the columns' order)."""
    names = sorted({name for name, _ in found})
    return [(name, [found.get((name, column), NOT_RUN) for column in columns]) for name in names]
