"""What the trainers of Hugging Face models tell in the same way, against numbers worked by hand."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import TrainingFailed
from jfhpo.core.trial import Cost
from jfhpo.trainers.hf.order import dealt
from jfhpo.trainers.hf.report import Overhead, accuracy, step_flops
from jfhpo.trainers.hf.run import Run
from jfhpo.trainers.hf.settings import GrpoSettings, tried
from jfhpo.trainers.mini.grpo import step_flops as of_the_miniature_trainer


def test_accuracy_is_the_mean_over_prompts_and_its_error_their_spread():
    found = accuracy("test", [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]], [1.0, 1.0, 0.0, 0.0], Cost(2.0, 9))
    assert (found.prompts, found.k, found.mean_at_k, found.greedy, found.cost) == (4, 2, 0.5, 0.5, Cost(2.0, 9))
    assert found.standard_error == pytest.approx(math.sqrt(0.5 / 3 / 4))  # shares ½, 1, 0, ½
    alone = accuracy("validation", [[1.0]], None, Cost())
    assert alone.mean_at_k == 1.0 and math.isnan(alone.greedy) and math.isnan(alone.standard_error)


def test_overhead_is_what_was_timed_also_where_it_failed_and_is_told_once():
    clock, overhead = iter([1.0, 3.0, 10.0, 14.0]), Overhead()
    with overhead.timed(lambda: next(clock)):
        pass
    with pytest.raises(KeyError), overhead.timed(lambda: next(clock)):
        raise KeyError
    overhead.check_finite({"loss": 0.5, "other": math.nan}, ("loss",), 3, Cost(1.0))
    with pytest.raises(TrainingFailed, match="grad_norm is inf at step 3"):
        overhead.check_finite({"loss": 0.5, "grad_norm": math.inf}, ("loss", "grad_norm"), 3, Cost(1.0, 7, 2.0))
    assert overhead.told() == Cost(7.0, 7, 2.0) and overhead.told() == Cost()


def test_flops_are_the_miniature_trainers_where_every_prompt_is_read_once():
    policy = SimpleNamespace(flat=torch.zeros(1000), embedding=torch.zeros(10, 20))
    assert step_flops(800, 8 * 10 + 50, epochs=2) == of_the_miniature_trainer(policy, 8, 1, 50, 10, 2) == 800 * 130 * 18


def test_rows_come_in_permutations_whatever_the_steps():
    steps = dealt(8, 5, 4, seed=3)
    assert sorted(steps[0] + steps[1]) == sorted(steps[2] + steps[3]) == list(range(8)) and len(steps) == 5
    assert dealt(8, 5, 4, seed=4) != steps == dealt(8, 9, 4, seed=3)[:5]
    assert [len(set(step)) for step in dealt(6, 3, 4, seed=3)] == [4, 4, 4], "no row twice in a step"


@pytest.mark.parametrize(
    "spec, values",
    [({"values": [4, 8]}, [4, 8]), ({"low": 0, "high": 3}, [0, 3]), ({"low": None, "high": 3}, [3]), ({}, [])],
)
def test_what_a_space_may_try(spec, values):
    assert tried(spec) == values


@pytest.mark.parametrize("value", [0, -1, 2.0, True, None])
def test_counts_are_whole_numbers_and_null_only_where_it_is_the_default(value):
    with pytest.raises(UsageError, match=rf"problem.trainer_settings.epochs={value} must be a whole number from 1 on$"):
        GrpoSettings(epochs=value).check()
    GrpoSettings(micro_batch=None).check()


def test_of_transformers_warnings_only_those_about_trls_own_calls_are_silenced():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Run()
        for name in ("`gradient_checkpointing`", "`is_gradient_checkpointing`", "`something`"):
            warnings.warn(f"{name} is deprecated and will be removed in v6.", FutureWarning, stacklevel=1)
    assert [str(warning.message).split()[0] for warning in heard] == ["`something`"]
