"""NOMAD: its points are a plain run's of the library, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from baselines.nomad import Nomad, NomadSettings
from baselines.nomad_space import Encoding
from baselines.random_search import RandomSearch
from jfhpo.core.errors import UsageError
from jfhpo.core.space import SearchSpace, config_key
from jfhpo.core.trial import Status
from tests.baselines.formula import drive, problem, result

PyNomad = pytest.importorskip("PyNomad")

LORA = {
    "rank": {"type": "ordinal", "values": [4, 8, 16, 32, 64, 128]},
    "dropout": {"type": "ordinal", "values": [0, 1e-4, 1e-3, 1e-2, 0.1, 1]},
    "alpha": {"type": "integer", "low": 1, "high": 64},
    "lr": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
}
"""The space of Tribes et al. (arXiv 2312.00949)."""
START = {"rank": 8, "dropout": 0.1, "alpha": 32, "lr": 1e-5}
"""Theirs: 2 5 32 −5 with indices from 1."""
MIXED = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "kl": {"type": "float", "low": 0.0, "high": 1.0},
    "n": {"type": "ordinal", "values": [4, 8, 16]},
    "scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
}
MIXED_START = {"lr": 3e-5, "kl": 0.9, "n": 4, "scheduler": "cosine"}
GRID = {"a": {"type": "integer", "low": 0, "high": 3}, "b": {"type": "categorical", "values": ["x", "y"]}}


def mixed(**changes):
    return problem(MIXED, MIXED_START, **changes)


def peak(config, steps=24):
    """Best at lr = 10^−2.3, kl = 0.35, n = 16, constant: 1."""
    off = (math.log10(config["lr"]) + 2.3) ** 2 / 8 + (config["kl"] - 0.35) ** 2
    return 1.0 - off - 0.05 * (16 - config["n"]) / 12 - 0.05 * (config["scheduler"] == "cosine")


@pytest.fixture
def few_circles(monkeypatch):
    """NOMAD gives an exhausted mesh up sooner."""
    monkeypatch.setattr("baselines.nomad_run.MAX_CACHE_HITS", 200)


# -- the encoding


def test_the_lora_papers_space_is_encoded_as_in_the_paper():
    encoding = Encoding(SearchSpace(LORA))
    assert [v.letter for v in encoding.variables] == ["I", "I", "I", "R"]
    assert encoding.point(START) == [1, 4, 32, -5]
    assert [v.bounds for v in encoding.variables] == [(0, 5), (0, 5), (1, 64), (-6, -3)]
    assert encoding.config([1, 4, 32, -5]) == START
    assert encoding.config([5, 0, 64, math.log10(4.794e-4)]) == {"rank": 128, "dropout": 0, "alpha": 64, "lr": 4.794e-4}


def test_two_values_are_binary_one_is_left_out_and_a_logarithmic_integer_is_a_real():
    specs = {
        "scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
        "optimizer": {"type": "categorical", "values": ["adamw"]},
        "batch": {"type": "integer", "low": 1, "high": 1000, "log": True},
        "engine": {"type": "categorical", "values": ["a", "b", "c"]},
    }
    encoding = Encoding(SearchSpace(specs))
    assert [(v.name, v.letter) for v in encoding.variables] == [("scheduler", "B"), ("batch", "R"), ("engine", "I")]
    config = {"scheduler": "cosine", "optimizer": "adamw", "batch": 100, "engine": "b"}
    assert encoding.point(config) == [1, 2, 1]
    assert encoding.config([1, 2.004, 1]) == {**config, "batch": 101}  # 10^2.004 = 100.93


def test_every_configuration_comes_back_to_twelve_digits():
    space = SearchSpace(MIXED | {"alpha": {"type": "integer", "low": 1, "high": 64}})
    encoding = Encoding(space)
    for config in space.sample(np.random.default_rng(0), 50):
        back = encoding.config(encoding.point(config))
        assert back == {**config, "lr": float(f"{config['lr']:.12g}"), "kl": float(f"{config['kl']:.12g}")}


def test_rounding_and_stray_points_stay_within_the_range():
    third = 0.3333333333333333
    encoding = Encoding(SearchSpace({"x": {"type": "float", "low": third, "high": 0.66666666666666}}))
    assert [encoding.config([x])["x"] for x in (third, 0.1, 0.66666666666666, 0.9)] == [
        third,
        third,
        pytest.approx(0.66666666666666, abs=1e-12),
        0.66666666666666,
    ]


# -- the search


def plain_run(seed: int, count: int) -> list[list[float]]:
    """The points of PyNomad's own loop, which calls the objective itself."""
    encoding, points = Encoding(SearchSpace(MIXED)), []

    def blackbox(x):
        points.append([x.get_coord(i) for i in range(x.size())])
        x.setBBO(repr(1.0 - peak(encoding.config(points[-1]))).encode())
        return 1

    bounds = [v.bounds for v in encoding.variables]
    low, high = [b[0] for b in bounds], [b[1] for b in bounds]
    settings = ["BB_INPUT_TYPE ( R R I B )", "BB_OUTPUT_TYPE OBJ", "DISPLAY_DEGREE 0", f"MAX_BB_EVAL {count}"]
    handler = signal.getsignal(signal.SIGINT)
    PyNomad.setSeed(seed + 1)
    PyNomad.optimize(blackbox, encoding.point(MIXED_START), low, high, [*settings, f"SEED {seed}"])
    signal.signal(signal.SIGINT, handler)
    return points


