"""The latency benchmark measures what it says; how fast anything is, is not tested here."""

from __future__ import annotations

import json

import pytest

from benchmarks import ask_latency
from benchmarks.ask_latency import growth, measure


def test_two_contenders_are_measured_at_each_level_and_written_down(tmp_path, capsys):
    path = tmp_path / "latency.json"
    words = ["jfhpo", "--against", "optuna_tpe", "--sizes", "12,14", "--repeats", "2", "--json", str(path)]
    assert ask_latency.main(words) == 0
    printed = capsys.readouterr().out
    found = json.loads(path.read_text())["contenders"]
    assert list(found) == ["jfhpo", "optuna_tpe"]
    for name in found:
        assert name in printed
        assert list(found[name]["levels"]) == ["12", "14"]
        assert found[name]["growth"] is None, "no two levels between 100 and 1,000"
        for level in found[name]["levels"].values():
            assert level["repeats"] == 2
            for part in ("ask", "tell", "both"):
                for clock in ("cpu", "wall"):
                    assert 0 < level[f"{part}_{clock}"]["median"] <= level[f"{part}_{clock}"]["worst"]


@pytest.mark.parametrize("name", ["optuna_tpe", "optuna_gp", "botorch"])
def test_the_others_start_with_the_observations_of_their_level_and_learn_one_a_trial(name):
    problem = ask_latency.build_problem(ask_latency.load(["problem=last_digit"]))[0]
    contender = ask_latency.OTHERS[name](problem, 11)

    def seen() -> int:
        return len(contender.Y) if name == "botorch" else len(contender.study.get_trials(deepcopy=False))

    assert seen() == 11
    measure(contender, repeats=1, limit=60)
    assert seen() == 12


def test_botorch_is_answered_for_the_configuration_that_its_point_encodes():
    problem = ask_latency.build_problem(ask_latency.load(["problem=last_digit"]))[0]
    contender = ask_latency.BoTorch(problem, 16)
    for x, y in zip(contender.X, contender.Y, strict=True):
        assert contender.answer(x.unsqueeze(0)) == pytest.approx(y.item())
    assert len(set(contender.Y.flatten().tolist())) > 8, "the formula tells configurations apart"


def test_a_method_is_given_its_observations_from_its_initial_design():
    problem = ask_latency.build_problem(ask_latency.load(["problem=last_digit"]))[0]
    contender = ask_latency.Ours("jfhpo", problem, 11)
    assert list(contender.optimizer.pending) == [10], "the eleventh is told under the clock"
    contender.learn()
    assert contender.ask().id == 11


class Slow:
    """Takes as long as its script says."""

    def __init__(self, asks: list[float], clock: list[float], learn: float):
        self.asks, self.clock = iter(asks), clock
        self.learn = lambda: self._spend(learn)

    def _spend(self, seconds: float) -> None:
        self.clock[0] += seconds

    def ask(self) -> None:
        self._spend(next(self.asks))

    def answer(self, asked) -> None:
        self._spend(100.0)

    def tell(self, asked, answer) -> None:
        self._spend(1.0)


def test_medians_leave_out_the_fit_that_was_due_and_the_worst_counts_it(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(ask_latency.time, "process_time", lambda: clock[0])
    found = measure(Slow([2.0, 4.0, 3.0], clock, learn=9.0), repeats=3, limit=10**6)
    assert found["ask_cpu"] == {"median": 3.0, "worst": 4.0}
    assert found["tell_cpu"] == {"median": 1.0, "worst": 9.0}
    assert found["both_cpu"] == {"median": 4.0, "worst": 9.0}


def test_a_level_ends_at_the_limit_after_at_least_one_trial(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(ask_latency.time, "process_time", lambda: clock[0])
    assert measure(Slow([5.0] * 9, clock, learn=0.0), repeats=9, limit=150)["repeats"] == 2
    assert measure(Slow([5.0] * 9, clock, learn=0.0), repeats=9, limit=1)["repeats"] == 1


def test_growth_is_the_exponent_between_100_and_1000():
    levels = {n: {"both_cpu": {"median": 1e-6 * n**2}} for n in (100, 200, 1000)}
    levels[20] = {"both_cpu": {"median": 55.0}}
    assert growth(levels) == pytest.approx(2.0)
    assert growth({20: levels[20], 100: levels[100]}) is None


BAD = {
    ("jfhop",): "unknown method 'jfhop' (did you mean 'jfhpo'?)",
    ("--against", "optuna"): "unknown --against 'optuna'",
    ("--sizes", "20,x"): "--sizes=x must be a whole number from 1 on",
    ("--sizes", "0"): "--sizes=0 must be a whole number from 1 on",
    ("--repeats", "-1"): "--repeats=-1 must be a whole number from 1 on",
    ("--json", "/nowhere/at/all.json"): "--json=/nowhere/at/all.json: its folder does not exist",
    ("--size", "20", "--unheard-of"): "unrecognized arguments: --unheard-of",
    ("recipe", "--against", "none", "--sizes", "20"): "method recipe stops asking before --sizes is reached",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_one_line_and_exit_code_2(words, capsys):
    assert ask_latency.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert BAD[words] in line


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as end:
        ask_latency.main(["--help"])
    assert end.value.code == 0
    assert "python benchmarks/ask_latency.py jfhpo --against optuna_tpe --json latency.json" in capsys.readouterr().out
