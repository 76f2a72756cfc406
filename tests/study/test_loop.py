"""The study loop on learning curves by formula: budgets, statuses, reuse, failures, and being killed."""

from __future__ import annotations

import errno
from collections import Counter

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.seeds import training_seed
from jfhpo.core.trainer import TrainingFailed
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.study.checkpoints import CheckpointRegistry
from jfhpo.study.executors.worker import is_of_the_disk
from jfhpo.study.history import rivals
from jfhpo.study.records import read_records
from tests.fakes.curve_trainer import SECONDS
from tests.study.study_parts import Scripted, events, problem, study, without_times

STEP = 1000 * SECONDS["large"]
"""FLOPs of a step on the target."""


def trial(i, lr=1e-3, model="small", steps=10, resume_from=0, validate_at=()):
    return Trial(i, {"lr": lr}, Fidelity(model, steps), training_seed(0), resume_from, validate_at)


def scripted(folder, *trials, early_stopping="none", reuse=True, **keywords):
    of = keywords.pop("of", problem())
    return study(folder, of=of, optimizer=Scripted(of, trials, early_stopping, reuse), **keywords)


@pytest.mark.parametrize("name", ["recipe", "random_search", "jfhpo"])
@pytest.mark.parametrize("budget", [STEP * 7.5, STEP * 38])
def test_no_method_overruns_its_budget_by_more_than_a_step(tmp_path, name, budget):
    summary = study(tmp_path, name=name, budget=budget).run()
    assert summary["spent"]["flops"] <= budget + STEP
    assert summary["final"]["model"] == "large"


def test_the_final_run_is_held_back_from_the_search(tmp_path):
    """A search on the proxy leaves enough for the whole target run, and what it leaves over is less than that."""
    summary = study(tmp_path, budget=STEP * 60).run()
    assert summary["final"]["status"] == "completed"
    assert summary["final"]["steps"] == 20
    assert summary["spent"]["flops"] > STEP * 40


@pytest.mark.parametrize("reuse", [True, False])
def test_only_what_the_final_run_has_yet_to_train_is_held_back(tmp_path, reuse):
    """Ten steps are left after the first trial: enough for its last five and a quarter more, not for twenty."""
    trials = [trial(0, lr=1e-3, model="large", steps=15), trial(1, lr=2e-3, steps=10)]
    summary = scripted(tmp_path, *trials, reuse=reuse, budget=STEP * 25).run()
    assert [e["phase"] for e in events(tmp_path, "asked")] == ["search", *(["search"] if reuse else []), "final"]
    assert summary["recommended"] == {"lr": 1e-3}
    ended = ("completed", 20) if reuse else ("cut", 10)
    assert (summary["final"]["status"], summary["final"]["steps"]) == ended


class Fickle(Scripted):
    """Falls for whatever it was told last."""

    def recommend(self):
        return self.results[-1].trial.config if self.results else {"lr": 1e-3}


def test_a_last_minute_favourite_that_cannot_be_trained_gives_way_to_the_one_before(tmp_path):
    """The first trial trained its configuration in full; what the second one leaves does not pay for another run."""
    of = problem()
    trials = [trial(0, lr=1e-3, model="large", steps=20), trial(1, lr=2e-3, steps=5)]
    s = study(tmp_path, of=of, optimizer=Fickle(of, trials), budget=STEP * 30)
    summary = s.run()
    recommended = events(tmp_path, "recommended")[0]
    assert recommended["passed_over"] == {"lr": 2e-3}
    assert summary["recommended"] == {"lr": 1e-3}
    assert (summary["final"]["status"], summary["final"]["steps"]) == ("completed", 20)


