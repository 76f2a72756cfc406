"""GRPOVI and graded rewards in the miniature trainer: what is adjusted, what stays as it was, and bad settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.config import build_problem, load
from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.tasks.graded import credit, solution
from jfhpo.tasks.grpovi import by_enumeration
from jfhpo.trainers.mini import grpo
from jfhpo.trainers.mini.graded import GradedSplit
from jfhpo.trainers.mini.grpo import GRPOSettings, Hyperparameters, PromptOrder, grpo_step, step_flops
from jfhpo.trainers.mini.model import token_logp
from jfhpo.trainers.mini.trainer import MiniTrainer
from tests.trainers.mini import tiny
from tests.trainers.mini.test_mini_trainer import CONFIG, assert_same_state, state_of, timeless

N, PROMPTS = 4, 6


def make(base, **settings) -> MiniTrainer:
    return MiniTrainer("last_digit", {"xs": str(base)}, 50, {"prompts_per_step": 8, **settings})


def trial(steps: int, **config) -> Trial:
    return Trial(0, CONFIG | config, Fidelity("xs", steps), 0)


def step(monkeypatch, advantage: str, ties: str = "equal"):
    """One step of a random policy and reference with a graded reward; the rollouts, their rewards, and the rewards
    that the advantages are of."""
    seen: dict = {}
    policy, reference = tiny.random_model(seed=4), tiny.random_model(seed=5, sharpness=1.0)
    data = tiny.encoded()
    generator = torch.Generator().manual_seed(3)

    def reward(which, completions):
        seen["rewards"] = torch.randint(0, 5, (len(which),), generator=generator) / 4
        return seen["rewards"]

    def sample(model, prompts, *arguments, **keywords):
        seen["prompts"], seen["rollouts"] = prompts, own_sample(model, prompts, *arguments, **keywords)
        return seen["rollouts"]

    def group_advantages(rewards, n):
        seen["of"] = rewards
        return own_advantages(rewards, n)

    own_sample, own_advantages, data.reward = grpo.sample, grpo.group_advantages, reward
    monkeypatch.setattr(grpo, "sample", sample)
    monkeypatch.setattr(grpo, "group_advantages", group_advantages)
    hp = Hyperparameters(1e-3, "constant", 0.2, 1.0, 0.1, N, advantage)
    settings = GRPOSettings(prompts_per_step=PROMPTS, grpovi_ties=ties)
    optimizer = torch.optim.AdamW([policy.flat], lr=1.0)
    order, sampling = PromptOrder(len(data), torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    metrics = grpo_step(policy, reference, optimizer, data, order, sampling, hp, settings, 0, 8)
    return reference, seen, metrics


def test_advantages_are_of_rewards_adjusted_by_the_references_probability_of_whole_completions(monkeypatch):
    """The reference's log-probabilities one rollout at a time by textbook operations, then the paper's enumeration."""
    reference, seen, metrics = step(monkeypatch, "grpovi", ties="position")
    rollouts = seen["rollouts"]
    logits = tiny.plain_completion_logits(reference, seen["prompts"], rollouts.tokens, rollouts.mask)
    logp = torch.zeros(rollouts.mask.shape).masked_scatter(
        rollouts.mask, token_logp(logits, rollouts.tokens[rollouts.mask])
    )
    p = logp.sum(1).view(PROMPTS, N).double().softmax(1).detach().numpy()
    expected = by_enumeration(seen["rewards"].view(PROMPTS, N).numpy(), p, 0.0, 1.0)
    np.testing.assert_allclose(p * seen["of"].view(PROMPTS, N).numpy(), p * expected, atol=1e-4)
    assert not torch.equal(seen["of"], seen["rewards"])
    assert metrics["reward_mean"] == pytest.approx(float(seen["rewards"].mean())), "recorded as they were given"


def test_grpo_takes_rewards_as_they_are(monkeypatch):
    _, seen, _ = step(monkeypatch, "grpo")
    assert seen["of"] is seen["rewards"]


@pytest.mark.parametrize("setting", [True, False], ids=["as a setting", "as a hyperparameter"])
def test_on_exact_rewards_it_is_grpo(guessing_base, small_splits, setting):
    """Rewards of 0 and 1 are never moved; the reference's log-probabilities, read once for all minibatches, agree."""
    plain = make(guessing_base)
    expected = timeless(plain.start(trial(5)))
    other = make(guessing_base, **({"advantage": "grpovi"} if setting else {}))
    found = timeless(other.start(trial(5, **({} if setting else {"advantage": "grpovi"}))))
    assert max(r.grad_norm for r in expected) > 0.1
    assert [r.reward_mean for r in found] == [r.reward_mean for r in expected]
    torch.testing.assert_close(other.policy.flat, plain.policy.flat, atol=1e-6, rtol=0)


