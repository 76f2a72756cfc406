"""W&B: which mode, and that an offline run needs no network, no account and no answer from anybody."""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings
from pathlib import Path

import pytest

from baselines.recipe import Recipe
from jfhpo.core.errors import UsageError
from jfhpo.study.tracking import WandbTracker, wandb_mode
from tests.method.synthetic import World, problem

KEY = {"WANDB_API_KEY": "0" * 40}


@pytest.mark.parametrize(
    ("tracking", "environment", "mode"),
    [
        ("none", {}, None),
        ("none", {"WANDB_MODE": "online", **KEY}, None),
        ("offline", {"WANDB_MODE": "online", **KEY}, "offline"),
        ("online", {"WANDB_MODE": "disabled"}, "online"),
        ("auto", {}, "offline"),
        ("auto", KEY, "online"),
        ("auto", {"WANDB_MODE": "online"}, "online"),
        ("auto", {"WANDB_MODE": "offline", **KEY}, "offline"),
        ("auto", {"WANDB_MODE": "dryrun", **KEY}, "offline"),
        ("auto", {"WANDB_MODE": "disabled", **KEY}, None),
        ("auto", {"WANDB_MODE": ""}, "offline"),
        ("auto", {"WANDB_API_KEY": ""}, "offline"),
    ],
    ids=str,
)
def test_the_mode_for_a_setting_and_an_environment(monkeypatch, tracking, environment, mode):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_mode(tracking) == mode


def test_an_unknown_setting_is_refused_with_the_valid_ones():
    with pytest.raises(UsageError, match=r"unknown tracking 'ofline' \(did you mean 'offline'\?\).*auto, none"):
        wandb_mode("ofline")


def events() -> list[dict]:
    """What a study records of one trial, its recommendation and its test."""
    (result,) = World().drive(Recipe(problem(), seed=0), trials=1)
    seen = [{"event": "study"}, {"event": "asked", "trial": result.trial.to_json(), "phase": "search"}]
    for record in result.curve[:3]:
        seen.append({"event": "step", "trial": 0, "record": record.to_json(), "spent": vars(record.cost)})
    seen.append({"event": "told", "result": result.to_json()})
    seen.append({"event": "told", "result": result.to_json() | {"score": None, "status": "failed"}})
    seen.append({"event": "recommended", "config": dict(result.trial.config)})
    test = {"split": "test", "greedy": 0.9, "mean_at_k": 0.8, "standard_error": 0.01, "k": 10}
    return [*seen, {"event": "evaluated", "evaluation": test}, {"event": "finished"}]


def when_flushed(path: Path) -> bytes:
    """W&B's service may write the file a moment after the run is finished."""
    for _ in range(200):
        if path.stat().st_size > 100:
            break
        time.sleep(0.05)
    return path.read_bytes()


def test_an_offline_run_is_written_beside_the_study_without_network_account_or_prompt(tmp_path, monkeypatch):
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):  # no account is known
        monkeypatch.setenv(name, str(tmp_path / "home"))

    def refuse(*arguments, **keywords):
        raise AssertionError("asked for input")

    real = socket.socket.connect

    def local_only(sock, address):
        assert sock.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "localhost", "::1"), f"network: {address}"
        return real(sock, address)

    monkeypatch.setattr("builtins.input", refuse)
    monkeypatch.setattr(sys.stdin, "read", refuse, raising=False)
    monkeypatch.setattr(socket.socket, "connect", local_only)
    folder = tmp_path / "main" / "curves" / "recipe" / "seed=0"
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tracker = WandbTracker("offline", folder, "main", {"seed": 0})
    for event in events():
        tracker(event)
    summary = dict(tracker.run.summary)
    assert tracker.run.group == "main"
    assert tracker.run.name == "curves/recipe/seed=0"
    tracker.close()

    (written,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    logged = when_flushed(written)
    for word in (b"trial-000/reward_mean", b"trial-000/step", b"spent/flops", b"trial/validation", b"recipe"):
        assert word in logged, word
    assert summary["test/mean_at_k"] == 0.8
    assert summary["recommended"]["lr"] == problem().recipe["lr"]
    assert "trial-000/cost" not in summary, "a cost is told as what was spent"
    assert {p.name for p in folder.iterdir()} == {"wandb"}, "nothing else in the study's folder"
