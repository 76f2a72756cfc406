"""What is written and printed: the tables, the figures, the report and the command."""

from __future__ import annotations

import contextlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.gather import load
from paper_figures import figures, formats, pages, report, tables
from paper_figures.__main__ import main
from paper_figures.pages import main as main_page
from tests.paper_figures.fake_results import FakeStudy


@pytest.fixture(scope="module")
def written(out: Path):
    """The experiment's folder and what the command printed, after the command."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([f"out={out}", "experiment=main"]) == 0
    return out / "main", printed.getvalue()


def test_everything_is_written(written):
    root, _ = written
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "seed=" not in str(p))
    stems = ["figures/anytime_last_digit", "figures/why_last_digit"]
    tables = [f"tables/{name}.{kind}" for name in ("accuracy", "efficiency") for kind in ("csv", "md", "tex")]
    assert names == sorted([f"{s}.{kind}" for s in stems for kind in ("pdf", "png")] + ["report.html"] + tables)


def test_the_accuracy_table_is_the_last_thing_printed(written):
    root, printed = written
    assert printed.index("report: ") < printed.index("Efficiency of the search") < printed.index("Test accuracy")
    assert f"report: {root / 'report.html'}" in printed.splitlines()


def test_the_accuracy_csv_has_the_numbers_and_the_papers_beside_them(written):
    rows = pd.read_csv(written[0] / "tables/accuracy.csv").set_index("method")
    assert rows.loc["jfhpo", "mean_at_k"] == pytest.approx(0.85)
    assert rows.loc["jfhpo", "paper_percent"] == pytest.approx((72.97 + 79.65) / 2)
    assert pd.isna(rows.loc["random_search", "paper_percent"])


def test_the_captions_state_the_rules_of_the_game(out):
    caption = tables.accuracy(load(out, "main")).caption
    for said in (
        "lr × 3584/d, since 1e-6 belongs to a 7B model", "selected on the validation split", "on 512 test prompts",
        "Equal budgets of 120 trainer seconds per study", "10 samples per prompt at temperature 1", "t over seeds",
        "not comparable in level, only in order",
    ):  # fmt: skip
        assert said in caption


def test_the_efficiency_table_says_n_a_for_the_recipe_and_quotes_the_paper(out):
    table = tables.efficiency(load(out, "main"))
    cells = {row[0]: dict(zip((c.header for c in table.columns), row, strict=True)) for row in table.rows}
    assert set(list(cells["recipe"].values())[1:]) == {"n/a"}
    assert cells["jfhpo"]["speedup"] == "8.0 [6.0, 10.0]"
    assert cells["jfhpo"]["paper speedup"] == "14.9 / 9.1"
    assert cells["random_search"]["trials"] == "2.0"


def test_an_interval_beyond_the_possible_is_cut():
    assert tables.with_interval(0.5, 0.1) == "50.0 ± 10.0"
    assert tables.with_interval(0.95, 0.1) == "95.0 [85, 100]"
    assert tables.with_interval(float("nan"), 0.1) == "–"


@pytest.fixture
def gap(tmp_path) -> Path:
    for method, seed in (("recipe", 0), ("recipe", 1), ("jfhpo", 0)):
        FakeStudy(tmp_path, method, seed).finish(0.9, 0.6)
    return tmp_path


def test_a_missing_run_is_an_error_in_every_format(gap, capsys):
    message = "missing: ./run_all.sh mini experiment=main method=jfhpo seed=1"
    table = tables.accuracy(load(gap, "main"))
    assert table.rows[1][1] == "1 of 2"
    assert message in formats.to_markdown(table)
    assert message in formats.to_html(table)
    assert message.replace("_", r"\_") in formats.to_latex(table)
    assert message in formats.to_csv(table)
    formats.show(Console(width=60), table)
    assert f"jfhpo seed=1 {message}" in capsys.readouterr().out  # on one line, to be copied


def test_a_table_too_wide_for_the_terminal_leaves_columns_to_the_files(out, capsys):
    table = tables.efficiency(load(out, "main"))
    formats.show(Console(width=80), table)
    narrow = capsys.readouterr().out
    assert "optimizer %" not in narrow.replace("\n", "").split("Efficiency")[1].split("Equal budgets")[0]
    assert "more columns: tables/efficiency.md" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    formats.show(Console(width=200), table)
    assert "optimizer %" in capsys.readouterr().out.split("Equal budgets")[0]


def test_latex_escapes_what_tex_would_read(out):
    text = formats.to_latex(tables.accuracy(load(out, "main")))
    assert r"random\_search" in text
    assert not re.search(r"(?<!\\)%(?!\n)", text)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]


def test_the_report_refers_to_nothing_outside_itself(written):
    text = (written[0] / "report.html").read_text()
    page = _Links()
    page.feed(text)
    assert len(page.links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert "url(" not in text
    assert "@import" not in text


def test_the_report_says_what_was_found_and_what_was_not(written):
    text = (written[0] / "report.html").read_text()
    assert (
        "jfhpo has the highest mean@10 on the test split of last_digit: 85.0 %, 13.0 points above random_search."
        in text
    )
    assert "With n=2 seeds their 95 % intervals overlap: not a ranking. It is ahead on 2 of 2 seeds." in text
    assert (
        "Seconds per search trial: random_search 40.00 s; jfhpo 5.00 s, 8.0 times the trials in the same time" in text
    )
    assert "(the paper: 14.9 on Qwen-2.5 7B and 9.1 on LLaMA-3.1 8B)" in text
    assert "2 completed; 1 early stopped; 1 failed" in text
    assert "1 early stopped: reward_drop; 1 failed: loss is nan at step 10" in text
    assert "posterior_mean" in text
    assert "./run_all.sh mini experiment=main method=recipe seed=0" in text


def test_the_headline_hedges_one_seed_one_method_and_none(tmp_path):
    study = FakeStudy(tmp_path, "recipe", 0)
    assert main_page.headline(load(tmp_path, "main"), "last_digit") == "No study of last_digit has a test result yet."
    study.finish(0.9, 0.6)
    assert "nothing to compare" in main_page.headline(load(tmp_path, "main"), "last_digit")
    FakeStudy(tmp_path, "jfhpo", 0).finish(0.9, 0.7)
    assert "leave out the luck of the search: not a ranking" in main_page.headline(load(tmp_path, "main"), "last_digit")


def test_names_from_disk_cannot_become_markup(tmp_path):
    FakeStudy(tmp_path, "<b>x", 0).finish(0.9, 0.6)
    records = load(tmp_path, "main")
    shown = pages.Page(lead=("<b>x",), tables=((tables.accuracy(records),),))
    assert "<b>x" not in report.page("main", records, shown, [])


def test_it_works_on_one_study_under_way_and_on_several_problems(tmp_path, capsys):
    FakeStudy(tmp_path, "jfhpo", 0, problem="a").run("p", 10, {10: 0.5})
    FakeStudy(tmp_path, "jfhpo", 0, problem="b").run("l", 50, {50: 0.9})
    assert main([f"out={tmp_path}"]) == 0
    assert "a: jfhpo seed=0 unfinished: ./run_all.sh mini experiment=main problem=a" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "main/figures").glob("*.png")} == {
        f"{kind}_{problem}.png" for kind in ("anytime", "why") for problem in "ab"
    }


def test_a_method_keeps_its_colour_whoever_else_is_there():
    few, many = figures.colours(["recipe", "jfhpo"]), figures.colours(["recipe", "zz", "bohb", "aa", "jfhpo"])
    assert all(many[m] == colour for m, colour in few.items())
    assert len(set(many.values())) == 5


def test_the_command_refuses_what_it_does_not_know_in_one_line(tmp_path, capsys):
    assert main(["outt=x"]) == 2
    assert capsys.readouterr().err == "error: unknown setting 'outt' (did you mean 'out'?); valid: experiment, out\n"
    assert main(["out"]) == 2
    assert "key=value" in capsys.readouterr().err
    assert main([f"out={tmp_path}"]) == 2
    assert "make them with: ./run_all.sh mini experiment=main\n" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["--help"]) == 0
    assert "examples" in capsys.readouterr().out
