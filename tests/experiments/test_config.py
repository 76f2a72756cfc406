"""What bad input gets: exit code 2, one line that names the setting and what is valid, and nothing touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from experiments import run
from experiments.config import all_keys, bases_of, build_problem, groups, identity, load, study_folder
from experiments.sweeps import sweeps
from jfhpo.core.errors import UsageError
from jfhpo.replay import names as recorded
from jfhpo.study.methods import methods
from jfhpo.tasks import TASKS

SIZES = "l, m3, p, s, xs"


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    """Were bad input accepted, base models and studies would be made: fail instead."""

    def accepted(*arguments):
        raise AssertionError("the input was accepted")

    monkeypatch.setattr(run, "make_bases", accepted)


def refused(capsys, words: list[str], main=run.main) -> str:
    """The one line that these words get."""
    assert main(words) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert printed.out == ""
    return line


BAD = {
    # names
    "method=jfhop": ["method 'jfhop'", "did you mean 'jfhpo'", ", ".join(sorted(methods()))],
    "method=": ["method ''", ", ".join(sorted(methods()))],
    "method.name=recipe": ["method.name=recipe", "method=<name>", ", ".join(sorted(methods()))],
    "problem=last_digits": ["problem 'last_digits'", "did you mean 'last_digit'"],
    "scale=huge": ["scale 'huge'", "mini, paper, replay, smoke"],
    "experiment=mian": ["experiment 'mian'", "did you mean 'main'", "valid: ", "recording"],
    "experiment=../elsewhere": ["experiment '../elsewhere'", "valid: ", "recording"],
    "problem.proxy=xl": ["problem.proxy 'xl'", SIZES],
    "problem.target=7b": ["problem.target '7b'", SIZES],
    "problem.task=sums": ["problem.task 'sums'", "last_digit"],
    "problem.trainer=vrl": ["problem.trainer 'vrl'", "did you mean 'verl'"],
    "problem.name=../x": ["problem.name=../x", "letters"],
    "tracking=ofline": ["tracking 'ofline'", "did you mean 'offline'", "auto, none, offline, online"],
    "budget_unit=hours": ["budget unit 'hours'", "flops, seconds, tokens"],
    # keys
    "bugdet=3": ["'bugdet'", "did you mean 'budget'", "budget_unit", "tracking"],
    "method.early_stoping=none": ["'method.early_stoping'", "did you mean 'method.early_stopping'", "method.proxy"],
    "problem.space.lr.lowest=1e-6": ["'problem.space.lr.lowest'", "did you mean 'problem.space.lr.low'", "lr.high"],
    "problem.space.learning_rate.low=1e-6": ["learning_rate", "valid here", "problem.space.lr"],
    "problem.recipe.n=4": ["'problem.recipe.n'", "problem.recipe.rollout_n"],
    "=3": ["unknown setting ''", "budget"],
    # words
    "budget": ["'budget' is not key=value"],
    "--multirun": ["'--multirun' is not key=value"],
    "budget=1,2": ["'budget=1,2'", "several values", "[1,2]"],
    "problem.rungs=[12,25": ["'problem.rungs=[12,25'", "cannot be read", "[1,2]"],
    "budget=${nothing}": ["nothing"],
    # numbers
    "budget=-1": ["budget=-1", "above 0 seconds"],
    "budget=0": ["budget=0", "above 0 seconds"],
    "budget=nan": ["budget=nan", "above 0 seconds"],
    "budget=inf": ["budget=inf"],
    "budget=plenty": ["budget=plenty", "a number"],
    "budget=": ["budget=", "a number"],
    "seed=-1": ["seed=-1", "0 or more"],
    "seed=one": ["seed=one", "a whole number"],
    "seed=1.5": ["seed=1.5", "a whole number"],
    "workers=0": ["workers=0", "at least 1"],
    "checkpoint_every=0": ["checkpoint_every=0", "at least 1"],
    "step_timeout=0": ["step_timeout=0", "above 0 seconds"],
    "test_k=0": ["test_k=0", "at least 1"],
    "method.initial=0": ["method.initial=0", "at least 1"],
    "method.initial=few": ["method.initial=few", "a whole number"],
    "method.proxy=perhaps": ["method.proxy=perhaps", "true or false"],
    "method.early_stopping=strict": ["early_stopping", "'strict'", "none, paper, robust"],
    "method.lr_transfer=depth": ["method.lr_transfer 'depth'", "none, width"],
    # ranges and fidelities
    "problem.space.lr.low=1": ["space.lr", "low=1", "below high=0.01"],
    "problem.space.lr.low=0": ["space.lr", "low=0", "above 0 for a log range"],
    "problem.space.lr.type=flaot": ["hyperparameter lr 'flaot'", "did you mean 'float'", "ordinal"],
    "problem.space.rollout_n.values=[]": ["space.rollout_n", "non-empty list"],
    "problem.recipe.clip_ratio=0.25": ["clip_ratio=0.25", "0.1, 0.2, 0.3"],
    "problem.recipe.lr_at_width=3": ["problem.recipe.lr_at_width=3", "[learning rate, width]"],
    "problem.max_steps=20": ["problem.rungs", "50", "above problem.max_steps=20"],
    "problem.max_steps=0": ["problem.max_steps=0", "at least 1"],
    "problem.rungs=[12,60]": ["problem.rungs", "60", "above problem.max_steps=50"],
    "problem.rungs=[25,12,50]": ["problem.rungs=[25, 12, 50]", "rising list"],
    "problem.rungs=50": ["problem.rungs=50", "a list like [1,2]"],
}


@pytest.mark.parametrize("word", BAD)
def test_bad_input_is_one_line_that_says_what_is_valid_and_touches_nothing(word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, [word, f"out={tmp_path / 'out'}"])
    assert [part for part in BAD[word] if part not in line] == [], line
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_larger_than_the_target_is_refused(tmp_path, capsys):
    line = refused(capsys, ["problem.proxy=l", "problem.target=p", f"out={tmp_path / 'out'}"])
    assert "problem.proxy=l is larger than problem.target=p" in line
    assert list(tmp_path.iterdir()) == []


# -- the output folder


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    line = refused(capsys, ["method=recipe", f"out={tmp_path / 'file' / 'results'}"])
    assert "out=" in line and "cannot be written" in line and "choose another" in line
    assert (tmp_path / "file").read_text() == "in the way"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_without_permission_to_write_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    line = refused(capsys, ["method=recipe", f"out={tmp_path / 'results'}"])
    assert f"out={tmp_path / 'results'} cannot be written ({tmp_path} is not writable)" in line
    assert list(tmp_path.iterdir()) == []


def test_no_folder_at_all_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "out= must name a folder" in refused(capsys, ["method=recipe", "out="])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def study(tmp_path) -> tuple[list[str], Path]:
    """The words of a prepared study, and its folder."""
    words = ["method=recipe", f"out={tmp_path}"]
    return words, run.prepare_folder(load(words))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("budget=77", ["budget=120.0 there", "77.0 here"]),
        ("problem.space.lr.low=1e-6", ["problem.space.lr.low=1e-05 there", "1e-06 here"]),
        ("checkpoint_every=3", ["checkpoint_every=10 there", "3 here"]),
    ],
)
def test_a_folder_that_holds_another_configuration_is_refused_with_the_key(study, word, said, capsys):
    words, folder = study
    before = snapshot(folder)
    line = refused(capsys, [*words, word])
    assert [s for s in [str(folder), "another configuration", "out=", *said] if s not in line] == [], line
    assert snapshot(folder) == before


def test_where_and_how_a_study_is_run_may_change(study):
    words, folder = study
    assert run.check_folder(load([*words, "tracking=none", "step_timeout=5"])) == folder


def test_a_folder_with_something_else_in_it_is_refused(tmp_path, capsys):
    folder = study_folder(load(["method=recipe", f"out={tmp_path}"]))
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("three years")
    line = refused(capsys, ["method=recipe", f"out={tmp_path}"])
    assert f"{folder} is not empty and holds no study" in line
    assert snapshot(folder) == {"thesis.tex": b"three years"}


@pytest.mark.parametrize("damage", [b"\x00\xff\xfe", b"a: [1", b"just words"])
def test_a_damaged_configuration_is_refused(study, damage, capsys):
    words, folder = study
    (folder / "config.yaml").write_bytes(damage)
    assert str(folder) in refused(capsys, words)
    assert snapshot(folder) == {"config.yaml": damage}


def test_the_folder_holds_what_makes_the_study(study):
    words, folder = study
    assert folder == study_folder(load(words))
    assert folder.parts[-4:] == ("main", "last_digit", "recipe", "seed=0")
    held = yaml.safe_load((folder / "config.yaml").read_text())
    assert held == identity(load(words))
    assert not {"out", "tracking"} & set(held)


# -- what good input gets


@pytest.mark.parametrize("scale", groups()["scale"])
@pytest.mark.parametrize("problem", TASKS)
def test_every_task_can_be_built_at_every_scale(problem, scale):
    config = load([f"problem={problem}", f"scale={scale}"])
    if scale == "replay" and problem not in recorded():
        with pytest.raises(UsageError, match=f"unknown recorded task '{problem}'"):
            build_problem(config)
        return
    built, _ = build_problem(config)
    assert built.rungs[-1] == built.max_steps
    assert [spec.size for spec in bases_of(config)] == ([] if scale == "replay" else [built.proxy, built.target])


def test_every_task_is_a_problem_of_its_name():
    assert {t: build_problem(load([f"problem={t}"]))[0].task for t in TASKS} == {t: t for t in TASKS}


def test_methods_are_a_group_by_themselves():
    assert groups()["method"] == sorted(methods())
    assert set(all_keys(load(["method=jfhpo"]))) >= {"method.proxy", "method.early_stopping", "method.checkpoint_reuse"}
    assert [k for k in all_keys(load(["method=recipe"])) if k.startswith("method.")] == ["method.name"]


def test_every_experiment_runs_known_methods_on_known_problems_at_known_scales():
    for experiment in (p.parent.name for p in Path(run.__file__).parent.glob("*/sweep.py")):
        for scale, sweep in sweeps(experiment).items():
            assert scale in groups()["scale"]
            for label in sweep.methods:
                build_problem(load([f"scale={scale}", *sweep.words(label)]))
            for problem in sweep.problems:
                assert load([f"scale={scale}", *sweep.problem_words(problem)]).problem.name == problem
            assert len(set(sweep.seeds)) == len(sweep.seeds) > 0


def test_words_override_and_numbers_may_be_written_as_people_do():
    config = load(["scale=smoke", "budget=4e12", "budget_unit=flops", "problem.space.lr.low=1e-6", "seed=3"])
    problem, _ = build_problem(config)
    assert (config.budget, problem.cost_unit, config.seed) == (4e12, "flops", 3)
    assert problem.space.specs["lr"]["low"] == 1e-6
    assert (config.scale, config.test_k) == ("smoke", 2)


def test_a_problems_file_may_make_a_hyperparameter_conditional():
    config = load([])
    OmegaConf.update(config, "problem.space.grad_clip.when", {"rollout_n": ["8", 16]}, force_add=True)
    with pytest.raises(UsageError, match=r"grad_clip=1.0 is inactive with rollout_n=4.*leave it out"):
        build_problem(config)
    OmegaConf.update(config, "problem.recipe.rollout_n", 8)
    problem, _ = build_problem(config)
    assert problem.space.conditions == {"grad_clip": ("rollout_n", (8, 16))}


def test_the_recipes_learning_rate_is_mapped_by_width():
    """1e-6 belongs to a model of width 3584: lr ∝ 1/width."""
    problem, _ = build_problem(load([]))
    assert problem.recipe["lr"] == pytest.approx(1e-6 * 3584 / problem.model(problem.target).width)


def test_what_decides_a_trial_is_in_the_version_and_nothing_else():
    def version(*words: str) -> str:
        return build_problem(load(list(words)))[1].version

    assert version() == version("seed=5", "budget=7", "problem.space.lr.low=1e-6", "method=recipe")
    assert version() != version("problem.max_steps=60", "problem.rungs=[12,60]")
    assert version() != version("problem.trainer_settings.minibatches=4")


def test_help_shows_how_and_runs_nothing(capsys):
    assert run.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for word in ("budget", "tracking", "method.<key>", "python -m experiments.run"):
        assert word in printed


def test_building_the_parts_of_a_study_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = run.build_study(load([f"out={tmp_path / 'out'}", "tracking=none", "seed=2"]))
    assert (parts.optimizer.name, parts.optimizer.seed, parts.settings.seed, parts.tracking) == ("jfhpo", 2, 2, None)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_is_one_error_of_one_line():
    with pytest.raises(UsageError) as caught:
        load(["method.foo.bar=1"])
    assert "\n" not in str(caught.value)


def test_a_setting_of_the_engine_that_the_problem_leaves_out_is_added():
    added = load(["problem=last_digit", "+problem.trainer_settings.micro_batch=64"]).problem.trainer_settings
    assert added.micro_batch == 64 and added.epochs == 1
    with pytest.raises(UsageError, match=r"unknown setting 'problem.trainer_settings.micro_batch'"):
        load(["problem=last_digit", "problem.trainer_settings.micro_batch=64"])
    with pytest.raises(UsageError, match=r"unknown setting 'problem\.lr'"):
        load(["problem=last_digit", "+problem.lr=64"])
