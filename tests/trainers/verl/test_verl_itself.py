"""verl itself, with Ray, FSDP2 and vLLM, on the CPU: it learns, is stopped, resumed to a higher fidelity, killed, and
recovers. Three starts of verl, four minutes on two idle cores: ``pytest -m verl -s`` in the environment of
``./run_all.sh setup verl-cpu``.
"""

from __future__ import annotations

import math
import os
import signal

import pytest

from jfhpo.core.trainer import TrainingFailed
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.trainers.verl import guard
from jfhpo.trainers.verl.compose import installed

pytestmark = [
    pytest.mark.verl,
    pytest.mark.skipif(not installed(), reason="verl is not installed: ./run_all.sh setup verl-cpu"),
]
CONFIG = {
    "lr": 1e-3,
    "lr_scheduler": "cosine",
    "clip_ratio": 0.2,
    "grad_clip": 1.0,
    "kl_loss_coef": 1e-3,
    "rollout_n": 8,
}
HORIZON, PROMPTS = 60, 128


def trial(steps):
    return Trial(0, CONFIG, Fidelity("xs", steps), seed=7)


@pytest.fixture
def make(skilled_base):
    from jfhpo.trainers.verl.trainer import VerlTrainer

    made = []

    def trainer():
        settings = {"held_out_prompts": PROMPTS}  # on a GPU where there is one
        made.append(VerlTrainer("last_digit", {"xs": str(skilled_base)}, HORIZON, settings))
        return made[-1]

    yield trainer
    for one in made:
        one.close()


def greedy_of_transformers(folder):
    """The share that the base answers right, sampled greedily by transformers from the narrow model."""
    import torch
    from transformers import AutoModelForCausalLM

    from jfhpo.tasks import TASKS
    from jfhpo.tasks.datasets import load
    from jfhpo.tasks.datasets.rewards import reward
    from jfhpo.trainers.hf.run import tokenizer_of
    from jfhpo.trainers.hf.sampling import Batch, draw

    rows = load("last_digit").splits["validation"][:PROMPTS]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    length = TASKS["last_digit"].completion_length
    tokenizer = tokenizer_of(str(folder))
    ids = tokenizer([row.prompt for row in rows])["input_ids"]
    texts, _ = draw(model, tokenizer, ids, length, None, Batch(256))
    return sum(reward("last_digit", text, row.answer) for text, row in zip(texts, rows, strict=True)) / PROMPTS


def cosine(step):
    """The rate of a step, of the whole horizon."""
    return CONFIG["lr"] * 0.5 * (1 + math.cos(math.pi * (step - 1) / HORIZON))


def test_a_trial_learns_is_stopped_resumed_killed_and_recovers(make, skilled_base, tmp_path):
    first = make()
    steps = first.start(trial(20))
    base = first.evaluate("validation", 1)
    assert base.prompts == PROMPTS
    assert base.greedy == pytest.approx(greedy_of_transformers(skilled_base), abs=2 / PROMPTS)
    curve = [next(steps) for _ in range(6)]
    first.save(tmp_path / "at-6")
    first.close()
    print(f"\nstopped at step {curve[-1].step}, reward {curve[0].reward_mean:.3f} -> {curve[-1].reward_mean:.3f}")

    second = make()
    steps = second.start(trial(14), tmp_path / "at-6")
    curve += [next(steps) for _ in range(4)]
    second.save(tmp_path / "at-10")
    print(f"resumed at step 7, for fidelity 14; reward {curve[-1].reward_mean:.3f} at step {curve[-1].step}")
    family = [second.segment.process.pid, *guard.descendants(second.segment.process.pid)]
    assert len(family) > 5
    os.kill(family[1], signal.SIGKILL)  # verl's driver
    with pytest.raises(TrainingFailed, match="signal 9") as error:
        next(steps)
    assert not [pid for pid in family if os.path.exists(f"/proc/{pid}")]
    print(f"killed: {error.value}; none of its {len(family)} processes left")

    third = make()
    curve += list(third.start(trial(14), tmp_path / "at-10"))
    print(f"recovered at step 11, finished at step {curve[-1].step}")
    assert [record.step for record in curve] == list(range(1, 15))
    for record in curve:
        assert record.learning_rate == pytest.approx(cosine(record.step), rel=1e-6)
        assert math.isfinite(record.kl) and math.isfinite(record.entropy) and record.cost.seconds > 0
    early, late = (sum(r.reward_mean for r in part) / 4 for part in (curve[:4], curve[-4:]))
    print(f"learned from {base.mean_at_k:.3f} to {curve[-1].val_accuracy:.3f} (validation, {PROMPTS} prompts)")
    print(f"reward of steps 1-4 {early:.3f}, of steps 11-14 {late:.3f}")
    print(f"CPU seconds of a step: {sum(r.cost.seconds for r in curve[:-1]) / 13:.1f}")
    assert late > early + 0.1 and curve[-1].val_accuracy > base.mean_at_k