def test_a_configurations_own_advantage_goes_before_the_setting(guessing_base, small_splits):
    trainer = make(guessing_base, advantage="grpovi")
    trainer.start(trial(1, advantage="grpo"))
    assert trainer.hp.advantage == "grpo"
    trainer.start(trial(1))
    assert trainer.hp.advantage == "grpovi"


def test_graded_rewards_train_and_accuracy_stays_exact(guessing_base, small_splits):
    exact, graded = make(guessing_base), make(guessing_base, reward="graded")
    for trainer in (exact, graded):
        trainer.start(trial(1))
    assert exact.evaluate("train", 1).mean_at_k == graded.evaluate("train", 1).mean_at_k
    given = [[r.reward_mean for r in t.start(trial(6))] for t in (exact, graded)]
    # A guess is worth 1 where it is right, and of the 3 to 5 parts of a solution it is one.
    assert 0 < sum(given[1]) < 0.5 * sum(given[0])


def test_graded_rewards_on_tokens_are_credit_on_text():
    split = GradedSplit(tiny.encoded(), tiny.SPLITS["train"], tiny.VOCABULARY)
    solved = [solution(tiny.TASK, example.prompt) for example in tiny.SPLITS["train"][:3]]
    texts = [
        f"{','.join(solved[0].steps)}#{solved[0].answer}",
        f"{solved[1].steps[0]}#{solved[1].answer}",
        "#,",
    ]
    tokens = tiny.VOCABULARY.pad(texts, 32)
    expected = [credit(text, s) for text, s in zip(texts, solved, strict=True)]
    assert split.reward(torch.arange(3), tokens).tolist() == pytest.approx(expected)
    assert expected[0] == 1.0 and 0 < expected[1] < 1 and expected[2] == 0.0


def test_a_resumed_grpovi_run_is_the_straight_one(guessing_base, small_splits, tmp_path):
    settings = {"reward": "graded", "advantage": "grpovi"}
    straight, first, later = (make(guessing_base, **settings) for _ in range(3))
    whole = timeless(straight.start(trial(6)))
    list(first.start(trial(3)))
    first.save(tmp_path / "3.pt")
    assert timeless(later.start(trial(6), tmp_path / "3.pt"))[:-1] == whole[3:-1]
    assert_same_state(state_of(later), state_of(straight))


def test_the_reference_is_read_once_a_step_and_counted_so(monkeypatch):
    model = tiny.random_model()
    once, per_epoch = (step_flops(model, 4, 16, 100, 10, 3, passes) for passes in (1, None))
    assert per_epoch / once == pytest.approx((1 + 4 * 3) / (1 + 1 + 3 * 3))


SETTINGS = "problem.trainer_settings"
BAD = {
    f"+{SETTINGS}={{advantage: grpoiv}}": f"{SETTINGS}.advantage 'grpoiv' (did you mean 'grpovi'",
    f"+{SETTINGS}={{reward: partial}}": f"{SETTINGS}.reward 'partial'; valid: exact, graded",
    f"+{SETTINGS}={{rewrad: graded}}": f"{SETTINGS} 'rewrad' (did you mean 'reward'",
    f"+{SETTINGS}={{grpovi_ties: first}}": "grpovi_ties 'first'; valid: equal, position",
    f"+{SETTINGS}={{reward_bounds: [0, 0.5]}}": "reward_bounds=[0, 0.5] must be [m, M] with m ≤ 0 and M ≥ 1",
    f"+{SETTINGS}={{reward_bounds: [0]}}": "reward_bounds=[0] must be [m, M]",
    "+problem.space={advantage: {type: categorical, values: [grpo, gae]}}": "space.advantage 'gae'; valid: grpo",
}


@pytest.mark.parametrize("word", BAD)
def test_a_bad_setting_is_one_line_before_anything_is_trained(word):
    with pytest.raises(UsageError) as error:
        build_problem(load([word, "+problem.recipe={advantage: grpo}"] if "space" in word else [word]))
    assert BAD[word] in str(error.value)


def test_the_advantage_can_be_searched():
    words = ["+problem.space={advantage: {type: categorical, values: [grpo, grpovi]}}"]
    problem, _ = build_problem(load([*words, "+problem.recipe={advantage: grpo}"]))
    drawn = {c["advantage"] for c in problem.space.sample(np.random.default_rng(0), 32)}
    assert drawn == {"grpo", "grpovi"} and problem.recipe["advantage"] == "grpo"


def test_an_advantage_that_no_trainer_knows_is_refused_by_the_trial(guessing_base, small_splits):
    with pytest.raises(UsageError, match="advantage 'gae'; valid: grpo, grpovi"):
        make(guessing_base).start(trial(1, advantage="gae"))
