"""The comparison of kernels: splits hide what they should, and whoever knows the truth is judged better."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats

from experiments.fidelity_kernel import analysis
from experiments.fidelity_kernel.splits import NEW, PROXY, SEEN, TARGET, Curves, Split, curves, nearest_steps, split
from experiments.gather import load
from experiments.sweeps import studies_of, sweeps
from tests.paper_figures.fake_recording import flat, hump, record, recording, sixteen, smoke

N = 18
SEEDS = range(20)


def made_up() -> Curves:
    """Configurations of one hyperparameter; all accuracies differ, so that a place is known by its value."""
    phi = np.linspace(0, 1, N)[:, None]
    level = np.array([[0.1, 0.2, 0.3], [0.15, 0.25, 0.4]])
    return Curves(phi, (12, 25, 50), level + 0.3 * phi[:, :, None], left_out=0)


def places(observations: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in row) for row in observations}


def full(parts: Split, case: str) -> set[tuple[int, ...]]:
    return {(int(c), TARGET, 2) for c in parts.held_out[case]}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    sixteen(out)
    return load(out, "recording")


# ---- splits


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_held_out_is_known(seed):
    parts = split(made_up(), seed)
    known = places(parts.known)
    assert not known & (full(parts, SEEN) | full(parts, NEW))
    assert not {c for c, _, _ in known} & set(parts.held_out[NEW].tolist()), "nothing at all is known of a new one"


@pytest.mark.parametrize("seed", SEEDS)
def test_two_thirds_are_seen_on_the_proxy_and_a_third_of_them_on_the_target(seed):
    parts = split(made_up(), seed)
    proxy, target = ({c for c, m, _ in places(parts.known) if m == model} for model in (PROXY, TARGET))
    assert (len(proxy), len(target)) == (12, 4) and target < proxy
    assert set(parts.held_out[NEW].tolist()) == set(range(N)) - proxy
    complete = {c for c, m, rung in places(parts.known) if (m, rung) == (TARGET, 2)}
    assert set(parts.held_out[SEEN].tolist()) == proxy - complete


def test_a_run_is_known_at_every_rung_up_to_a_random_one():
    lengths = set()
    for seed in SEEDS:
        known = split(made_up(), seed).known
        for run in {(c, m) for c, m, _ in places(known)}:
            rungs = sorted(rung for c, m, rung in places(known) if (c, m) == run)
            assert rungs == list(range(len(rungs)))
            lengths.add(len(rungs))
    assert lengths == {1, 2, 3}


def test_a_split_is_its_seed_s():
    one, same, other = split(made_up(), 3), split(made_up(), 3), split(made_up(), 4)
    assert np.array_equal(one.known, same.known) and np.array_equal(one.held_out[NEW], same.held_out[NEW])
    assert not np.array_equal(one.held_out[NEW], other.held_out[NEW])


def test_what_was_not_recorded_is_not_known():
    whole = made_up()
    holes = whole.accuracy.copy()
    holes[:, PROXY, 1] = np.nan
    known = places(split(dataclasses.replace(whole, accuracy=holes), 0).known)
    assert known and not any((m, rung) == (PROXY, 1) for _, m, rung in known)


def test_rungs_are_the_recorded_steps_nearest_to_a_quarter_a_half_and_the_whole():
    assert nearest_steps([4, 8, 12, 17, 25, 36, 50]) == (12, 25, 50)
    assert nearest_steps([4, 8]) == (4, 8)
    assert nearest_steps([]) == ()


def test_coordinates_are_those_of_the_surrogate():
    x = made_up().x(np.array([0, N - 1]), np.array([PROXY, TARGET]), np.array([0, 2]))
    assert x == pytest.approx(np.array([[0.0, math.log(12) / math.log(50), 0.0], [1.0, 1.0, 1.0]]))


# ---- a recording


def test_curves_of_a_recording(records):
    recorded = curves(records, "last_digit")
    assert recorded.phi.shape == (16, 4) and recorded.accuracy.shape == (16, 2, 2)
    assert (recorded.phi.min(), recorded.phi.max()) == (0.0, 1.0)
    # The learning rate is mapped by width, so that the fake proxy p does as the target does.
    assert recorded.accuracy[:, PROXY] == pytest.approx(recorded.accuracy[:, TARGET])


def test_the_proxy_is_the_study_s_and_not_a_smaller_model(tmp_path):
    study = recording(tmp_path)
    record(study, {"lr": 1e-4}, {("xs", "width"): flat(0.1), ("p", "width"): flat(0.2), "l": flat(0.3)})
    assert curves(load(tmp_path, "recording"), "last_digit").accuracy.tolist() == [[[0.2, 0.2], [0.3, 0.3]]]


def test_repeated_and_unfinished_configurations_are_left_out_and_counted(tmp_path):
    for seed in (0, 1):
        study = recording(tmp_path, seed)
        record(study, {"lr": 1e-4}, {("p", "none"): flat(0.1), ("p", "width"): flat(0.1), "l": flat(0.2)})
    study.run("p", 8, flat(0.1), config={"lr": 1e-3})
    study.start(study.ask("l", 8, config={"lr": 1e-3}))
    recorded = curves(load(tmp_path, "recording"), "last_digit")
    assert (len(recorded.phi), recorded.left_out) == (1, 2)


def test_it_reads_the_recording_s_studies():
    assert studies_of("fidelity_kernel") == "recording"
    assert sweeps("fidelity_kernel") == sweeps("recording")


# ---- judging


class Knows:
    """Predicts by a function of x, with a standard deviation of 0.03 and noise of 0.04."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x, y, kernel):
        self.mean = y.mean()
        return self

    def predict(self, x):
        return self.function(self, x), np.full(len(x), 0.03)

    def noise_sd(self):
        return 0.04

    def log_likelihood(self, x, y):
        return stats.norm.logpdf(y, self.function(self, x), 0.05)


