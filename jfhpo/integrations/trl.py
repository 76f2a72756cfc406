"""The stopping rules as a callback of a TRL (or any transformers) trainer:

    from jfhpo.integrations.trl import early_stopping

    trainer = GRPOTrainer(..., callbacks=[early_stopping("scaling_law")])

Every logged optimizer step becomes a `StepRecord`, and the rules judge the curve as they do in a study; a verdict sets
``control.should_training_stop``. The rules count steps: log every one (``logging_steps=1``), which the callback checks
when training begins. Rules that compare with rivals stay silent: a single run has none.

A checkpoint's trainer state holds its log, so that a resumed run is judged with the steps before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jfhpo.core.errors import UsageError
from jfhpo.core.optional import optional
from jfhpo.core.trial import Cost, StepRecord
from jfhpo.dynamics.early_stopping import RemainingGain, Rule, Stop, judge, rules, with_horizon

if TYPE_CHECKING:
    from transformers import TrainerCallback

LOGGED = {
    "kl": "kl", "entropy": "entropy", "grad_norm": "grad_norm", "clip_fraction": "clip_ratio/region_mean",
    "completion_length": "completions/mean_length", "learning_rate": "learning_rate", "loss": "loss",
}  # fmt: skip
"""Field of `StepRecord` -> what TRL 1.16's GRPOTrainer logs it as. A trainer that logs none has NaN there, which no
rule takes for a reason to stop."""


def early_stopping(
    preset: str | Sequence[Rule] = "robust",
    reward: str = "reward",
    reward_range: tuple[float, float] | None = None,
) -> TrainerCallback:
    """A callback that stops the training when a rule says so.

    `preset` is a name (``robust``, ``scaling_law``, ``paper``) or rules of one's own, `reward` the logged value they
    watch, which must be one where more is better. `reward_range` is where rewards can lie, if that is known: it bounds
    the plateau of the scaling law. The verdict is the callback's ``verdict`` (None while there is none), and is logged
    to the console.

    Raises:
        UsageError: for an unknown preset, or where transformers is not installed; when training begins, unless every
            step is logged; at the first logged step without the reward.
    """
    optional("transformers", "trl", "early_stopping")
    from transformers import TrainerCallback

    chosen = rules(preset) if isinstance(preset, str) else tuple(preset)
    chosen = tuple(replace(r, reward_range=reward_range) if isinstance(r, RemainingGain) else r for r in chosen)

    class EarlyStopping(TrainerCallback):
        def __init__(self) -> None:
            self.rules = chosen
            self.curve: list[StepRecord] = []
            self.verdict: Stop | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if args.logging_strategy != "steps" or state.logging_steps != 1:
                every = f"logging_strategy={args.logging_strategy.value} logging_steps={state.logging_steps}"
                raise UsageError(f"{every} must be steps and 1: the stopping rules count steps")
            self.rules, self.verdict = with_horizon(chosen, state.max_steps), None
            self.curve = curve_of(state.log_history, reward)

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
            if not logs or "loss" not in logs or len(self.curve) >= state.global_step:
                return  # an evaluation's or the end's summary, not a step's
            self.curve.append(record_of(logs, state.global_step, reward))
            if self.verdict is None and (stop := judge(self.rules, self.curve)) is not None:
                self.verdict, control.should_training_stop = stop, True
                if state.is_world_process_zero:
                    print(f"stopped early: {stop}")

    return EarlyStopping()


def curve_of(log_history: Sequence[Mapping[str, Any]], reward: str) -> list[StepRecord]:
    """The steps that a trainer's log holds, each once."""
    steps = {logs["step"]: logs for logs in log_history if "loss" in logs}
    return [record_of(logs, step, reward) for step, logs in sorted(steps.items())]


def record_of(logs: Mapping[str, Any], step: int, reward: str) -> StepRecord:
    """One logged step; a `UsageError` where it has no such reward."""
    if logs.get(reward) is None:
        known = ", ".join(sorted(name for name in logs if "reward" in name)) or "no rewards"
        raise UsageError(f"reward={reward} is not logged at step {step}; there is: {known}")
    fields = {field: _number(logs.get(name)) for field, name in LOGGED.items()}
    return StepRecord(step=step, reward_mean=float(logs[reward]), cost=Cost(), **fields)


def _number(logged: float | None) -> float:
    """TRL logs None for the mean of no values."""
    return math.nan if logged is None else float(logged)
