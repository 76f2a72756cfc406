"""A limit on search trials, the same for every method: it ends the search, and not the final run."""

from __future__ import annotations

import pytest

from experiments.config import identity, load
from jfhpo.core.errors import UsageError
from jfhpo.study.settings import StudySettings
from tests.study.study_parts import BASICS, events, problem, study, without_times


@pytest.mark.parametrize("name", ["random_search", "jfhpo", "tpe"])
def test_the_search_ends_after_so_many_trials_and_the_final_run_follows(tmp_path, name):
    summary = study(tmp_path, name=name, budget=1e9, settings={"max_trials": 3}).run()
    asked = events(tmp_path, "asked")
    assert [e["phase"] for e in asked if e["phase"] == "search"] == ["search"] * 3
    assert sum(summary["trials"].values()) == 3 and summary["planned"] == 3
    assert summary["final"]["steps"] == problem().max_steps and summary["test"] is not None


def test_a_budget_that_is_spent_first_ends_it_all_the_same(tmp_path):
    free = study(tmp_path / "free", name="random_search").run()
    limited = study(tmp_path / "limited", name="random_search", settings={"max_trials": 1000}).run()
    assert limited["planned"] == 1000 > sum(limited["trials"].values()) > 0
    assert without_times(limited) == without_times(free) | {"planned": 1000}


def test_a_finished_search_asks_for_no_more_when_it_is_continued(tmp_path):
    first = study(tmp_path, name="random_search", budget=1e9, settings={"max_trials": 2}).run()
    again = study(tmp_path, name="random_search", budget=1e9, settings={"max_trials": 2}).run()
    assert without_times(again) == without_times(first)
    assert len(events(tmp_path, "asked")) in (2, 3)


def test_what_is_planned_is_the_lower_of_the_two_limits():
    unlimited, limited = (StudySettings(**BASICS, budget=1.0, max_trials=n) for n in (None, 5))
    assert [unlimited.planned(n) for n in (None, 8)] == [None, 8]
    assert [limited.planned(n) for n in (None, 8, 3)] == [5, 5, 3]


def test_none_at_all_is_refused():
    with pytest.raises(UsageError, match="max_trials=0 must be at least 1, or null"):
        StudySettings(**BASICS, budget=1.0, max_trials=0).check(problem())


def test_it_is_part_of_a_study_once_it_is_set_and_older_folders_go_on():
    assert "max_trials" not in identity(load([]))
    assert identity(load(["max_trials=7"]))["max_trials"] == 7