def test_a_favourite_that_the_budget_cut_gives_way_to_one_that_was_trained(tmp_path):
    """The budget's last step goes beyond it, so nothing is left, and less than nothing."""
    of = problem()
    trials = [trial(0, lr=1e-3, model="large", steps=20), trial(1, lr=2e-3, model="large", steps=12)]
    summary = study(tmp_path, of=of, optimizer=Fickle(of, trials), budget=STEP * 31.5).run()
    assert [e["result"]["status"] for e in events(tmp_path, "told")] == ["completed", "completed"]
    assert summary["spent"]["flops"] > STEP * 31.5
    assert summary["recommended"] == {"lr": 1e-3}
    assert (summary["final"]["status"], summary["final"]["steps"]) == ("completed", 20)


def test_a_last_minute_favourite_that_can_be_trained_is_what_is_recommended(tmp_path):
    of = problem()
    trials = [trial(0, lr=1e-3, model="large", steps=20), trial(1, lr=2e-3, steps=5)]
    summary = study(tmp_path, of=of, optimizer=Fickle(of, trials), budget=STEP * 50).run()
    assert events(tmp_path, "recommended")[0]["passed_over"] is None
    assert summary["recommended"] == {"lr": 2e-3}
    assert (summary["final"]["status"], summary["final"]["steps"]) == ("completed", 20)


def test_a_budget_smaller_than_one_run_cuts_it(tmp_path):
    summary = study(tmp_path, name="recipe", budget=STEP * 7.5).run()
    assert summary["trials"]["cut"] == 1
    # Nothing was left for a final run, so it ends where the search did.
    assert summary["final"]["steps"] == 8
    assert summary["test"] is not None


def test_random_search_needs_no_final_run(tmp_path):
    """Its best configuration was trained on the target in full; that run's checkpoint is tested."""
    summary = study(tmp_path, name="random_search", budget=STEP * 70).run()
    assert summary["final_cost"]["flops"] == 0
    assert summary["final"]["status"] == "completed"
    assert [e["phase"] for e in events(tmp_path, "asked")] == ["search"] * 4
    assert summary["test"]["mean_at_k"] == pytest.approx(summary["final"]["validation"])


def test_a_resumed_trial_pays_only_for_its_new_steps(tmp_path):
    s = scripted(tmp_path, trial(0, steps=5), trial(1, steps=10, resume_from=5))
    s.run()
    first, second = s.history.results
    assert second.resumed_from == 5
    assert second.cost.flops == pytest.approx(5000)
    assert second.cost_from_scratch.flops == pytest.approx(10_000)
    assert [r.step for r in second.curve] == list(range(1, 11))
    assert first.cost == first.cost_from_scratch


def test_a_trials_own_earlier_checkpoints_go_while_it_runs(tmp_path):
    """Of a large model they would fill the disk before it ends."""
    kept = []

    def look(event):
        if event["event"] == "step":
            kept.append(len(registry.ls()))

    with CheckpointRegistry(tmp_path / "checkpoints", quota_bytes=1) as registry:
        s = scripted(
            tmp_path, trial(0, steps=10), trial(1, lr=2e-3, steps=5), trial(2, lr=2e-3, resume_from=5), budget=1e9,
            registry=registry, observers=(look,), settings={"checkpoint_every": 1},
        )  # fmt: skip
        s.run()
    first, second, third = kept[:10], kept[10:15], kept[15:20]
    assert first == [0] + [1] * 9
    assert second == [1] + [2] * 4
    # What the third trial started from is pinned until it ends.
    assert third == [2] + [3] * 4


def test_without_resume_from_nothing_is_reused(tmp_path):
    s = scripted(tmp_path, trial(0, steps=5), trial(1, steps=10), reuse=False)
    s.run()
    assert s.history.results[1].cost.flops == pytest.approx(10_000)
    assert s.history.final.resumed_from == 0


def test_the_final_run_resumes_a_shorter_run_on_the_target(tmp_path):
    s = scripted(tmp_path, trial(0, model="large", steps=10))
    s.run()
    assert s.history.final.resumed_from == 10
    assert s.history.final.cost.flops == pytest.approx(10 * STEP)