def test_its_trials_are_the_points_of_a_plain_run_with_nomads_defaults():
    seed = int(np.random.default_rng(3).integers(2**16))
    trials = drive(Nomad(mixed(), seed=3), peak, 30)
    encoding = Encoding(SearchSpace(MIXED))
    assert [t.config for t in trials] == [encoding.config(point) for point in plain_run(seed, 30)]
    assert {(t.fidelity, t.resume_from) for t in trials} == {(mixed().full, 0)}


def test_runs_that_take_turns_in_one_process_do_not_disturb_each_other():
    alone = {seed: drive(Nomad(mixed(), seed=seed), peak, 12) for seed in (0, 1)}
    turns = {seed: Nomad(mixed(), seed=seed) for seed in (0, 1)}
    trials = {0: [], 1: []}
    for _ in range(12):
        for seed, optimizer in turns.items():
            trials[seed] += drive(optimizer, peak, 1)
    assert trials == alone
    assert [t.config for t in alone[0]] != [t.config for t in alone[1]]


def test_a_new_process_proposes_the_same():
    program = (
        "from tests.baselines.test_nomad import *\n"
        "print(*[config_key(t.config) for t in drive(Nomad(mixed(), seed=5), peak, 15)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [config_key(t.config) for t in drive(Nomad(mixed(), seed=5), peak, 15)]


def test_it_finds_the_best_far_more_closely_than_random_search():
    best = {
        cls: [max(peak(t.config) for t in drive(cls(mixed(), seed=seed), peak, 60)) for seed in range(4)]
        for cls in (Nomad, RandomSearch)
    }
    assert min(best[Nomad]) > 0.99
    assert 1 - np.mean(best[Nomad]) < 0.25 * (1 - np.mean(best[RandomSearch]))


def test_the_first_point_is_the_recipe_to_the_last_digit():
    recipe = {**MIXED_START, "lr": 2.8000000000000003e-05}
    first, second, *_ = drive(Nomad(problem(MIXED, recipe), seed=0), peak, 2)
    assert first.config == recipe
    assert second.config != recipe
    assert drive(Nomad(mixed(recipe_first=False), seed=0), peak, 1)[0].config != MIXED_START


def test_the_papers_space_is_searched_its_integers_with_frames_of_whole_numbers():
    """A tenth of alpha's range is 6.3, which NOMAD refuses for an integer."""

    def score(config, steps):
        return 0.9 - 0.1 * (math.log10(config["lr"]) + 3.3) ** 2 + 0.05 * config["alpha"] / 64

    trials = drive(Nomad(problem(LORA, START), seed=0), score, 25)
    assert len({config_key(t.config) for t in trials}) == 25 and trials[0].config == START
    assert max(score(t.config, 0) for t in trials) > score(START, 0) + 0.2
    assert len({t.config["alpha"] for t in trials}) > 3


def test_one_point_at_a_time():
    optimizer = Nomad(mixed(), seed=0)
    trial = optimizer.ask()
    assert optimizer.ask() is None
    optimizer.tell(result(trial, 0.5))
    assert optimizer.ask() is not None


def test_a_small_space_is_searched_through_restarts_and_nothing_is_trained_twice(few_circles, capfd):
    optimizer = Nomad(problem(GRID, {"a": 0, "b": "x"}), seed=0)
    scores = {("x", 0): 0.1, ("y", 3): 0.9}
    trials = drive(optimizer, lambda config, _: scores.get((config["b"], config["a"]), 0.2), 20)
    assert sorted((t.config["a"], t.config["b"]) for t in trials) == list(product(range(4), "xy"))
    assert optimizer.ask() is None
    assert optimizer.recommend() == {"a": 3, "b": "y"}
    assert capfd.readouterr() == ("", "")


def test_a_starting_point_that_fails_is_left_for_a_random_one():
    optimizer = Nomad(mixed(), seed=0)
    first, second, *rest = drive(optimizer, lambda config, _: None if config == MIXED_START else peak(config), 12)
    assert optimizer.run.start == second.config
    assert first.config == MIXED_START
    assert len({config_key(t.config) for t in rest}) == 10
    assert max(peak(t.config) for t in rest) > peak(second.config)


def test_failures_are_no_answers_and_no_point_is_repeated():
    optimizer = Nomad(mixed(), seed=0)
    trials = drive(optimizer, lambda config, _: None if config["lr"] > 1e-3 else peak(config), 25)
    assert len({config_key(t.config) for t in trials}) == 25
    failed = {config_key(t.config) for t in trials if t.config["lr"] > 1e-3}
    assert failed
    assert {key for key, answer in optimizer.answers.items() if answer is None} == failed
    assert optimizer.recommend()["lr"] <= 1e-3


def test_an_early_stop_counts_with_its_score_and_a_cut_run_is_a_failed_evaluation():
    optimizer, told = Nomad(mixed(), seed=0), []
    for status, score in (
        (Status.COMPLETED, 0.25),
        (Status.EARLY_STOPPED, 0.5),
        (Status.CUT, 0.75),
        (Status.CUT, None),
    ):
        trial = optimizer.ask()
        optimizer.tell(result(trial, score, status, steps=24 if status is Status.COMPLETED else 5))
        told.append(optimizer.answers[config_key(trial.config)])
    assert told == [0.75, 0.5, None, None]
    assert optimizer.recommend() == MIXED_START, "the one that was completed"


@pytest.fixture(scope="module")
def default_trials():
    return drive(Nomad(mixed(), seed=0), peak, 60)


@pytest.mark.parametrize(
    "settings",
    [
        {"frame_size": 0.4},
        *({"directions": name} for name in ("ortho_n+1_neg", "ortho_2n", "n+1_uni")),
        {"anisotropic_mesh": False},
        {"quad_model_search": False},
        {"vns_search": True},
    ],
    ids=str,
)
def test_every_setting_makes_a_difference(settings, default_trials):
    trials = drive(Nomad(mixed(), seed=0, settings=NomadSettings(**settings)), peak, 60)
    assert [t.config for t in trials] != [t.config for t in default_trials]


# -- its process


def gone(pid: int) -> bool:
    """Within a moment. A process that nobody waited for is gone too."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
            if " Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def interrupt():
    """Python's own handler of SIGINT: a shell starts what runs in its background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_no_thread_file_or_word_is_left(tmp_path, monkeypatch, capfd, interrupt):
    monkeypatch.chdir(tmp_path)
    threads = threading.enumerate()
    optimizer = Nomad(mixed(), seed=0)
    drive(optimizer, peak, 5)
    assert threading.enumerate() == threads
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is interrupt


def test_its_process_ends_with_the_optimizer_and_with_each_run(few_circles):
    optimizer = Nomad(mixed(), seed=0)
    drive(optimizer, peak, 3)
    process = optimizer.run.process
    assert process.poll() is None
    del optimizer
    gc.collect()
    assert process.poll() == 0

    optimizer = Nomad(problem(GRID, {"a": 0, "b": "x"}), seed=0)
    processes = set()
    while (trial := optimizer.ask()) is not None:
        processes.add(optimizer.run.process)
        optimizer.tell(result(trial, 0.5))
    assert optimizer.run.process.poll() is not None
    assert all(process is None or process.poll() is not None for process in processes)


IN_THE_MIDDLE = """
import sys, time
from tests.baselines.test_nomad import *
optimizer = Nomad(mixed(), seed=0)
drive(optimizer, peak, 3)
print(optimizer.run.process.pid, flush=True)
optimizer.ask()
"""


@pytest.mark.parametrize("end", ["", "raise ValueError('an error of the study')", "time.sleep(600)"])
def test_its_process_ends_with_its_parent_however_that_ends(end):
    parent = subprocess.Popen(
        [sys.executable, "-c", IN_THE_MIDDLE + end],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid = int(parent.stdout.readline())
    if "sleep" in end:
        parent.kill()
    _, error = parent.communicate(timeout=60)
    assert parent.returncode == {"": 0, "time.sleep(600)": -signal.SIGKILL}.get(end, 1)
    assert ("an error of the study" in error) == ("raise" in end)
    assert gone(pid)


def test_a_run_whose_process_dies_is_followed_by_another():
    optimizer = Nomad(mixed(), seed=0)
    drive(optimizer, peak, 4)
    optimizer.run.process.kill()
    optimizer.run.process.wait()
    fifth, sixth = drive(optimizer, peak, 2)
    assert fifth.config == optimizer.run.start
    assert sixth.config == optimizer.run.waiting != fifth.config


def test_a_nomad_that_cannot_begin_is_an_error_and_not_a_random_search(monkeypatch):
    monkeypatch.setattr(Nomad, "_parameters", lambda self: ["INITIAL_FRAME_SIZE * wide"])
    optimizer = Nomad(mixed(), seed=0)
    drive(optimizer, peak, 1)
    with pytest.raises(RuntimeError, match=r"NOMAD ended before its starting point.*FRAME_SIZE \* wide"):
        optimizer.ask()


# -- what it refuses


def test_conditional_spaces_and_spaces_of_one_configuration_are_refused():
    conditional = mixed()
    conditional.space.conditions = {"kl": ("scheduler", ("cosine",))}
    with pytest.raises(
        UsageError, match=r"method=nomad cannot run on problem=curves: kl is not in every.*use tpe, smac"
    ):
        Nomad(conditional, seed=0)
    single = problem({"a": {"type": "categorical", "values": ["x"]}}, {"a": "x"})
    with pytest.raises(UsageError, match="a single configuration; use recipe"):
        Nomad(single, seed=0)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"frame_size": 0.0}, r"method\.frame_size=0 must be above 0 and at most 1"),
        ({"frame_size": 1.5}, r"method\.frame_size=1\.5 must be above 0 and at most 1"),
        ({"directions": "ortho_3n"}, r"unknown method\.directions 'ortho_3n'.*n\+1_uni, ortho_2n"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, says):
    with pytest.raises(UsageError, match=says):
        Nomad(mixed(), seed=0, settings=dataclasses.replace(NomadSettings(), **settings))
