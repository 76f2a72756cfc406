"""The replay trainer: a trial costs and shows what was recorded, however it is cut into pieces."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import TrainingFailed
from jfhpo.core.trial import Cost, Fidelity, Trial
from jfhpo.replay.dataset import describe, names
from jfhpo.trainers.curves.trainer import CurvesTrainer
from jfhpo.trainers.replay.run import replayed
from jfhpo.trainers.replay.surrogate import Components, CurveSurrogate, surrogate
from jfhpo.trainers.replay.table import Table, table
from jfhpo.trainers.replay.trainer import ReplayTrainer
from tests.replay.recorded import NAME, STEPS, data_set


class BreaksAtFive(CurvesTrainer):
    """Every run of a cosine schedule fails after step 5."""

    def _steps(self):
        for record in super()._steps():
            if record.step == 6 and self.trial.config["lr_scheduler"] == "cosine":
                raise TrainingFailed("loss is nan at step 6")
            yield record


def trial(data, configuration=3, model="l", steps=STEPS, validate_at=(), seed=7, transfer="none") -> Trial:
    row = data.runs.query("configuration == @configuration and model == @model and transfer == @transfer").iloc[0]
    return Trial(0, data.config(row["run"]), Fidelity(model, steps), seed, validate_at=validate_at)


def test_a_trial_costs_its_recorded_steps_and_the_validations_it_asks_for(data, folder):
    curve = data.curve(3, "l").copy()
    curve["val_seconds"] = 0.25 * curve["step"] if "step" in curve else np.arange(len(curve)) * 0.25
    run = replayed(
        data.runs.query("configuration == 3 and model == 'l'").iloc[0].to_dict(),
        {"step": curve.index.to_numpy(), **{name: curve[name].to_numpy() for name in curve}},
    )
    bare, validated = run.record(12, validated=False), run.record(12, validated=True)
    assert bare.val_accuracy is None and bare.cost.seconds == curve.loc[12, "seconds"]
    assert validated.cost.seconds == pytest.approx(curve.loc[12, "seconds"] + 3.0)
    assert validated.val_accuracy == curve.loc[12, "val_accuracy"]


def test_records_come_in_turn_and_are_validated_where_asked_and_at_the_end(data, folder):
    records = list(ReplayTrainer(NAME, folder=folder).start(trial(data, steps=10, validate_at=(4,))))
    assert [r.step for r in records] == list(range(1, 11))
    assert [r.step for r in records if r.val_accuracy is not None] == [4, 10]


def test_between_the_recorded_validations_runs_a_straight_line(data, folder):
    recorded = data.curve(3, "l")["val_accuracy"].dropna()
    before, after = (recorded.index[recorded.index < 7].max(), recorded.index[recorded.index > 7].min())
    share = (7 - before) / (after - before)
    wanted = (1 - share) * recorded[before] + share * recorded[after]
    (record,) = list(ReplayTrainer(NAME, folder=folder).start(trial(data, steps=7)))[-1:]
    assert record.val_accuracy == pytest.approx(wanted)


def test_resumed_is_the_same_as_never_stopped(data, folder):
    trainer, whole = ReplayTrainer(NAME, folder=folder), trial(data)
    straight = list(trainer.start(whole))
    assert list(trainer.start(whole, Path("9"))) == straight[9:]


def test_the_test_split_is_what_was_recorded_at_the_end(data, folder):
    trainer = ReplayTrainer(NAME, folder=folder)
    list(trainer.start(trial(data)))
    row = data.runs.query("configuration == 3 and model == 'l'").iloc[0]
    assert trainer.evaluate("test", 10, 1).mean_at_k == row["test_mean_at_k"]
    assert trainer.evaluate("validation", 1).mean_at_k == data.curve(3, "l")["val_accuracy"].iloc[-1]


def test_a_failure_happens_again_at_its_step_with_its_reason(tmp_path):
    data = data_set(tmp_path, 8, BreaksAtFive)
    failed = data.runs[data.runs["status"] == "failed"]
    assert 0 < len(failed) < len(data.runs) and (failed["steps"] == 5).all()
    row = failed[(failed["model"] == "l")].iloc[0]
    trainer = ReplayTrainer(NAME, folder=tmp_path / "data")
    seen = []
    with pytest.raises(TrainingFailed, match="loss is nan at step 6"):
        seen.extend(trainer.start(Trial(0, data.config(row["run"]), Fidelity("l", STEPS), 0)))
    assert trainer.overhead() == Cost(row["start_seconds"] + row["failing_seconds"], 0, 0.0)
    short = list(trainer.start(Trial(0, data.config(row["run"]), Fidelity("l", 5), 0)))
    assert len(short) == 5, "a trial that ends before the failure does not know of it"


def test_of_several_seeds_the_trials_own_answers(tmp_path):
    data = data_set(tmp_path, 2, CurvesTrainer, "seeds=3")
    known = Table(data)
    config = data.config(data.runs.query("configuration == 1 and model == 'l'")["run"].iloc[0])
    for seed in range(6):
        wanted = data.curve(1, "l", seed=seed % 3)["val_accuracy"].iloc[-1]
        assert known.run(config, "l", seed).accuracy[-1] == wanted


# ---- the table


def test_the_list_of_a_target_is_the_design_and_its_own_recipe(data):
    listed = Table(data).listed("l")
    assert len(listed) == 16 and listed[0] == data.about["recipe"]
    on_p = Table(data).listed("p")
    assert len(on_p) == 17, "the recipe's learning rate as on l, and mapped to p's width"


def test_a_learning_rate_between_two_mapped_ones_is_served_by_the_nearest(data):
    known, mapped = Table(data), data.runs.query("configuration == 4 and model == 'p' and transfer == 'width'").iloc[0]
    config = data.config(mapped["run"])
    assert known.run({**config, "lr": config["lr"] / 1.3}, "p", 0) is known.run(config, "p", 0)


def test_a_configuration_off_the_table_is_refused(data):
    config = data.config(0)
    with pytest.raises(UsageError, match="not among the 32 configurations recorded of curves on p"):
        Table(data).run({**config, "kl_loss_coef": 0.4}, "p", 0)
    with pytest.raises(UsageError, match="not among"):
        Table(data).run({**config, "lr": config["lr"] * 20}, "p", 0)


@pytest.mark.parametrize("serve", ["table", "nearest", "surrogate"])
def test_a_configuration_outside_the_space_is_refused_with_what_is_valid(data, folder, serve):
    trainer, config = ReplayTrainer(NAME, serve, folder), data.config(0)
    for change, said in (
        ({"kl_loss_coef": 7.0}, "kl_loss_coef=7.0 is not allowed; valid: 0.001 to 0.5"),
        ({"rollout_n": 5}, "rollout_n=5 is not allowed; valid: 4, 8, 16"),
        ({"lr": 10.0}, "lr=10.0 is not allowed; valid: 1e-05 to 0.1"),
        ({"momentum": 0.9}, "unknown hyperparameter 'momentum'"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            trainer.start(Trial(0, {**config, **change}, Fidelity("p", 5), 0))


def test_nearest_is_nearest_in_the_encoded_space(data):
    known, config = Table(data), data.config(int(data.runs.query("configuration == 9 and model == 'l'")["run"].iloc[0]))
    moved = {**config, "kl_loss_coef": config["kl_loss_coef"] * 1.001}
    assert known.nearest(moved, "l", 0) is known.run(config, "l", 0)


def test_steps_and_sizes_that_are_not_recorded_are_refused(data, folder):
    with pytest.raises(UsageError, match="step 25 is beyond the recording of curves; it has steps 1 to 24"):
        ReplayTrainer(NAME, folder=folder).start(trial(data, steps=25))
    bad = Trial(0, data.config(0), Fidelity("m3", 5), 0)
    with pytest.raises(UsageError, match="unknown recorded size of curves 'm3'; valid: l, p"):
        ReplayTrainer(NAME, folder=folder).start(bad)
    with pytest.raises(UsageError, match=r"serve 'tabel' .*did you mean 'table'"):
        ReplayTrainer(NAME, "tabel", folder)


# ---- the surrogate


@pytest.fixture(scope="module")
def fitted(data):
    return CurveSurrogate(data)


def test_the_surrogate_is_close_to_the_runs_it_was_fitted_to(data, fitted):
    runs = data.runs[data.runs["model"] == "l"].to_dict("records")
    curves, _ = fitted.accuracies([data.config_of(r) for r in runs], ["l"] * len(runs))
    measured = np.array([Table(data).columns(r["run"])["val_accuracy"][-1] for r in runs])
    assert np.abs(curves[:, -1] - measured).mean() < 0.05 < measured.std()


def test_a_surrogates_run_costs_what_its_neighbours_did(data, fitted):
    config = data.config(int(data.runs.query("configuration == 3 and model == 'l'")["run"].iloc[0]))
    run = fitted.run(config, "l", 0)
    assert sum(r.cost.seconds for r in run.records) == pytest.approx(data.curve(3, "l")["seconds"].sum(), rel=0.05)
    assert [r.step for r in run.records] == list(range(1, STEPS + 1))


def test_a_surrogates_noise_belongs_to_the_run(data, fitted):
    config = data.config(0)
    again = CurveSurrogate(data)
    assert np.array_equal(fitted.run(config, "l", 5).accuracy, again.run(config, "l", 5).accuracy)
    assert not np.array_equal(fitted.run(config, "l", 5).accuracy, fitted.run(config, "l", 6).accuracy)


def test_the_number_of_threads_does_not_change_a_fit():
    """200 rows are enough for the linear algebra to be cut into parts, whose sum is rounded otherwise."""
    rng = np.random.default_rng(0)
    x = rng.random((200, 4))
    rows = np.sin(3 * x @ rng.standard_normal((4, 4))) + 0.1 * rng.standard_normal((200, 4))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found.append(Components(x, rows).predict(x[:1]))
    assert np.array_equal(*found)


def test_components_of_many_rows_are_not_drawn_at_random():
    """Above 500 rows scikit-learn's own choice of a solver is a random one, from the process's generator."""
    rng = np.random.default_rng(0)
    x, rows = rng.random((600, 3)), rng.standard_normal((600, 60))
    kernels = [[0.0] * 5] * 4
    found = [Components(x, rows, kernels).predict(x[:1]) for _ in range(2)]
    assert np.array_equal(*found)


def test_a_surrogate_with_the_kernels_of_another_is_that_one(data, fitted):
    again = CurveSurrogate(data, kernels=json.loads(json.dumps(fitted.kernels)))
    config = data.config(0)
    for ours, theirs in zip(fitted.run(config, "l", 5).records, again.run(config, "l", 5).records, strict=True):
        assert ours.cost.seconds == pytest.approx(theirs.cost.seconds, rel=1e-9)
    assert again.kernels == fitted.kernels


@pytest.mark.parametrize("task", names())
def test_the_shipped_data_brings_the_kernels_of_its_surrogate(task):
    shipped = describe(task)["surrogate"]
    assert shipped["accuracy"] and shipped["costs"]
    assert surrogate(task).kernels == shipped


def test_the_table_is_read_once_a_process(folder):
    assert table(NAME, folder) is table(NAME, folder)