def test_an_early_stopped_trial_is_validated_where_it_stopped(tmp_path):
    s = scripted(tmp_path, trial(0, lr=0.09, steps=20), early_stopping="robust")
    s.run()
    (result,) = s.history.results
    assert result.status.value == "early_stopped"
    assert result.reason.startswith("reward_below_start at step 8")
    assert result.steps_done == 8
    assert result.score is not None
    assert result.cost.flops == pytest.approx(8 * 1000 + 500)


RIVALS = [trial(i, lr=lr, steps=12) for i, lr in enumerate([1e-3, 2e-3, 3e-3, 4e-3, 5e-3])]
LAGGARD = {"lr": 1e-4, "steps": 20}
"""Stays at .1 on the small model, so no rule but the one against rivals minds it."""


def test_a_trial_that_lags_behind_those_told_before_it_is_stopped(tmp_path):
    s = scripted(tmp_path, *RIVALS, trial(5, **LAGGARD), early_stopping="robust")
    s.run()
    assert [r.status.value for r in s.history.results] == ["completed"] * 5 + ["early_stopped"]
    assert s.history.results[5].reason.startswith("below_rivals at step 10: best reward 0.100 < ")
    (told,) = [e for e in events(tmp_path, "told") if e["result"]["trial"] == 5]
    assert told["result"]["reason"] == s.history.results[5].reason


def test_a_trial_is_not_compared_with_other_models_nor_with_itself(tmp_path):
    """Four rivals on its model, five told: one is on the other model, or an earlier run of the same configuration."""
    other = [*RIVALS[:4], trial(4, lr=1e-3, model="large", steps=12), trial(5, **LAGGARD)]
    s = scripted(tmp_path / "model", *other, early_stopping="robust")
    s.run()
    assert s.history.results[5].status.value == "completed"
    itself = [*RIVALS[:4], trial(4, lr=1e-4, steps=12), trial(5, resume_from=12, **LAGGARD)]
    s = scripted(tmp_path / "itself", *itself, early_stopping="robust")
    s.run()
    assert s.history.results[5].status.value == "completed"


def test_of_a_rival_that_was_promoted_the_longest_run_counts_once(tmp_path):
    again = [*RIVALS[:4], trial(4, lr=1e-3, steps=14, resume_from=12), trial(5, **LAGGARD)]
    s = scripted(tmp_path, *again, early_stopping="robust")
    s.run()
    seen = rivals(s.history.results[:5], again[5])
    assert sorted(len(curve) for curve in seen) == [12, 12, 12, 14]
    assert s.history.results[5].status.value == "completed", "four are too few"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_study_judges_by_the_same_rivals_again(tmp_path, workers):
    """Killed right after the step that is judged, before the verdict was told."""

    def kill(event):
        if event["event"] == "step" and (event["trial"], event["record"]["step"]) == (5, 10):
            raise Killed

    def script(*observers):
        trials = [*RIVALS, trial(5, **LAGGARD)]
        own = {"settings": {"workers": workers}, "observers": observers}
        return scripted(tmp_path, *trials, early_stopping="robust", **own)

    with pytest.raises(Killed):
        script(kill).run()
    again = script()
    again.run()
    result = next(r for r in again.history.results if r.trial.id == 5)
    kinds = [(e["event"], e["trial"]["id"] if e["event"] == "asked" else None) for e in read_records(again.folder)]
    told_before = sum(kind == "told" for kind, _ in kinds[: kinds.index(("asked", 5))])
    assert told_before == 5 if workers == 1 else told_before >= 4
    stopped = told_before == 5  # with four told when it was asked for it goes on, whatever was told since
    assert (result.status.value, result.steps_done) == (("early_stopped", 10) if stopped else ("completed", 20))


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("nan", "loss is nan at step 3"),
        ("raise", "RuntimeError: CUDA out of memory"),
        ("die", "the worker died (signal 9)"),
        ("hang", "no answer within 3 s; the worker was ended"),
    ],
)
def test_a_failed_trial_is_a_result_and_the_study_goes_on(tmp_path, trouble, reason):
    settings = {"step_timeout": 3.0} if trouble == "hang" else {}
    s = scripted(tmp_path, trial(0), trial(1), trial(2), trainer={"trouble": {"1": trouble}}, settings=settings)
    summary = s.run()
    assert [r.status.value for r in s.history.results] == ["completed", "failed", "completed"]
    failed = s.history.results[1]
    assert failed.reason == reason
    assert failed.score is None
    assert failed.cost.flops == pytest.approx(2000), "two steps were paid for"
    assert summary["trials"]["failed"] == 1
    assert summary["final"]["status"] == "completed"


