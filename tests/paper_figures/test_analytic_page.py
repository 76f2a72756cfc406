"""Regret against a known optimum: by hand for three methods, and what the page says of who beats random search."""

from __future__ import annotations

import html
import io

import pytest
from rich.console import Console

from experiments.analytic import analysis
from experiments.gather import load
from jfhpo.core.trial import Status
from jfhpo.trainers.curves.formula import optimum
from paper_figures import pages
from paper_figures.write import write_all
from tests.paper_figures.fake_results import FakeStudy

TOP = optimum(24)
REGRETS = {
    "random_search": [0.06, 0.04, 0.08, 0.05, 0.07, 0.06, 0.05, 0.07, 0.06, 0.08],
    "tpe": [0.03, 0.01, 0.04, 0.02, 0.05, 0.02, 0.03, 0.04, 0.01, 0.03],
    "smac": [0.07, 0.03, 0.09, 0.04, 0.08, 0.05, 0.06, 0.06, 0.07, 0.07],
}


def results(out, regrets):
    for method, values in regrets.items():
        for seed, regret in enumerate(values):
            fake = FakeStudy(out, method, seed, problem="curves", experiment="analytic", max_steps=24)
            cut = method == "smac" and seed < 2
            fake.run("l", 2, {2: 0.5}, status=Status.CUT if cut else Status.COMPLETED, phase="final")
            fake.finish(TOP - regret, TOP - regret)
    return load(out, "analytic")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return results(tmp_path_factory.mktemp("analytic"), REGRETS)


def test_regret_is_what_is_missing_to_the_optimum(records):
    table = analysis.regrets(records)
    assert list(table.columns) == ["random_search", "tpe", "smac"]
    for method, values in REGRETS.items():
        assert table[method].tolist() == pytest.approx(values)


def test_methods_are_paired_with_random_search_by_landscape(records):
    found = analysis.against_reference(records).set_index("method")
    tpe, smac = found.loc["tpe"], found.loc["smac"]
    assert tpe["gain"] == pytest.approx(0.034) and tpe["pairs"] == 10
    assert tpe["p"] == pytest.approx(2 / 2**10)  # ahead on all ten: only two of 1,024 sign patterns are as far
    assert tpe["p_holm"] == pytest.approx(2 * tpe["p"])
    assert tpe["ahead"] == 1.0 and tpe["low"] > 0
    assert smac["gain"] == pytest.approx(0.0) and smac["p_holm"] == 1.0
    assert smac["low"] < 0 < smac["high"] and smac["ahead"] == pytest.approx(0.5)
    assert found.loc["random_search", "regret"] == pytest.approx(0.062)
    assert found["cut"].to_dict() == {"random_search": 0, "tpe": 0, "smac": 2}
    assert analysis.better(analysis.against_reference(records)) == ["tpe"]


def test_the_page_names_who_is_ahead_and_who_is_not_shown_to_be(records, tmp_path):
    shown = pages.page("analytic", records)
    assert "On 10 landscapes" in shown.lead[0]
    assert "these beat random_search: tpe. Not shown to: smac." in shown.lead[0]
    table = shown.tables[0][0]
    assert [row[0] for row in table.rows] == ["random_search", "tpe", "smac"]
    assert table.rows[1][1].startswith("2.80 ±") and table.rows[1][-2] == "0.004"
    results(tmp_path, REGRETS)
    console = Console(file=io.StringIO(), width=200)
    write_all(tmp_path, "analytic", console)
    assert (tmp_path / "analytic/figures/regret.png").stat().st_size > 10_000
    assert "these beat random_search: tpe" in html.unescape((tmp_path / "analytic/report.html").read_text())
    assert "nan" not in console.file.getvalue()


def test_every_method_ahead_is_said_so(tmp_path):
    found = results(tmp_path, {m: REGRETS[m] for m in ("random_search", "tpe")})
    assert "every method recommends better configurations than random_search" in pages.page("analytic", found).lead[0]


def test_alone_there_is_nothing_to_compare(tmp_path):
    found = results(tmp_path, {"random_search": REGRETS["random_search"]})
    assert "no landscape yet" in pages.page("analytic", found).lead[0]
