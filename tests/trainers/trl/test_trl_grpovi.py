"""GRPOVI in TRL's trainer: two real steps of a tiny random Qwen2 model on CPU, and the settings that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.tasks.grpovi import by_enumeration
from jfhpo.trainers.mini import hf
from jfhpo.trainers.trl.grpovi import GRPOVI
from tests.trainers.mini.tiny import VOCABULARY, random_model

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

N = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    hf.save_pretrained(random_model(seed=4, sharpness=1.0), VOCABULARY, path)
    return path


class Trainer(GRPOVI, trl.GRPOTrainer):
    """Keeps what every generation returned."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.outputs = [*getattr(self, "outputs", []), dict(output)]
        return output


def make(folder, rewards, tmp_path, cls=Trainer, **settings):
    own = {name: settings.pop(name) for name in ("reward_bounds", "grpovi_ties") if name in settings}
    own = {"reward_bounds": (0.0, 1.0)} | own if cls is Trainer else {}
    args = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), num_generations=N, per_device_train_batch_size=2 * N, max_steps=2,
        max_completion_length=6, learning_rate=1e-3, bf16=False, use_cpu=True, report_to="none", seed=3,
        gradient_checkpointing=False, save_strategy="no", **({"beta": 0.1} | settings),
    )  # fmt: skip
    return cls(
        model=str(folder), reward_funcs=rewards, args=args, processing_class=hf.hf_tokenizer(VOCABULARY),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["1+1=".rjust(10), "2*3+1=".rjust(10)] * 2}), **own,
    )  # fmt: skip


def test_two_steps_train_on_adjusted_rewards(folder, tmp_path):
    given = []

    def graded(completions, **rest):
        """Between 0 and 1, with ties: the share of distinct characters among six, in quarters."""
        given.append([round(len(set(c)) / 6 * 4) / 4 for c in completions])
        return given[-1]

    trainer = make(folder, graded, tmp_path, grpovi_ties="position")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    result = trainer.train()
    assert result.global_step == 2 and np.isfinite(result.training_loss)
    assert any(not torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())
    assert len(trainer.outputs) == len(given) == 2
    moved = 0
    for rewards, output in zip(np.array(given).reshape(2, -1, N), trainer.outputs, strict=True):
        logp = (output["ref_per_token_logps"] * output["completion_mask"]).sum(1).view(-1, N).double()
        z = torch.tensor(by_enumeration(rewards, logp.softmax(1).numpy(), 0.0, 1.0))
        expected = ((z - z.mean(1, keepdim=True)) / (z.std(1, keepdim=True) + 1e-4)).view(-1)
        torch.testing.assert_close(output["advantages"].double(), expected, atol=1e-3, rtol=1e-3)
        moved += int(abs(z.numpy() - rewards).max() > 0.1)
    assert moved, "some reward has to have been adjusted"
    last = trainer.outputs[-1]["advantages"].tolist()
    assert list(trainer._logs["advantages"])[-len(last) :] == pytest.approx(last)


def test_on_rewards_of_zero_and_one_the_advantages_are_trls(folder, tmp_path):
    def exact(completions, **rest):
        return [float("1" in c) for c in completions]

    advantages = []
    for cls in (Trainer, trl.GRPOTrainer):
        trainer = make(folder, exact, tmp_path, cls=cls)
        torch.manual_seed(0)
        rows = [{"prompt": prompt} for prompt in ("1+1=".rjust(10), "2*3+1=".rjust(10)) for _ in range(N)]
        advantages.append(trainer._generate_and_score_completions(rows)["advantages"])
    assert advantages[0].abs().max() > 0.1
    torch.testing.assert_close(*advantages, atol=1e-6, rtol=0)


def test_a_reward_outside_its_bounds_names_group_and_index(folder, tmp_path):
    trainer = make(folder, lambda completions, **rest: [*[0.5] * (len(completions) - 2), 3.0, 0.5], tmp_path)
    with pytest.raises(ValueError, match=r"group 1, index 2: reward 3 must lie in \[0, 1\]"):
        trainer.train()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"beta": 0.0}, "beta=0.0: .*set beta above 0"),
        ({"scale_rewards": "batch"}, "scale_rewards='batch' must be 'group' or 'none'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "must be 'sum_then_normalize'"),
        ({"mask_truncated_completions": True}, "mask_truncated_completions=True leaves"),
        ({"grpovi_ties": "first"}, "GRPOVI ties 'first'"),
    ],
)
def test_settings_under_which_it_cannot_work_are_refused(folder, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        make(folder, lambda completions, **rest: [0.0] * len(completions), tmp_path, **settings)


def test_bounds_the_wrong_way_round_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="m=1 and M=0"):
        make(folder, lambda completions, **rest: [0.0] * len(completions), tmp_path, reward_bounds=(1.0, 0.0))
