"""The launcher: which studies a command means, and bad input refused for all of them before any is touched."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from experiments import launch, run
from experiments.launch import plan, run_jobs
from experiments.sweeps import sweeps
from jfhpo.core.errors import UsageError
from jfhpo.study.methods import method, methods

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
    "scale=huge": ["scale 'huge'", "mini, paper, replay, smoke"],
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
    said = "unknown scale 'mimi' (did you mean 'mini'?); valid: bench, full, mini, paper, replay, smoke, tune"
    assert said in capsys.readouterr().err


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


def test_a_scale_may_name_its_experiment_and_a_word_another():
    planned = plan(["full", "method=recipe", "seed=0"])
    assert planned.experiment == "benchmark"
    assert {job.config.experiment for job in planned.jobs} == {"benchmark"}
    assert plan(["smoke", "experiment=benchmark", "method=recipe"]).experiment == "benchmark"
    with pytest.raises(UsageError, match="scale of experiment main 'full'"):
        plan(["full", "experiment=main"])


def test_a_problem_of_the_sweep_is_chosen_by_its_name():
    (job,) = plan(["full", "problem=last_digit-m3", "method=recipe", "seed=2"]).jobs
    assert (job.config.problem.name, job.config.problem.target, job.config.seed) == ("last_digit-m3", "m3", 2)
    assert job.folder.parts[-3:] == ("last_digit-m3", "recipe", "seed=2")


def test_every_seed_is_a_configuration_of_its_own():
    from experiments.config import identity, load

    jobs = plan(["mini", "method=recipe"]).jobs
    assert [job.config.seed for job in jobs] == list(sweeps("main")["mini"].seeds)
    assert [identity(load(job.words)) for job in jobs] == [identity(job.config) for job in jobs]


def test_a_method_that_cannot_run_on_a_problem_is_left_out_aloud_unless_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(method("random_search"), "unsupported", classmethod(lambda cls, problem: "too conditional"))
    planned = plan(["smoke"])
    assert {job.config.method.name for job in planned.jobs} == {"recipe", "jfhpo"}
    assert planned.left_out == ("random_search cannot run on problem=last_digit: too conditional",)
    assert len(plan(["smoke", "method=random_search"]).jobs) == 1  # refused when it is built, with the reason


# -- what is said beforehand


def studies(tmp_path, *words: str) -> list[launch.Job]:
    return list(plan([*words, f"out={tmp_path}"]).jobs)


def test_a_short_wait_is_not_announced(tmp_path):
    assert launch.announcement(studies(tmp_path, "smoke"), 3, 2, bases=0) == ""


def test_a_long_wait_is_the_budgets_shared_among_the_processes(tmp_path):
    jobs = studies(tmp_path, "mini", "budget=150")
    assert launch.announcement(jobs[:6], 6, 2, bases=0) == (
        "6 of 6 studies are missing: at most 8 min of trainer time, 2 at once. "
        "Stop it when you like: the same command continues."
    )
    assert "at most 15 min of trainer time, 1 at once" in launch.announcement(jobs[:6], 6, 1, bases=0)
    said = launch.announcement(jobs[:5], 6, 2, bases=3)
    assert "5 of 6 studies are missing: at most 8 min" in said, "five on two processes take three turns"
    assert "Before that 3 base models are made, about 5 min." in said


def test_what_a_study_has_spent_is_not_waited_for_again(tmp_path):
    (job,) = studies(tmp_path, "mini", "method=jfhpo", "seed=0", "budget=150")
    job.folder.mkdir(parents=True)
    step = {"event": "step", "trial": 0, "spent": {"seconds": 80.0}, "record": {"step": 1, "reward_mean": 0.1}}
    (job.folder / "records.jsonl").write_text(json.dumps(step) + "\n")
    assert "at most 2 min" in launch.announcement([job], 6, 2, bases=0)  # 70 s


def test_what_seconds_do_not_bound_has_no_time(tmp_path):
    (job,) = studies(tmp_path, "mini", "method=jfhpo", "seed=0", "budget=4e12", "budget_unit=flops")
    assert launch.announcement([job], 1, 2, bases=0).startswith("1 of 1 studies are missing. Stop it")
    (job,) = studies(tmp_path, "mini", "experiment=recording", "seed=0")
    job.planned = 90
    assert "at most" not in launch.announcement([job], 2, 2, bases=0)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.2, "60 s"), (60, "1 min"), (61, "2 min"), (24000, "6 h 40 min")]
)
def test_durations_are_rounded_up(seconds, said):
    assert launch.duration(seconds) == said


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


def test_some_methods_and_seeds_may_be_chosen():
    planned = plan(["bench", "experiment=ablations", "method=[recipe,jfhpo]", "seed=2..4"])
    assert {(job.config.method.name, job.config.seed) for job in planned.jobs} == {
        (method, seed) for method in ("recipe", "jfhpo") for seed in (2, 3, 4)
    }
    with pytest.raises(UsageError, match="seed=one"):
        plan(["bench", "method=recipe", "seed=[0,one]"])
    with pytest.raises(UsageError, match=r"seed=4\.\.1 names none; for example seed=0"):
        plan(["bench", "method=recipe", "seed=4..1"])


def test_studies_at_once_have_gpus_of_their_own_and_a_free_place_is_taken_again(tmp_path, monkeypatch):
    jobs = plan(["smoke", "method=recipe", "seed=0..4", f"out={tmp_path}"]).jobs
    for job in jobs:
        job.gpus = 2
    lives = {0: 3, 1: 1, 2: 1, 3: 1, 4: 1}
    """Looks at which it is still there: the first outlives the next two."""
    shown = []

    def launched(job, environment):
        shown.append((job.config.seed, environment))
        left = iter([None] * lives[job.config.seed])
        job.process = SimpleNamespace(poll=lambda: next(left, 0), returncode=0)
        return job

    monkeypatch.setattr(launch, "_launch", launched)
    monkeypatch.setattr(launch.gpus, "visible", lambda: ["0", "1", "2", "3", "4"])
    monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
    assert run_jobs(jobs, 2, Console(file=io.StringIO())) == []
    first, second = ({"CUDA_VISIBLE_DEVICES": ids} for ids in ("0,1", "2,3"))
    assert shown == [(0, first), (1, second), (2, second), (3, first), (4, second)]