def test_a_full_disk_stops_the_study_and_fails_no_trial(tmp_path):
    """The same command then goes on from the trial's last checkpoint, to the end it would have had."""
    trials = [trial(0, steps=5), trial(1, lr=2e-3), trial(2, lr=3e-3)]
    whole = without_times(scripted(tmp_path / "whole", *trials, budget=1e9).run())
    full = tmp_path / "full"
    with pytest.raises(UsageError, match=r"the disk is full \(RuntimeError: cannot save\); free some"):
        scripted(full, *trials, budget=1e9, trainer={"trouble": {"1": "disk"}}).run()
    assert [e["result"]["trial"] for e in events(full, "told")] == [0]
    assert not list((full / "checkpoints").rglob("*.tmp"))
    assert without_times(scripted(full, *trials, budget=1e9).run()) == whole


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space"), True),
        (OSError(errno.EDQUOT, "Quota"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (
            RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file data/4"),
            True,
        ),
        (RuntimeError('SafetensorError: IoError(Os { code: 28, message: "No space left on device" })'), True),
        (TrainingFailed("disk full: No space left on device, while the checkpoint of step 10 was waited for"), True),
        (RuntimeError("CUDA out of memory"), False),
        (None, False),
    ],
)
def test_a_full_disk_is_recognised(error, full):
    assert is_of_the_disk(error) is full


def test_a_search_in_which_everything_fails_ends(tmp_path):
    trials = [trial(i) for i in range(100)]
    s = scripted(tmp_path, *trials, trainer={"trouble": {str(i): "nan" for i in range(100)}}, budget=1e9)
    summary = s.run()
    assert summary["trials"]["failed"] == 25


def test_a_failed_final_run_has_no_test_score(tmp_path):
    s = scripted(tmp_path, trial(0, steps=5), trainer={"trouble": {"1": "nan"}})
    summary = s.run()
    assert summary["final"]["status"] == "failed"
    assert summary["test"] is None


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    """Truncated on disk after the first trial: the second resumes from step 4 instead of 5."""

    def damage(event):
        if event["event"] == "told" and event["result"]["trial"] == 0:
            newest = max(s.registry.ls(), key=lambda c: c.step)
            newest.path.write_bytes(newest.path.read_bytes()[:-3])

    s = scripted(tmp_path, trial(0, steps=5), trial(1, steps=10, resume_from=5), observers=(damage,))
    s.run()
    assert s.history.results[1].resumed_from == 4
    assert s.history.results[1].cost.flops == pytest.approx(6000)


def test_several_workers_share_one_budget(tmp_path):
    summary = study(tmp_path, name="jfhpo", budget=STEP * 80, settings={"workers": 3}).run()
    assert summary["spent"]["flops"] <= STEP * 80 + 3 * STEP
    assert summary["final"]["status"] == "completed"
    told = Counter(e["result"]["status"] for e in events(tmp_path, "told"))
    assert told["completed"] > 5


class Killed(BaseException):
    """Stands for kill -9: nothing is caught, nothing is tidied up."""


