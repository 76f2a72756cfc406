"""The table at the end of a run says what the tests said."""

from __future__ import annotations

from types import SimpleNamespace

from tests.conformance_table import FAILED, NOT_RUN, PASSED, REFUSED, cells, columns, header, rows


def report(name: str, column: str, outcome: str = "passed", when: str = "call", refused: bool = False, of="methods"):
    properties = [("check", [name, column]), ("of", of)] + ([("refused", True)] if refused else [])
    outcomes = {kind: outcome == kind for kind in ("passed", "failed", "skipped")}
    return SimpleNamespace(user_properties=properties, when=when, **outcomes)


def test_one_broken_test_breaks_the_cell_and_an_error_outside_the_test_too():
    reports = [report("tpe", "seed"), report("tpe", "seed", "failed"), report("tpe", "seed")]
    assert cells(reports, "methods") == {("tpe", "seed"): FAILED}
    assert cells([report("tpe", "seed", "failed", when="setup")], "methods") == {("tpe", "seed"): FAILED}


def test_a_cell_is_refused_where_every_test_of_it_was():
    assert cells([report("nomad", "words", refused=True)], "methods") == {("nomad", "words"): REFUSED}
    assert cells([report("nomad", "words", refused=True), report("nomad", "words")], "methods") == {
        ("nomad", "words"): PASSED
    }


def test_other_tests_skipped_ones_and_what_surrounds_a_test_are_no_promise_kept():
    other = SimpleNamespace(user_properties=[], when="call", passed=True, failed=False, skipped=False)
    assert cells([other, report("tpe", "seed", "skipped"), report("tpe", "seed", when="teardown")], "methods") == {}


def test_rows_are_methods_and_each_column_begins_above_its_signs():
    found = cells([report("tpe", "a"), report("asha", "a", "failed"), report("tpe", "b", refused=True)], "methods")
    assert columns(found) == ["a", "b"]
    assert rows(found, columns(found)) == [("asha", [FAILED, NOT_RUN]), ("tpe", [PASSED, REFUSED])]
    assert header(["a", "b"], width=4) == ["     a", "     │ b"]
