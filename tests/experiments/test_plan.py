"""Dry runs: what they say of studies that are not there, begun or finished, and that they leave no trace."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import launch, run
from experiments.benchmark.sweep import PAPER_METHODS, SWEEPS
from experiments.config import build_problem, load, plain
from experiments.plan import shell
from jfhpo.core.errors import UsageError
from jfhpo.study.checkpoint_database import glance
from jfhpo.study.checkpoints import CheckpointKey, CheckpointRegistry
from jfhpo.trainers.engine import engine
from jfhpo.trainers.verl.compose import check_words, installed

ONE = ("paper", "problem=gsm8k-qwen2_5", "method=jfhpo")


def dry(capsys, *words: str) -> str:
    assert launch.main([*words, "--dry-run"], quoted=lambda: ["  a paper's speed"]) == 0
    return capsys.readouterr().out


def everything(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*"))


# ---- the paper's scale


def test_the_paper_is_six_methods_on_three_families_and_four_data_sets():
    sweep = SWEEPS["paper"]
    assert set(sweep.methods) == {"recipe", "random_search", "hyperband", "bohb", "jfhpo_paper", "jfhpo"}
    assert sweep.methods == PAPER_METHODS and len(sweep.problems) == 12
    names = {(load(["scale=paper", *sweep.problem_words(p)]).problem.target) for p in sweep.problems}
    assert names == {"llama_8b", "qwen_7b", "qwen3_14b"}


@pytest.mark.parametrize("name", SWEEPS["paper"].problems)
def test_every_problem_of_the_paper_can_be_built_and_gets_48_hours_on_8_gpus(name):
    config = load(["scale=paper", *SWEEPS["paper"].problem_words(name)])
    problem, trainer = build_problem(config)
    assert (config.budget, run.gpus_of(config), trainer.name) == (48 * 3600, 8, "verl")
    assert problem.rungs[-1] == problem.max_steps
    assert problem.model(problem.proxy).parameters < 1.3e9 < problem.model(problem.target).parameters
    assert problem.recipe["lr"] == pytest.approx(1e-6 * 3584 / problem.model(problem.target).width)
    assert problem.recipe["rollout_n"] == 5


def test_a_dry_run_prints_the_studys_command_and_the_trial_that_it_would_launch(tmp_path, capsys):
    before = everything(tmp_path)
    said = dry(capsys, *ONE, f"out={tmp_path / 'out'}")
    assert everything(tmp_path) == before
    assert "1 study (jfhpo). Nothing is written, nothing is launched." in said
    assert "python -m experiments.run scale=paper problem=gsm8k family=qwen2_5 problem.name=gsm8k-qwen2_5" in said
    assert "# first trial: the recipe on qwen_500m, 5 steps" in said
    command = said[said.index("VERL_USE_EXTERNAL_MODULES") :].split("\n\n")[0].replace("\\\n", " ").replace("'", "")
    words = [word for word in command.split() if "=" in word and not word.isupper()][2:]
    values = check_words(words)
    assert values["actor_rollout_ref.model.path"] == "Qwen/Qwen2.5-0.5B"
    assert values["actor_rollout_ref.actor.optim.lr"] == pytest.approx(1e-6 * 3584 / 896)
    assert (values["data.train_batch_size"], values["actor_rollout_ref.rollout.n"]) == (1024, 5)
    assert values["trainer.total_training_steps"] == 18, "the horizon is the full run's, whatever the trial's steps"


def test_it_says_what_it_may_spend_needs_and_was_checked_against(tmp_path, capsys):
    said = dry(capsys, *ONE, f"out={tmp_path / 'out'}")
    assert "48 h of trainer time, 384 GPU-hours for 1 study" in said
    assert "(4 + 8 + 4)·N/G" in said and "seconds = FLOPs / (G · peak · utilisation)" in said
    assert "assumed, not measured: card_gb=80" in said and "a paper's speed" in said
    assert "reused: nothing" in said
    if installed():
        assert "each composed and validated by verl's own configuration" in said
    else:
        assert "nothing was composed or validated by verl's own configuration" in said


def test_without_gpus_the_papers_scale_is_refused_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "visible_gpus", lambda: 0)
    assert launch.main([*ONE, f"out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: problem=gsm8k-qwen2_5 needs 8 GPUs, and this machine has none; --dry-run says")
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()
    monkeypatch.setattr(run, "visible_gpus", lambda: 4)
    with pytest.raises(UsageError, match="needs 8 GPUs, and this machine has 4"):
        run.check_machine(load(["scale=paper", *SWEEPS["paper"].problem_words("gsm8k-qwen2_5")]))


def test_packed_trials_want_the_gpu_that_they_name_and_no_budget_in_its_seconds(monkeypatch):
    packed = ["executor=packed", "workers=4"]
    monkeypatch.setattr(run, "visible_gpus", lambda: 0)
    with pytest.raises(UsageError, match="device=cuda, and this machine has no GPU"):
        run.check_machine(load([*packed, "device=cuda"]))
    run.check_machine(load(packed))
    monkeypatch.setattr(run, "visible_gpus", lambda: 1)
    with pytest.raises(UsageError, match=r"budget_unit=seconds with executor=packed on a GPU: .* use"):
        run.check_machine(load(packed))
    run.check_machine(load([*packed, "budget_unit=flops", "device=cuda"]))
    run.check_machine(load([*packed, "device=cpu"]))


def test_gpus_of_a_ray_cluster_are_not_looked_for_on_this_machine(monkeypatch):
    config = load(["scale=paper", *SWEEPS["paper"].problem_words("gsm8k-qwen2_5")])
    config.problem.trainer_settings = {**config.problem.trainer_settings, "ray_address": "auto"}
    unchecked = replace(engine("verl"), check=lambda problem: None)
    monkeypatch.setattr(run, "engine", lambda name: unchecked)
    monkeypatch.setattr(run, "visible_gpus", lambda: 0)
    run.check_machine(config)
    assert run.gpus_of(config) == 8  # and GPU-hours count them all the same


@pytest.mark.parametrize(
    ("words", "each"),
    [
        (["problem.trainer=mini"], 0),
        (["problem.trainer=trl"], 1),
        (["problem=lora_mini"], 1),
        (["scale=paper", "problem=gsm8k"], 8),
        (["scale=paper", "problem=gsm8k", "+problem.trainer_settings.ray_address=auto"], 0),
    ],
)
def test_a_worker_has_gpus_of_its_own_where_its_engine_trains_on_them(words, each):
    assert build_problem(load(words))[1].gpus_each == each


@pytest.mark.skipif(installed(), reason="verl is installed")
def test_with_gpus_and_without_verl_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(run, "visible_gpus", lambda: 8)
    with pytest.raises(UsageError, match=r"pip install -e '.\[verl\]'"):
        run.check_machine(load(["scale=paper", "problem=gsm8k"]))


@pytest.mark.parametrize(
    "words, said",
    [
        (["problem.trainer_settings.overrides=['actor_rollout_ref.actor.grad_clip=1.0']"], "does not act on it"),
        (["problem.data.source=/nowhere/gsm8k"], "no file or folder /nowhere/gsm8k"),
        (["problem.trainer_settings.minibatches=3"], "minibatches=3 does not divide prompts_per_step=1024"),
        (["problem.trainer_settings.gpus=7"], "do not divide among 7 GPUs"),
        (["problem.trainer_settings.max_completion_length=null"], "max_completion_length is missing"),
        (["problem.models.qwen_7b.path=nowhere"], "problem.models.qwen_7b.path=nowhere"),
    ],
)
def test_what_verl_would_ignore_or_fail_on_is_refused_by_a_dry_run_too(tmp_path, capsys, words, said):
    assert launch.main([*ONE, f"out={tmp_path / 'out'}", *words, "--dry-run"]) == 2
    assert said in capsys.readouterr().err


# ---- what is there already


def test_finished_and_begun_studies_are_said_to_be(tmp_path, capsys):
    words = ("smoke", "problem=curves", "method=random_search", f"out={tmp_path / 'out'}", "budget=60", "tracking=none")
    common = ["scale=smoke", "problem.proxy=p", "problem.target=l", "problem.max_steps=24", "problem.rungs=[6,12,24]"]
    more = [*common[1:], "problem.pretrain={}"]
    assert "to run" in dry(capsys, *words, *more)
    run.run_study(load([*common, "problem.pretrain={}", *words[1:]]), None)
    said = dry(capsys, *words, *more)
    assert "# finished: only shown" in said and ": 1 finished, 0 begun" in said
    (folder,) = (tmp_path / "out").rglob("summary.json")
    folder.unlink()
    assert "trials ended; it goes on from there" in dry(capsys, *words, *more)


def test_a_glance_at_the_registry_counts_good_checkpoints_and_writes_nothing(tmp_path):
    def save(registry: CheckpointRegistry, scope: str, step: int) -> None:
        key = CheckpointKey(scope=scope, config_key="a", model="p", seed=0, task="t", code_version="v")
        registry.publish(key, step, lambda path: path.write_bytes(b"x" * 100), {})

    with CheckpointRegistry(tmp_path) as registry:
        for step in (1, 2):
            save(registry, "one", step)
        save(registry, "two", 1)
        assert glance(tmp_path) == {"one": (2, 200), "two": (1, 100)}, "beside a run"
    before = everything(tmp_path)
    assert glance(tmp_path) == {"one": (2, 200), "two": (1, 100)}
    assert everything(tmp_path) == before
    with sqlite3.connect(tmp_path / "registry.sqlite") as database:
        database.execute("UPDATE checkpoints SET bad = 'truncated' WHERE scope = 'two'")
    database.close()
    assert glance(tmp_path) == {"one": (2, 200)}
    assert glance(tmp_path / "nowhere") == {}


# ---- parts


def test_a_command_is_one_for_a_shell_however_many_lines_it_has():
    import shlex

    words = ["python", "-m", "verl", *(f"key.number{n}=[a,b c]" for n in range(20))]
    text = shell(words, width=60)
    assert all(len(line) <= 60 for line in text.splitlines()) and len(text.splitlines()) > 5
    assert shlex.split(text.replace("\\\n", "")) == words


def test_engines_that_start_no_program_say_so():
    config = load(["problem=last_digit"])
    trainer = build_problem(config)[1]
    mini = engine("mini")
    assert mini.launch(trainer.arguments, None).words == () and mini.job(plain(config)["problem"]) is None
    assert run.gpus_of(config) == 0
