"""The objective is TRL's: same loss, gradients and metrics as `trl.GRPOTrainer` on a fixed batch.

The options of TRL 1.16 under which the two agree (GRPOConfig; what is not named is TRL's default):

    loss_type="bnpo"                     mean over the tokens of a batch (verl's token-mean); TRL's default is "dapo"
    epsilon = clip_ratio                 epsilon_high=None (the same on both sides), delta=None (no dual clip)
    beta = kl_loss_coef                  TRL's default is 0
    use_bias_correction_kl=False         plain k3 in the loss, as in verl; TRL's default multiplies it by the ratio
    importance_sampling_level="token"    the default
    temperature=1.0                      the default
    num_iterations = epochs, num_generations = rollout_n
    steps_per_generation = minibatches   with gradient_accumulation_steps=1: one update per minibatch
    top_entropy_quantile=1.0, entropy_coef=0.0, mask_truncated_completions=False    the defaults
    max_grad_norm = grad_clip, lr_scheduler_type = lr_scheduler with warmup_steps=0

What differs outside the loss: TRL divides advantages by (standard deviation + 1e-4), we and verl by + 1e-6; TRL
shuffles rollouts into minibatches one by one, we and verl whole groups.
"""

import pytest
import torch

from jfhpo.trainers.mini import hf
from jfhpo.trainers.mini.grpo import entropy, group_advantages, grpo_loss
from jfhpo.trainers.mini.model import Packing, token_logp
from tests.trainers.mini.tiny import VOCABULARY, copy_of, gradients, ragged, random_model

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

PROMPTS, N, LENGTH = 4, 4, 14


@pytest.fixture(scope="module")
def batch():
    """Rollouts of an older policy, scored by a reference further away: every term of the loss is at work."""
    policy = random_model(seed=4)
    prompts, completions, mask = ragged(PROMPTS, N, LENGTH, seed=3)
    packing = Packing(prompts, completions, mask)
    with torch.no_grad():
        old, reference = (
            token_logp(copy_of(policy, noise, seed).completion_logits(packing), packing.targets)
            for noise, seed in ((0.03, 1), (0.06, 2))
        )
    rewards = torch.randint(0, 2, (PROMPTS * N,), generator=torch.Generator().manual_seed(5)).float()
    return policy, prompts, completions, mask, packing, old, reference, group_advantages(rewards, N)


def trl_trainer(folder, policy, clip_ratio, kl_loss_coef):
    hf.save_pretrained(policy, VOCABULARY, folder)
    args = trl.GRPOConfig(
        output_dir=str(folder / "out"),
        loss_type="bnpo",
        epsilon=clip_ratio,
        beta=kl_loss_coef,
        use_bias_correction_kl=False,
        num_generations=N,
        per_device_train_batch_size=PROMPTS * N,
        max_completion_length=LENGTH,
        temperature=1.0,
        num_iterations=1,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
    )
    return trl.GRPOTrainer(
        model=str(folder),
        reward_funcs=lambda completions, **kwargs: [0.0] * len(completions),
        args=args,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["1+1=    "] * PROMPTS}),
        processing_class=hf.hf_tokenizer(VOCABULARY),
    )


def grid(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(M,) -> (N, C) with rubbish in the padding, which must not matter."""
    return torch.full(mask.shape, -3.0).masked_scatter(mask, values)


@pytest.mark.parametrize("clip_ratio, kl_loss_coef", [(0.2, 0.04), (0.05, 0.5)])
def test_loss_gradients_and_metrics_are_those_of_trl(batch, tmp_path, clip_ratio, kl_loss_coef):
    """Options as in this module's docstring; `model.eval()` makes TRL's gradient-accumulation divisor 1."""
    policy, prompts, completions, mask, packing, old, reference, advantages = batch
    policy.flat.grad.zero_()
    logits = policy.completion_logits(packing)
    loss, metrics = grpo_loss(
        token_logp(logits, packing.targets), old, reference, advantages.repeat_interleave(mask.sum(1)),
        clip_ratio, kl_loss_coef,
    )  # fmt: skip
    loss.backward()

    trainer = trl_trainer(tmp_path, policy, clip_ratio, kl_loss_coef)
    theirs = trainer.model.eval()
    expected = trainer._compute_loss(
        theirs,
        {
            "prompt_ids": prompts.repeat_interleave(N, 0),
            "prompt_mask": torch.ones(PROMPTS * N, prompts.shape[1], dtype=torch.long),
            "completion_ids": completions,
            "completion_mask": mask.long(),
            "advantages": advantages,
            "old_per_token_logps": grid(old, mask),
            "ref_per_token_logps": grid(reference, mask),
        },
    )
    expected.backward()

    assert 0.02 < float(metrics["clip_fraction"]) < 0.98 and float(metrics["kl"]) > 0.01  # nothing is idle
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    ours = hf.to_hf_state(gradients(policy))
    parameters = dict(theirs.named_parameters())
    assert ours.keys() == parameters.keys()
    for name, parameter in parameters.items():
        torch.testing.assert_close(
            ours[name], parameter.grad, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert max(float(p.grad.abs().max()) for p in parameters.values()) > 1e-2
    logged = trainer._metrics["eval"]
    assert float(metrics["kl"]) == pytest.approx(logged["kl"][0], abs=1e-5)
    assert float(metrics["clip_fraction"]) == pytest.approx(logged["clip_ratio/region_mean"][0], abs=1e-6)
    assert float(entropy(logits.detach())) == pytest.approx(logged["entropy"][0], abs=1e-5)
