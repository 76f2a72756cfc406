"""Time that a method takes to propose and to learn, against Optuna's samplers and plain BoTorch, by observations seen.

Every contender searches the six hyperparameters of problem last_digit; accuracy comes from a formula, so nothing is
trained and nothing but the method is timed. At each level it is first given n observations the cheap way (a method of
ours through ask and tell, its initial design set to n trials where it has one; the others from a Sobol sequence), and
then asked and told a few more times. An observation is one validation told; the trials of a method of ours may bring
several each. All of it runs on one thread, in turns, in one process.

"Worst" includes a fit of hyperparameters where a method does not fit every time: the tell that ends the initial design
is timed too. BoTorch means SingleTaskGP, LogExpectedImprovement and optimize_acqf (10 restarts, 512 raw samples) as
its tutorials have them, fitted anew for every proposal. Optuna's GP sampler is faster with `greenlet` installed.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import argparse
import dataclasses
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import optuna
import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood
from rich.console import Console
from rich.table import Column, Table

from experiments.config import build_problem, load
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config, Cost, Status, StepRecord, Trial, TrialResult
from jfhpo.study.methods import method

EXAMPLES = """examples:
  python benchmarks/ask_latency.py                                 jfhpo against the three others, up to 1,000
  python benchmarks/ask_latency.py jfhpo random_search --sizes 20,50,100
  python benchmarks/ask_latency.py jfhpo --against optuna_tpe --json latency.json
  python benchmarks/ask_latency.py jfhpo --against none --repeats 20
