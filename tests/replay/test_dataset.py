"""The data set of recorded curves: what is in it, and what is said of one that is damaged."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from experiments.replay.build import build, main
from experiments.replay.card import noise
from jfhpo import replay
from jfhpo.core.errors import UsageError
from jfhpo.core.seeds import training_seed
from jfhpo.core.trial import Cost
from jfhpo.replay.dataset import ABOUT, CURVES, DATA, REBUILD, RUNS, load, names
from jfhpo.trainers.curves.formula import Landscape, step_cost
from jfhpo.trainers.curves.trainer import CurvesTrainer
from tests.replay.recorded import NAME, STEPS, data_set, record_curves


def test_every_configuration_is_there_on_every_size_with_the_recipe_first(data):
    assert data.models == ("p", "l")
    counts = data.runs.groupby(["model", "transfer"]).size().to_dict()
    assert counts == {("p", "none"): 16, ("p", "width"): 16, ("l", "none"): 16}
    recipe = data.runs[(data.runs["configuration"] == 0) & (data.runs["model"] == "l")]
    assert data.config(recipe["run"].iloc[0]) == data.about["recipe"]


def test_a_curve_is_what_the_trainer_reported(data):
    """Against the formula behind it, whose noise belongs to the point."""
    landscape = Landscape.draw(training_seed(0), 0.25)
    row = data.runs[(data.runs["configuration"] == 3) & (data.runs["model"] == "l")].iloc[0]
    config, curve = data.config(row["run"]), data.curve(3, "l")
    assert curve.index.tolist() == list(range(STEPS + 1))
    for step in (1, 12, STEPS):
        assert curve.loc[step, "reward_mean"] == pytest.approx(landscape.record(config, "l", step, None).reward_mean)
    for step in data.validate_at:
        wanted = landscape.observed(config, "l", step, 0.01, training_seed(0))
        assert curve.loc[step, "val_accuracy"] == wanted
    assert np.isnan(curve.loc[7, "val_accuracy"]), "between the grid's steps nothing was measured"
    assert curve["seconds"].sum() == pytest.approx(STEPS * step_cost(config, "l").seconds)
    assert row["test_mean_at_k"] == landscape.accuracy(config, "l", STEPS)


def test_the_grid_holds_the_rungs_of_the_problem_and_of_hyperband(data):
    assert {6, 12, 24} <= set(data.validate_at) and {3, 8, 24} <= set(data.validate_at)


def test_a_mapped_run_has_the_targets_learning_rate_by_width(data):
    runs = data.runs[(data.runs["configuration"] == 5)].set_index(["model", "transfer"])
    assert runs.loc[("p", "width"), "lr"] == pytest.approx(runs.loc[("l", "none"), "lr"] * 128 / 48)
    assert runs.loc[("p", "none"), "lr"] == runs.loc[("l", "none"), "lr"]


def test_a_configuration_under_way_is_left_out(tmp_path):
    recording = record_curves(tmp_path / "r", 3)
    lines = (recording / "records.jsonl").read_text().splitlines()
    (recording / "records.jsonl").write_text("\n".join(lines[:-1]) + "\n")  # the target's run of the last one
    found = build(recording, tmp_path / "data")
    assert sorted(found.runs["configuration"].unique()) == [0, 1]


def test_seeds_of_one_configuration_tell_the_noise(tmp_path):
    found = data_set(tmp_path, 3, CurvesTrainer, "seeds=3")
    last = found.curves[found.curves["step"] == STEPS].set_index("run")["val_accuracy"]
    own = found.runs[(found.runs["model"] == "l") & (found.runs["transfer"] == "none")]
    by_hand = np.sqrt(np.mean([last.loc[g["run"]].var(ddof=1) for _, g in own.groupby("configuration")]))
    assert noise(found).set_index("size").loc["l", "sd"] == pytest.approx(by_hand)


def test_the_card_says_how_it_was_made(folder):
    said = (folder / NAME / "README.md").read_text()
    for part in ("16 configurations", "design seed 0", "Licence", "Noise", REBUILD):
        assert part in said


# ---- bad input


def test_a_task_that_is_not_recorded_is_refused_with_the_valid_ones(folder):
    with pytest.raises(UsageError, match=f"unknown recorded task 'curvs'.*did you mean '{NAME}'.*valid: {NAME}"):
        load("curvs", folder)


@pytest.mark.parametrize(
    "file, damage",
    [(RUNS, "truncated"), (RUNS, "flipped"), (CURVES, "flipped"), (CURVES, "gone"), (ABOUT, "truncated")],
)
def test_a_damaged_file_is_named_with_the_command_that_rebuilds_it(tmp_path, file, damage):
    data_set(tmp_path, 2)
    path = tmp_path / "data" / NAME / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:1] + bytes([content[1] ^ 0xFF]) + content[2:])
    with pytest.raises(UsageError) as refused:
        load(NAME, tmp_path / "data")
    assert str(path) in str(refused.value) and REBUILD in str(refused.value) and "\n" not in str(refused.value)


def test_another_make_of_a_file_is_refused_though_its_checksum_is_right(tmp_path):
    import hashlib

    data_set(tmp_path, 2)
    path, about = tmp_path / "data" / NAME / CURVES, tmp_path / "data" / NAME / ABOUT
    pd.read_parquet(path).drop(columns="kl").to_parquet(path, index=False)
    said = json.loads(about.read_text())
    said["files"][CURVES]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    about.write_text(json.dumps(said))
    with pytest.raises(UsageError, match="column kl is not as it should be"):
        load(NAME, tmp_path / "data")


def test_a_run_that_is_not_there_is_refused_with_what_is(data):
    with pytest.raises(UsageError, match="no run with configuration=99; recorded: 0 to 15"):
        data.curve(99, "l")
    with pytest.raises(UsageError, match="no run with model=m3; recorded: l, p"):
        data.curve(0, "m3")


def test_nothing_to_build_from_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: there are no recordings in")


# ---- what is shipped


@pytest.mark.parametrize("name", names())
def test_the_shipped_data_sets_load_in_one_line_and_hold_what_their_cards_say(name):
    data = replay.load(name)
    card = (DATA / name / "README.md").read_text()
    assert f"{data.runs['configuration'].nunique()} configurations, {len(data.runs)} training" in card
    last = data.curves[data.curves["step"] == data.max_steps]
    assert last["val_accuracy"].between(0, 1).all() and data.runs["test_mean_at_k"].dropna().between(0, 1).all()
    costs = data.curves[data.curves["step"] > 0]
    assert (costs["seconds"] > 0).all() and (costs["tokens"] > 0).all()
    assert Cost(**{unit: float(costs[unit].sum()) for unit in ("seconds", "tokens", "flops")}).seconds > 0
