"""The launcher: which studies a command means, and bad input refused for all of them before any is touched."""

from __future__ import annotations

import json

import pytest

from experiments import launch, run
from experiments.launch import plan
from experiments.sweeps import sweeps
from jfhpo.core.errors import UsageError
from jfhpo.study.methods import methods

ONE = ["smoke", "method=recipe"]
"""One study, so that a test loads one configuration."""


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    def accepted(*arguments):
        raise AssertionError("the input was accepted")

    monkeypatch.setattr(launch, "make_bases", accepted)
    monkeypatch.setattr(launch, "run_jobs", accepted)


BAD = {
    "method=jfhop": ["method 'jfhop'", "did you mean 'jfhpo'", ", ".join(sorted(methods()))],
    "problem=last_digits": ["problem 'last_digits'", "did you mean 'last_digit'"],
    "scale=huge": ["scale 'huge'", "mini, smoke"],
    "experiment=mian": ["experiment 'mian'", "did you mean 'main'"],
    "seed=-1": ["seed=-1", "0 or more"],
    "seed=one": ["seed=one", "a whole number"],
    "budget=-1": ["budget=-1", "above 0 seconds"],
    "budget=nan": ["budget=nan", "above 0 seconds"],
    "bugdet=3": ["'bugdet'", "did you mean 'budget'"],
    "jobs=0": ["jobs=0", "a whole number from 1 on"],
    "jobs=-2": ["jobs=-2", "a whole number from 1 on"],
    "jobs=all": ["jobs=all", "a whole number from 1 on"],
    "jobs": ["'jobs' is not key=value"],
    "method": ["'method' is not key=value"],
    "workers=0": ["workers=0", "at least 1"],
    "tracking=maybe": ["tracking 'maybe'", "auto, none, offline, online"],
    "problem.space.lr.low=1": ["space.lr", "low=1", "below high=0.01"],
    "problem.rungs=[2,90]": ["problem.rungs", "90", "above problem.max_steps=8"],
}


@pytest.mark.parametrize("word", BAD)
def test_bad_input_is_one_line_that_says_what_is_valid_and_touches_nothing(word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launch.main([*ONE, word, f"out={tmp_path / 'out'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in BAD[word] if part not in line] == [], line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scale_in_first_place_is_refused_with_the_valid_ones(capsys):
    assert launch.main(["mimi"]) == 2
    assert "unknown scale 'mimi' (did you mean 'mini'?); valid: bench, mini, smoke" in capsys.readouterr().err


def test_a_setting_of_one_method_needs_to_know_which(capsys):
    assert launch.main(["smoke", "method.early_stopping=none"]) == 2
    line = capsys.readouterr().err
    assert "method.early_stopping=none" in line and "method=" in line and "jfhpo" in line


def test_one_bad_folder_among_several_stops_them_all_before_any_is_made(tmp_path, capsys):
    (held,) = (job.folder for job in plan(["smoke", "method=jfhpo", f"out={tmp_path}"]).jobs)
    held.mkdir(parents=True)
    (held / "thesis.tex").write_text("three years")
    assert launch.main(["smoke", f"out={tmp_path}"]) == 2
    assert f"{held} is not empty and holds no study" in capsys.readouterr().err
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        str((held / "thesis.tex").relative_to(tmp_path))
    ]
    assert not (held.parents[1] / "recipe").exists()


def test_a_study_of_another_configuration_is_refused_with_the_key(tmp_path, capsys):
    words = [*ONE, f"out={tmp_path}"]
    run.prepare_folder(plan(words).jobs[0].config)
    assert launch.main([*words, "budget=77"]) == 2
    assert "holds another configuration: budget=6.0 there, 77.0 here" in capsys.readouterr().err


# -- which studies a command means


def test_a_scale_is_every_method_with_every_seed():
    planned = plan(["smoke", "jobs=3"])
    jobs, at_once = planned.jobs, planned.at_once
    sweep = sweeps("main")["smoke"]
    meant = {(p, m, s) for p in sweep.problems for m in sweep.methods for s in sweep.seeds}
    assert {(j.config.problem.name, j.config.method.name, j.config.seed) for j in jobs} == meant
    assert len(jobs) == len(meant) == len({j.folder for j in jobs})
    assert at_once == 3


def test_a_method_and_a_seed_choose_and_other_words_go_to_each_study():
    (job,) = plan(["smoke", "method=jfhpo", "seed=7", "budget=9", "method.early_stopping=paper"]).jobs
    config = job.config
    assert (config.method.name, config.seed, config.budget, config.method.early_stopping) == ("jfhpo", 7, 9, "paper")
    assert config.scale == "smoke"


def test_the_words_of_a_job_make_the_same_study_in_its_own_process():
    from experiments.config import identity, load

    (job,) = plan([*ONE, "seed=3"]).jobs
    assert identity(load(job.words)) == identity(job.config)


@pytest.mark.parametrize("words", [["smoke"], ["scale=smoke"]])
def test_the_scale_may_be_the_first_word_or_a_setting(words):
    (job,) = plan([*words, "method=recipe"]).jobs
    assert job.config.scale == "smoke"


def test_without_a_scale_it_is_mini():
    (job,) = plan(["method=recipe", "seed=0"]).jobs
    assert job.config.scale == "mini"


def test_a_finished_study_is_not_run_again(tmp_path):
    (job,) = plan([*ONE, f"out={tmp_path}"]).jobs
    assert not job.done
    job.folder.mkdir(parents=True)
    (job.folder / "summary.json").write_text("{}")
    assert job.done


def test_progress_is_read_from_whole_lines_of_the_records_as_they_come(tmp_path):
    (job,) = plan([*ONE, f"out={tmp_path}"]).jobs
    job.look()  # nothing there yet
    assert job.note == "waiting"
    job.folder.mkdir(parents=True)
    step = {"event": "step", "trial": 2, "spent": {"seconds": 1.5}, "record": {"step": 3, "reward_mean": 0.25}}
    line = json.dumps(step)
    with (job.folder / "records.jsonl").open("w") as file:
        file.write(line + "\n" + line.replace("1.5", "2.5")[:30])
        file.flush()
        job.look()
        assert (job.spent, job.note) == (1.5, "trial 2, step 3, reward 0.25")
        file.write(line.replace("1.5", "2.5")[30:] + "\n")
        file.flush()
        job.look()
        assert job.spent == 2.5


def test_help_shows_how_and_runs_nothing(capsys):
    assert launch.main(["-h"]) == 0
    assert "./run_all.sh smoke" in capsys.readouterr().out


def test_an_unknown_experiment_is_refused_by_name():
    with pytest.raises(UsageError, match=r"unknown experiment 'abaltion'"):
        sweeps("abaltion")
