"""A trainer that reports what cannot be: its trial fails with a reason that says so, and the study goes on."""

from __future__ import annotations

import math

import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import Evaluation
from jfhpo.core.trial import Cost, Status, StepRecord
from jfhpo.study.report_checks import TrialFailed, check_evaluation, check_overhead, check_step
from tests.study.study_parts import events
from tests.study.test_loop import scripted, trial

GOOD = {"step": 3, "reward_mean": 0.5, "kl": 0.1, "entropy": 0.3, "grad_norm": 1.0, "clip_fraction": 0.0,
        "completion_length": 9.0, "learning_rate": 1e-3, "loss": 0.2, "cost": Cost(1.0, 10, 100.0)}  # fmt: skip

SPOILT = {
    "reward_mean=nan": "reward_mean=nan at step 3 is not finite",
    "loss=inf": "loss=inf at step 3 is not finite",
    "val_accuracy=nan": "val_accuracy=nan at step 3 is not finite",
    "cost.seconds=nan": "cost.seconds=nan is not a finite number from 0 on at step 3",
    "cost.flops=-1": "cost.flops=-1.0 is not a finite number from 0 on at step 3",
    "cost.flops=0": "cost.flops=0 at step 3; a step must cost something in the budget's unit",
    "step=7": "step=7.0 was reported where step 3 was due",
    "end": "the trainer ended before step 3, which the trial asks for",
}


@pytest.mark.parametrize("trouble", SPOILT)
def test_a_trial_with_an_impossible_number_fails_and_the_study_goes_on(tmp_path, trouble):
    s = scripted(tmp_path, trial(0), trial(1), trial(2), trainer={"trouble": {"1": trouble}})
    summary = s.run()
    assert [r.status.value for r in s.history.results] == ["completed", "failed", "completed"]
    failed = s.history.results[1]
    assert failed.reason == SPOILT[trouble]
    assert failed.score is None
    assert failed.steps_done == 2, "the step that cannot be is no part of the curve"
    paid = 2000 if trouble.startswith("cost") or trouble == "end" else 3000
    assert failed.cost.flops == paid, "the step was run, so it is paid for where its cost is known"
    assert [r.status for r in s.optimizer.results] == [r.status for r in s.history.results]
    assert summary["final"]["status"] == "completed"
    assert "NaN" not in (tmp_path / "study" / "records.jsonl").read_text()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_an_early_stopped_trial_whose_validation_is_not_finite_fails(tmp_path, value):
    s = scripted(
        tmp_path, trial(0), trial(1, lr=0.09, steps=20), early_stopping="robust",
        trainer={"trouble": {"1": f"mean_at_k={value}"}},
    )  # fmt: skip
    s.run()
    failed = s.history.results[1]
    assert (failed.status, failed.score) == (Status.FAILED, None)
    assert failed.reason == f"mean_at_k={value} in the evaluation at step 8 is not finite"
    assert failed.cost.flops == 8 * 1000 + 500, "the evaluation was run, so it is paid for"


def test_a_trial_that_was_not_validated_at_its_last_step_fails(tmp_path):
    s = scripted(tmp_path, trial(0), trial(1, steps=3), trainer={"trouble": {"1": "val_accuracy=none"}})
    s.run()
    failed = s.history.results[1]
    assert failed.status is Status.FAILED
    assert failed.reason == "val_accuracy=None at step 3, the trial's last; the trainer has to validate there"


@pytest.mark.parametrize("trouble", ["mean_at_k=nan", "standard_error=inf", "greedy=nan"])
def test_a_test_evaluation_that_is_not_finite_is_one_line_and_is_tried_again(tmp_path, trouble):
    """Trial 0 is the final run too."""
    full = trial(0, model="large", steps=20)
    with pytest.raises(UsageError) as caught:
        scripted(tmp_path, full, trainer={"trouble": {"0": trouble}}).run()
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert f"{trouble} in the evaluation at step 20 is not finite" in str(caught.value)
    assert "the same command tries it again" in str(caught.value)
    assert events(tmp_path, "evaluated") == []
    summary = scripted(tmp_path, full).run()
    assert summary["test"]["mean_at_k"] == pytest.approx(summary["final"]["validation"])


def record(**changes) -> StepRecord:
    return StepRecord(**GOOD | changes)


def test_what_is_as_it_should_be_passes():
    check_step(record(), 3, "flops")
    check_step(record(val_accuracy=0.0, reward_mean=-2, loss=-0.1), 3, "seconds")
    check_step(record(kl=math.nan, entropy=math.inf), 3, "tokens")  # diagnostics that a trainer may not measure
    check_evaluation(Evaluation("validation", 10, math.nan, 0.5, 0.1, 1, Cost()), ("mean_at_k",), 3)
    check_overhead(Cost())


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ({"reward": 0.5}, "the trainer reported a dict for step 3; it must be a StepRecord"),
        (record(loss=torch.tensor(0.5)), r"loss=tensor\(0.5000\) at step 3 is not a plain number"),
        (record(kl=None), "kl=None at step 3 is not a plain number"),
        (record(val_accuracy="0.5"), "val_accuracy='0.5' at step 3 is not a plain number"),
        (record(cost=1.0), "cost=1.0 is no Cost at step 3"),
        (record(cost=Cost(1.0, 10, None)), "cost.flops=None is not a finite number from 0 on at step 3"),
    ],
)
def test_a_record_of_another_kind_is_refused(report, reason):
    with pytest.raises(TrialFailed, match=f"^{reason}$"):
        check_step(report, 3, "flops")


def test_an_evaluation_or_an_overhead_of_another_kind_is_refused():
    with pytest.raises(TrialFailed, match="a float for its evaluation at step 3; it must be an Evaluation"):
        check_evaluation(0.5, ("mean_at_k",), 3)
    with pytest.raises(TrialFailed, match=r"cost\.seconds=-1 is not .* in the evaluation at step 3"):
        check_evaluation(Evaluation("test", 10, 0.5, 0.5, 0.1, 1, Cost(-1)), ("greedy",), 3)
    with pytest.raises(TrialFailed, match=r"cost\.seconds=inf is not .* in the trainer's overhead"):
        check_overhead(Cost(math.inf))


def test_what_else_is_measured_must_be_finite_numbers():
    check_step(record(measured={"answered": 0.25}), 3, "flops")
    for value, said in ((math.nan, "is not finite"), (None, "is not a plain number")):
        with pytest.raises(TrialFailed, match=rf"measured\.answered=.* at step 3 {said}"):
            check_step(record(measured={"answered": value}), 3, "flops")
