"""Sensitivity: a surrogate of known functions must give back what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.gather import load
from experiments.sensitivity import analysis, surrogate
from experiments.sensitivity.surrogate import Axis
from tests.paper_figures.fake_recording import flat, record, recording, sixteen, smoke


def designs(n: int = 40) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "lr": float(10 ** rng.uniform(-5, -2)), "kl": float(10 ** rng.uniform(-3, -1)),
            "n": (4, 8, 16)[i % 3], "schedule": ("constant", "cosine")[i % 2],
        }
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    sixteen(out)
    return load(out, "recording")


# ---- axes


def test_axes_are_read_from_the_configurations():
    lr, kl, n, schedule = surrogate.axes_of(designs())
    assert lr.log and kl.log and not lr.levels
    assert n == Axis("n", levels=(4, 8, 16))
    assert schedule == Axis("schedule", levels=("constant", "cosine"))
    assert not surrogate.axes_of([{"a": 0.5}, {"a": 0.6}, {"a": 0.7}, {"a": 0.8}])[0].log


def test_unit_coordinates():
    assert Axis("lr", low=1e-4, high=1e-2, log=True).unit(1e-3) == pytest.approx(0.5)
    assert Axis("a", low=1.0, high=3.0).unit(2.5) == pytest.approx(0.75)
    assert [Axis("n", levels=(4, 8, 16)).unit(v) for v in (4, 8, 16)] == [0.0, 0.5, 1.0]
    assert Axis("one", levels=(7,)).unit(7) == 0.0
    assert Axis("lr", low=1e-4, high=1e-2, log=True).values(3) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert Axis("n", levels=(4, 8, 16)).values(3) == [4, 8, 16]


def test_a_hyperparameter_that_is_inactive_in_some_counts_as_its_middle_there():
    """As in the space itself: configurations of a conditional space hold different names."""
    configs = [{"use_kl": False}, *({"use_kl": True, "kl": kl} for kl in (1e-4, 2e-4, 1e-2))]
    use, kl = surrogate.axes_of(configs)
    assert (use.name, kl.name, kl.low, kl.high, kl.log) == ("use_kl", "kl", 1e-4, 1e-2, True)
    assert surrogate.encode([use, kl], configs)[:, 1] == pytest.approx([0.5, 0.0, np.log10(2) / 2, 1.0])
    assert Axis("a", low=1.0, high=3.0).middle == 2.0 and Axis("n", levels=(4, 8, 16)).middle == 8
    shares = surrogate.importances([use, kl], configs, np.array([0.1, 0.8, 0.8, 0.8]), trees=16, seed=0)
    assert shares["use_kl"] > 2 * shares["kl"]


# ---- the forest


def test_the_hyperparameter_that_alone_decides_explains_the_variance():
    configs = designs()
    axes = surrogate.axes_of(configs)
    shares = surrogate.importances(axes, configs, np.array([c["n"] / 16 for c in configs]), trees=16, seed=0)
    assert shares["n"] > 0.99
    assert max(shares["lr"], shares["kl"], shares["schedule"]) < 0.01


def test_two_that_decide_alike_explain_alike_and_a_product_leaves_interactions():
    configs = designs(200)
    axes = surrogate.axes_of(configs)
    x = surrogate.encode(axes, configs)
    added = surrogate.importances(axes, configs, x[:, 0] + x[:, 1], trees=16, seed=0)
    assert added["lr"] == pytest.approx(0.5, abs=0.1) and added["kl"] == pytest.approx(0.5, abs=0.1)
    product = surrogate.importances(axes, configs, (x[:, 0] - 0.5) * (x[:, 1] - 0.5), trees=16, seed=0)
    assert sum(product.values()) < 0.4  # by no one alone


def test_an_accuracy_that_does_not_vary_has_no_importances():
    configs = designs(12)
    shares = surrogate.importances(surrogate.axes_of(configs), configs, np.full(12, 0.5), trees=4, seed=0)
    assert np.isnan(list(shares.values())).all()


def test_the_held_out_r2_tells_a_function_from_noise():
    configs = designs()
    axes = surrogate.axes_of(configs)
    function = surrogate.encode(axes, configs)[:, 0]
    assert surrogate.fit(axes, configs, function).oob_score_ > 0.9
    assert surrogate.fit(axes, configs, np.random.default_rng(1).random(40)).oob_score_ < 0.2


def test_one_at_a_time_moves_one_and_holds_the_others():
    configs = designs()
    axes = surrogate.axes_of(configs)
    forest = surrogate.fit(axes, configs, np.array([c["n"] / 16 for c in configs]))
    base = {"lr": 1e-3, "kl": 1e-2, "n": 8, "schedule": "cosine"}
    values, predicted = surrogate.one_at_a_time(forest, axes, base, "n", 9)
    assert values == [4, 8, 16]
    assert predicted == pytest.approx([0.25, 0.5, 1.0], abs=0.05)
    _, flat_one = surrogate.one_at_a_time(forest, axes, base, "lr", 9)
    assert len(flat_one) == 9 and np.ptp(flat_one) < 0.05


# ---- a recording


def test_importance_finds_the_learning_rate_on_every_model(records):
    frame = analysis.importance(records, "last_digit", resamples=8).set_index(["model", "hyperparameter"])
    assert list(dict.fromkeys(frame.index.get_level_values("model"))) == ["xs", "p", "l"]
    for model in ("xs", "p", "l"):
        shares = frame.loc[model, "share"].drop(analysis.CHANCE)
        assert shares.idxmax() == "lr" and shares["lr"] > 0.5
        assert shares.sum() <= 1.0 + 1e-9  # the random number's main effect is what is missing
        assert frame.loc[(model, "lr"), "low"] > frame.loc[(model, analysis.CHANCE), "high"]
    assert (frame["low"] <= frame["high"]).all()


def test_importance_is_the_same_every_time(records):
    one, other = (analysis.importance(records, "last_digit", resamples=3) for _ in range(2))
    assert one.equals(other)


def test_curves_start_from_the_first_configuration_and_from_the_best(records):
    bases = analysis.bases(records, "last_digit", "l")
    configs, accuracy = analysis.observations(records, "last_digit", "l")
    assert bases == {"recipe": configs[0], "best found": configs[int(np.argmax(accuracy))]}
    swings = analysis.swings(records, "last_digit").set_index(["model", "base", "hyperparameter"])["swing"]
    assert swings["l", "best found", "lr"] > 5 * swings["l", "best found", "clip_ratio"]


def test_a_failed_run_counts_as_zero_and_an_unfinished_one_is_left_out(tmp_path):
    study = recording(tmp_path)
    for i, target in enumerate((flat(0.5), 4, flat(0.7))):
        record(study, {"lr": 1e-4 * (i + 1)}, {("p", "none"): flat(0.1), ("p", "width"): flat(0.1), "l": target})
    record(study, {"lr": 1e-2}, {("p", "none"): flat(0.1), ("p", "width"): flat(0.1)})
    study.start(study.ask("l", 8, config={"lr": 1e-2}))
    records = load(tmp_path, "recording")
    assert analysis.observations(records, "last_digit", "l")[1].tolist() == [0.5, 0.0, 0.7]
    quality = analysis.quality(records, "last_digit").set_index("model")
    assert quality.loc["l", ["n", "left_out", "failed"]].tolist() == [3, 1, 1]
    assert quality.loc["p", ["n", "left_out", "failed"]].tolist() == [4, 0, 0]


def test_four_configurations_are_too_few_for_any_number(tmp_path):
    smoke(tmp_path)
    records = load(tmp_path, "recording")
    frame = analysis.importance(records, "last_digit", resamples=3)
    assert frame[["share", "low", "high"]].isna().all(axis=None)
    assert set(frame["n"]) == {4}
    assert analysis.quality(records, "last_digit")["r2"].isna().all()
    assert analysis.curves(records, "last_digit").empty and analysis.swings(records, "last_digit").empty
