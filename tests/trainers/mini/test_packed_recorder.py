"""The recorder's lines of miniature trials, packed and one by one: real GRPO, real files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import record
from experiments.config import plain
from jfhpo.core.trial import COST_UNITS
from jfhpo.study.records import read_records

WORDS = [
    "problem=last_digit", "models=[xs]", "configs=4", "every=2", "test_k=1", "problem.max_steps=4",
    "problem.rungs=[2,4]", "problem.trainer_settings.prompts_per_step=8",
]  # fmt: skip


@pytest.fixture
def recorded(guessing_base, small_splits, monkeypatch, tmp_path):
    """A function: recording of four configurations with these words -> its lines by configuration."""
    monkeypatch.setattr(record, "_trainers", {})

    def run(name: str, *words: str) -> dict[int, dict]:
        record._trainers.clear()
        ((plan, config),), _, _ = record.plans_of([*WORDS, *words])
        arguments = plan.trainer.arguments | {"bases": {"xs": str(guessing_base)}}
        plan = replace(plan, trainer=replace(plan.trainer, arguments=arguments))
        out: Path = tmp_path / name
        every = [(plan, one) for some in plan.runs() for one in some]
        with closing(record.opened(plan, plain(config)["problem"], out)) as recorder:
            for _, runs in record.packs(every):
                for one, line in zip(runs, record._work(plan, runs), strict=True):
                    recorder.write("run", **vars(one), took=0.0, **line)
        events = read_records(out / "last_digit")
        assert events[0]["packed_on"] == (plan.device if plan.packed else None)
        return {e["configuration"]: e for e in events[1:]}

    return run


def test_a_packed_recording_has_the_lines_of_one_by_one(recorded):
    alone, packed = recorded("alone", "packed=0"), recorded("packed", "packed=3", "device=cpu")
    assert packed.keys() == alone.keys() == {0, 1, 2, 3}
    for number, line in alone.items():
        other = packed[number]
        assert line.keys() == other.keys()
        assert other["status"] == line["status"] == "completed"
        for unit in ("tokens", "flops"):
            assert other[unit] == line[unit]
        for metric in ("reward_mean", "kl", "entropy", "loss", "grad_norm", "learning_rate", "completion_length"):
            assert other[metric] == pytest.approx(line[metric], rel=1e-3, abs=1e-4), metric
        assert other["test"] == pytest.approx(line["test"])
        for one, two in zip(other["validations"], line["validations"], strict=True):
            assert (one["step"], one["tokens"], one["flops"]) == (two["step"], two["tokens"], two["flops"])
            assert one["accuracy"] == pytest.approx(two["accuracy"])
        assert [v["step"] for v in other["validations"]] == [0, 1, 2, 4]
        assert all(s > 0 for s in (*other["seconds"], other["start"]["seconds"], other["save"]["seconds"]))
        assert all(other["failing"][unit] == 0 for unit in COST_UNITS)
    assert max(max(line["grad_norm"]) for line in alone.values()) > 0.1, "it really trains"