@pytest.mark.parametrize("name", ["random_search", "jfhpo"])
def test_a_study_killed_at_any_event_continues_to_the_same_end(tmp_path, name):
    whole = without_times(study(tmp_path / "whole", name=name, budget=STEP * 45).run())
    count = len(events(tmp_path / "whole", "step")) + len(events(tmp_path / "whole", "told"))
    for kill_at in range(2, count, count // (3 if name == "jfhpo" else 6)):
        seen = 0

        def kill(event, kill_at=kill_at):
            nonlocal seen
            seen += event["event"] in ("step", "told")
            if seen == kill_at:
                raise Killed

        folder = tmp_path / f"killed-{kill_at}"
        with pytest.raises(Killed):
            study(folder, name=name, budget=STEP * 45, observers=(kill,)).run()
        lost = events(folder, "step")
        again = without_times(study(folder, name=name, budget=STEP * 45).run())
        assert again == whole
        started = events(folder, "started")
        if lost:
            last = lost[-1]
            restarts = [e for e in started if e["trial"] == last["trial"]]
            if len(restarts) > 1:
                assert last["record"]["step"] - restarts[-1]["resumed_from"] <= 4, "more lost than since a checkpoint"


def test_a_finished_study_is_shown_and_not_run_again(tmp_path):
    first = study(tmp_path, budget=STEP * 40).run()
    lines = (tmp_path / "study" / "records.jsonl").read_bytes()
    assert study(tmp_path, budget=STEP * 40).run() == first
    assert (tmp_path / "study" / "records.jsonl").read_bytes() == lines


def test_records_that_the_method_would_not_repeat_are_refused(tmp_path):
    def kill(event):
        if event["event"] == "told":
            raise Killed

    with pytest.raises(Killed):
        study(tmp_path, name="random_search", observers=(kill,)).run()
    path = tmp_path / "study" / "records.jsonl"
    path.write_text(path.read_text().replace('"lr": 0.0002', '"lr": 0.0003'))
    with pytest.raises(UsageError, match="trial 0 of the records is not what method random_search proposes now"):
        study(tmp_path, name="random_search").run()


def test_a_half_written_last_line_is_dropped(tmp_path):
    first = study(tmp_path / "a", name="random_search", budget=STEP * 45).run()

    def kill(event):
        if event["event"] == "step" and event["record"]["step"] == 9:
            raise Killed

    with pytest.raises(Killed):
        study(tmp_path / "b", name="random_search", budget=STEP * 45, observers=(kill,)).run()
    with (tmp_path / "b" / "study" / "records.jsonl").open("a") as file:
        file.write('{"event": "step", "trial": 0, "rec')
    assert without_times(study(tmp_path / "b", name="random_search", budget=STEP * 45).run()) == without_times(first)


def test_two_processes_cannot_write_one_study(tmp_path):
    def second(event):
        if event["event"] == "study":
            with pytest.raises(UsageError, match="is being written by another process"):
                study(tmp_path).run()

    study(tmp_path, observers=(second,), name="recipe").run()


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(tmp_path, budget):
    with pytest.raises(UsageError, match="must be above 0 flops"):
        study(tmp_path, budget=budget)


def test_a_fidelity_above_max_steps_is_refused(tmp_path):
    with pytest.raises(UsageError, match="fidelity of 21 steps is outside 1 to max_steps=20"):
        scripted(tmp_path, trial(0, steps=21)).run()


def test_a_worker_that_hangs_is_noticed_while_another_keeps_answering(tmp_path):
    """The other one answers every half second, for five times the limit."""
    s = scripted(
        tmp_path, trial(0), trial(1, lr=2e-3, steps=20), budget=1e9, settings={"workers": 2, "step_timeout": 2.0},
        trainer={"trouble": {"0": "hang"}, "pause": 0.5},
    )  # fmt: skip
    s.run()
    told = [e["result"] for e in events(tmp_path, "told")]
    assert [(r["trial"], r["status"]) for r in told] == [(0, "failed"), (1, "completed"), (2, "completed")]
    assert told[0]["reason"] == "no answer within 2 s; the worker was ended"