"""
SIZES = "20,50,100,200,500,1000"
GROWTH_RANGE = (100, 1000)
"""Observations between which the growth exponent is taken: below, what does not grow dominates."""
WARM_UP = 12
"""Observations of an untimed first round: imports and caches (Optuna's samplers draw at random before the tenth)."""


def accuracy(config: Config, width: int, steps: int) -> float:
    """A validation accuracy by formula: a ceiling that is a parabola in the logarithms of the learning rate (best
    ∝ 1/width) and of the KL coefficient, approached with the steps."""
    off_lr = math.log10(config["lr"] * width / 0.1)
    off_kl = math.log10(config["kl_loss_coef"] / 0.02)
    ceiling = 0.9 - 0.15 * off_lr**2 - 0.03 * off_kl**2 - 0.01 * (config["lr_scheduler"] == "cosine")
    ceiling += 0.01 * math.log2(config["rollout_n"] / 8) - 0.5 * (config["clip_ratio"] - 0.2) ** 2
    ceiling -= 0.01 * math.log10(config["grad_clip"]) ** 2
    return 0.1 + max(0.0, ceiling - 0.1) * (1 - math.exp(-steps / 15))


def result_of(problem: Problem, trial: Trial) -> TrialResult:
    """What the trial brings: completed, validated where it asked to be, resumed where it asked to be."""
    size, config, end = problem.model(trial.fidelity.model), trial.config, trial.fidelity.steps
    cost = Cost(0.01 * size.relative_cost * (4 + config["rollout_n"]), 100, 1e6)
    validated = {*trial.validate_at, end}
    curve = []
    for step in range(1, end + 1):
        now = accuracy(config, size.width, step)
        validation = now if step in validated else None
        curve.append(StepRecord(step, now, 0.01, 0.3, 1.0, 0.0, 10.0, config["lr"], 0.0, cost, validation))
    first, score = trial.resume_from, curve[-1].val_accuracy
    paid, whole = (sum((r.cost for r in curve[start:]), Cost()) for start in (first, 0))
    return TrialResult(trial, Status.COMPLETED, "", end, score, tuple(curve), paid, whole, first)


class Contender(Protocol):
    """Given its observations when it is made; `learn` is a zero-argument call still to be timed, or None."""

    learn: Callable[[], None] | None

    def ask(self) -> Any: ...
    def answer(self, asked: Any) -> Any:
        """What to tell; not timed."""

    def tell(self, asked: Any, answer: Any) -> None: ...


class Ours:
    """A method of this repository, by its name."""

    def __init__(self, name: str, problem: Problem, observations: int):
        cls = method(name)
        design = {"initial": observations, "initial_steps": "first_rung"}  # one observation a trial, and no more of it
        known = {f.name for f in dataclasses.fields(cls.Settings)}
        settings = cls.Settings(**{name: value for name, value in design.items() if name in known})
        self.problem, self.name = problem, name
        self.optimizer = cls(problem, seed=0, settings=settings)
        told = 0
        while True:
            trial = self.ask()
            result = self.answer(trial)
            told += len(result.validations())
            if told >= observations:
                break
            self.tell(trial, result)
        self.learn = lambda: self.tell(trial, result)

    def ask(self) -> Trial:
        trial = self.optimizer.ask()
        if trial is None:
            raise UsageError(f"method {self.name} stops asking before --sizes is reached; it cannot be timed there")
        return trial

    def answer(self, asked: Trial) -> TrialResult:
        return result_of(self.problem, asked)

    def tell(self, asked: Trial, answer: TrialResult) -> None:
        self.optimizer.tell(answer)


def full_run(problem: Problem, config: Config) -> float:
    return accuracy(config, problem.model(problem.target).width, problem.max_steps)


def design(problem: Problem, count: int) -> list[dict[str, Any]]:
    return problem.space.spread(np.random.default_rng(0), count)


class Optuna:
    """A study in memory with one of Optuna's samplers; ordinals are whole numbers that index their values."""

    learn = None

    def __init__(self, sampler: Callable[..., optuna.samplers.BaseSampler], problem: Problem, observations: int):
        self.problem, specs = problem, problem.space.specs
        self.ordinals = {name: spec["values"] for name, spec in specs.items() if spec["type"] == "ordinal"}
        self.distributions = {name: self._distribution(spec) for name, spec in specs.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study = optuna.create_study(direction="maximize", sampler=sampler(seed=0))
        self.study.add_trials([self._finished(config) for config in design(problem, observations)])

    @staticmethod
    def _distribution(spec: dict[str, Any]) -> optuna.distributions.BaseDistribution:
        if spec["type"] == "categorical":
            return optuna.distributions.CategoricalDistribution(spec["values"])
        if spec["type"] == "ordinal":
            return optuna.distributions.IntDistribution(0, len(spec["values"]) - 1)
        whole = optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution
        return whole[spec["type"] == "float"](spec["low"], spec["high"], log=spec.get("log", False))

    def _finished(self, config: Config) -> optuna.trial.FrozenTrial:
        own = {n: self.ordinals[n].index(v) if n in self.ordinals else v for n, v in config.items()}
        value = full_run(self.problem, config)
        return optuna.create_trial(params=own, distributions=self.distributions, value=value)

    def ask(self) -> optuna.Trial:
        return self.study.ask(self.distributions)

    def answer(self, asked: optuna.Trial) -> float:
        config = {n: self.ordinals[n][v] if n in self.ordinals else v for n, v in asked.params.items()}
        return full_run(self.problem, config)

    def tell(self, asked: optuna.Trial, answer: float) -> None:
        self.study.tell(asked, answer)


class BoTorch:
    """A loop as in BoTorch's tutorials, over the unit cube of the space, ordinals and the categorical relaxed."""

    learn = None

    def __init__(self, problem: Problem, observations: int):
        self.problem, configs = problem, design(problem, observations)
        self.X = torch.tensor(problem.space.encode(configs), dtype=torch.double)
        self.Y = torch.tensor([[full_run(problem, c)] for c in configs], dtype=torch.double)

    def ask(self) -> torch.Tensor:
        torch.manual_seed(0)
        model = SingleTaskGP(self.X, self.Y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        value = LogExpectedImprovement(model, best_f=self.Y.max())
        bounds = torch.stack([torch.zeros(self.X.shape[1]), torch.ones(self.X.shape[1])]).double()
        return optimize_acqf(value, bounds, q=1, num_restarts=10, raw_samples=512)[0]  # (1, D)

    def answer(self, asked: torch.Tensor) -> float:
        return full_run(self.problem, self._config(asked.squeeze(0).tolist()))

    def _config(self, units: list[float]) -> dict[str, Any]:
        """The nearest configuration; every hyperparameter of this space has one column."""
        config = {}
        for unit, (name, spec) in zip(units, self.problem.space.specs.items(), strict=True):
            values = spec.get("values")
            parameter = self.problem.space.configspace[name]
            config[name] = values[round(unit * (len(values) - 1))] if values else parameter.to_value(unit)
        return config

    def tell(self, asked: torch.Tensor, answer: float) -> None:
        self.X = torch.cat([self.X, asked])
        self.Y = torch.cat([self.Y, torch.tensor([[answer]], dtype=torch.double)])


OTHERS: dict[str, Callable[[Problem, int], Contender]] = {
    "optuna_tpe": lambda problem, n: Optuna(optuna.samplers.TPESampler, problem, n),
    "optuna_gp": lambda problem, n: Optuna(optuna.samplers.GPSampler, problem, n),
    "botorch": BoTorch,
}


def timed(action: Callable[..., Any], *arguments: Any) -> tuple[Any, tuple[float, float]]:
    """What the action returns, and its (CPU, wall) seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = action(*arguments)
    return value, (time.process_time() - cpu, time.perf_counter() - wall)


def measure(contender: Contender, repeats: int, limit: float) -> dict[str, Any]:
    """CPU and wall seconds of ask, of tell and of both, for up to `repeats` trials or `limit` CPU seconds; at least
    one trial. A `learn` that is due counts as a tell, and as a trial whose ask is left out."""
    spans: dict[str, list[tuple[float, float]]] = {"ask": [], "tell": [], "both": []}
    if contender.learn is not None:
        spans["tell"].append(timed(contender.learn)[1])
        spans["both"].append(spans["tell"][0])
    done, began = 0, time.process_time()
    while done < repeats and (done == 0 or time.process_time() - began < limit):
        asked, ask = timed(contender.ask)
        _, tell = timed(contender.tell, asked, contender.answer(asked))
        spans["ask"].append(ask)
        spans["tell"].append(tell)
        spans["both"].append((ask[0] + tell[0], ask[1] + tell[1]))
        done += 1
    numbers: dict[str, Any] = {"repeats": done}
    for part, pairs in spans.items():
        after_fit = pairs[len(pairs) - done :]
        for clock, values in zip(("cpu", "wall"), zip(*pairs, strict=True), strict=True):
            usual = median(pair[clock == "wall"] for pair in after_fit)
            numbers[f"{part}_{clock}"] = {"median": usual, "worst": max(values)}
    return numbers


def growth(levels: dict[int, dict[str, Any]]) -> float | None:
    """Least-squares slope of log CPU seconds (ask + tell, median) over log observations, within `GROWTH_RANGE`; None
    for fewer than two levels."""
    low, high = GROWTH_RANGE
    inside = [n for n in levels if low <= n <= high]
    if len(inside) < 2:
        return None
    return float(np.polyfit(np.log(inside), np.log([levels[n]["both_cpu"]["median"] for n in inside]), 1)[0])


def run(names: Sequence[str], sizes: Sequence[int], repeats: int, limit: float) -> dict[str, Any]:
    """Contender -> observations -> numbers, every contender in turn at each level."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="botorch|gpytorch|linear_operator")  # restarts that it sees to itself
    problem = build_problem(load(["problem=last_digit"]))[0]

    def make(name: str, observations: int) -> Contender:
        return OTHERS[name](problem, observations) if name in OTHERS else Ours(name, problem, observations)

    for name in names:
        measure(make(name, WARM_UP), 1, limit)
    levels: dict[str, dict[int, Any]] = {name: {} for name in names}
    for size in sizes:
        for name in names:
            levels[name][size] = measure(make(name, size), repeats, limit)
    return {name: {"levels": levels[name], "growth": growth(levels[name])} for name in names}


def table(results: dict[str, Any]) -> Table:
    low, high = GROWTH_RANGE
    title = "CPU milliseconds of ask + tell on one thread: median/worst"
    columns = (Column(name, justify="right", no_wrap=True) for name in results)
    drawn = Table(Column("n", justify="right", no_wrap=True), *columns, title=title)
    for size in next(iter(results.values()))["levels"]:
        both = [r["levels"][size]["both_cpu"] for r in results.values()]
        drawn.add_row(str(size), *(f"{1000 * b['median']:,.0f}/{1000 * b['worst']:,.0f}" for b in both))
    exponents = ("–" if r["growth"] is None else f"n^{r['growth']:.2f}" for r in results.values())
    drawn.add_row("growth", *exponents)
    drawn.caption = f"n: observations; growth: from {low} to {high} of them"
    return drawn


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "ask_latency.py", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", default=["jfhpo"], help="methods of this repository (default: jfhpo)")
    parser.add_argument("--against", default=",".join(OTHERS), help=f"of {', '.join(OTHERS)}, or none (default: all)")
    parser.add_argument("--sizes", default=SIZES, help=f"observations, separated by commas (default: {SIZES})")
    parser.add_argument("--repeats", default="7", help="trials timed at each level (default: 7)")
    parser.add_argument("--limit", default="60", help="CPU seconds after which a level ends early (default: 60)")
    parser.add_argument("--json", type=Path, help="where to write the numbers, in seconds, CPU and wall")

    def refuse(message: str) -> None:
        raise UsageError(message)

    parser.error = refuse  # one line, as everywhere else
    options = parser.parse_args(words)
    options.sizes = sorted({_whole("--sizes", word) for word in options.sizes.split(",")})
    options.repeats = _whole("--repeats", options.repeats)
    options.limit = _whole("--limit", options.limit)
    options.against = [] if options.against == "none" else options.against.split(",")
    for name in options.methods:
        method(name)  # refuses an unknown one
    for name in options.against:
        if name not in OTHERS:
            raise unknown("--against", name, [*OTHERS, "none"])
    if options.json and not options.json.absolute().parent.is_dir():
        raise UsageError(f"--json={options.json}: its folder does not exist; make it, or choose another")
    return options


def _whole(name: str, word: str) -> int:
    if not word.isdigit() or int(word) < 1:
        raise UsageError(f"{name}={word} must be a whole number from 1 on")
    return int(word)


def main(words: Sequence[str]) -> int:
    try:
        options = parse(words)
        load_before = os.getloadavg()
        results = run([*options.methods, *options.against], options.sizes, options.repeats, options.limit)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console, load = Console(), [load_before, os.getloadavg()]
    console.print(table(results))
    console.print(
        f"load before and after: {load[0][0]:.1f}, {load[1][0]:.1f} on {os.cpu_count()} cores", highlight=False
    )
    if options.json:
        options.json.write_text(json.dumps({"contenders": results, "load": load}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