TRUTH = Knows(lambda self, x: 0.4 + 0.3 * x[:, 0])  # of `made_up` on the target at full steps
MEAN_ALONE = Knows(lambda self, x: np.full(len(x), self.mean))


def test_who_knows_the_truth_is_judged_better_in_both_cases():
    knowing, guessing = (analysis.held_out(made_up(), 0, "any", fit) for fit in (TRUTH, MEAN_ALONE))
    assert knowing["y"].equals(guessing["y"])
    for case in (SEEN, NEW):
        likelihood = [frame.loc[frame["case"] == case, "log_likelihood"] for frame in (knowing, guessing)]
        assert (likelihood[0] > likelihood[1]).all()
    assert knowing["log_likelihood"].to_numpy() == pytest.approx(stats.norm.logpdf(0, 0, 0.05))
    assert knowing["sd"].to_numpy() == pytest.approx(0.05), "noise is included"


def test_a_fit_that_draws_random_numbers_draws_those_of_its_split():
    drawn = []

    def draws(x, y, kernel):
        drawn.append(torch.rand(3))
        return TRUTH(x, y, kernel)

    before = torch.random.get_rng_state()
    for seed in (5, 5, 6):
        torch.rand(1)
        analysis.held_out(made_up(), seed, "any", draws)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    torch.random.set_rng_state(before)
    analysis.held_out(made_up(), 5, "any", draws)
    assert torch.equal(before, torch.random.get_rng_state()), "and leaves everyone else's as they were"


def test_a_fitted_kernel_foretells_better_than_the_mean_alone():
    fitted, guessing = (analysis.held_out(made_up(), 1, "matern", **kind) for kind in ({}, {"fit": MEAN_ALONE}))
    assert fitted["log_likelihood"].mean() > guessing["log_likelihood"].mean() + 0.5


def test_the_comparison_is_the_same_every_time_but_for_its_clock(records):
    one, other = (
        analysis.comparison(records, "last_digit", analysis.predictions(records, "last_digit", splits=2))
        for _ in range(2)
    )
    clock = ["fit_seconds", "fit_ratio"]
    assert one.drop(columns=clock).equals(other.drop(columns=clock))
    assert one["kernel"].nunique() == 4 and set(one["splits"]) == {2} and one["log_likelihood"].notna().all()
    usual = one["kernel"] == analysis.REFERENCE
    assert one.loc[usual, "difference"].isna().all() and one.loc[~usual, "difference"].notna().all()
    for case, rows in one.groupby("case"):
        usual = rows.loc[rows["kernel"] == analysis.REFERENCE, "log_likelihood"].item()
        others = rows[rows["kernel"] != analysis.REFERENCE]
        assert others["difference"].to_numpy() == pytest.approx((others["log_likelihood"] - usual).to_numpy()), case


def test_four_configurations_are_not_split(tmp_path):
    smoke(tmp_path)
    records = load(tmp_path, "recording")
    predicted = analysis.predictions(records, "last_digit", splits=2)
    assert predicted.empty
    frame = analysis.comparison(records, "last_digit", predicted)
    assert len(frame) == 8 and set(frame["configurations"]) == {4} and set(frame["observations"]) == {0}
    assert frame[["log_likelihood", "rmse", "difference", "fit_ratio"]].isna().all(axis=None)


# ---- intervals and calibration


def test_resampling_splits_alone_is_blind_to_configurations():
    values = np.tile(np.array([0.0, 1.0, 2.0, 5.0]), (6, 1))  # every split says the same
    assert analysis.resampled_means(values, configurations=False) == pytest.approx(2.0)
    both = analysis.resampled_means(values)
    assert both.mean() == pytest.approx(2.0, abs=0.05) and both.std() > 0.5


def test_resampled_means_leave_out_what_was_not_held_out():
    values = np.array([[1.0, np.nan], [np.nan, 1.0], [1.0, 1.0]])
    means = analysis.resampled_means(values)
    assert means[~np.isnan(means)] == pytest.approx(1.0)


def test_values_drawn_from_the_prediction_lie_inside_as_often_as_they_should():
    frame = analysis.held_out(made_up(), 0, "any", TRUTH).sample(4000, replace=True, random_state=0)
    frame["y"] = frame["mean"] + frame["sd"] * np.random.default_rng(0).standard_normal(len(frame))
    assert analysis.within(frame, (0.5, 0.9)) == pytest.approx([0.5, 0.9], abs=0.03)


def test_the_fake_recording_s_accuracy_is_its_formula(records):
    recorded = curves(records, "last_digit")
    rates = [config["lr"] for config in records.trials.loc[records.trials["model"] == "l", "config"]]
    assert recorded.accuracy[:, TARGET, -1] == pytest.approx([hump(lr) for lr in rates])
