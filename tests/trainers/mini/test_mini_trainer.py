"""`MiniTrainer` keeps the promises of `Trainer`: exact resumption, exact repetition, honest costs, loud failures."""

import dataclasses
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from experiments.config import build_problem, load
from jfhpo.core.trainer import CheckpointError, TrainingFailed
from jfhpo.core.trial import Cost, Fidelity, Trial
from jfhpo.trainers.mini import trainer as module
from jfhpo.trainers.mini.family import FAMILY
from jfhpo.trainers.mini.grpo import Hyperparameters
from jfhpo.trainers.mini.trainer import MiniTrainer, hyperparameters
from jfhpo.trainers.mini.vocabulary import EncodedSplit
from tests.trainers.mini import tiny

CONFIG = {
    "lr": 1e-3,
    "lr_scheduler": "cosine",
    "clip_ratio": 0.2,
    "grad_clip": 1.0,
    "kl_loss_coef": 0.01,
    "rollout_n": 4,
}
REPOSITORY = Path(__file__).parents[3]


def trial(steps: int, *, seed: int = 0, validate_at: tuple[int, ...] = (), model: str = "xs", **config) -> Trial:
    return Trial(0, CONFIG | config, Fidelity(model, steps), seed, validate_at=validate_at)


@pytest.fixture
def trainer(guessing_base, small_splits):
    """8 prompts a step of 64: an epoch is 8 steps."""
    return make_trainer(guessing_base)


def make_trainer(base: Path, max_steps: int = 50, prompts_per_step: int = 8) -> MiniTrainer:
    bases = {"xs": str(base), "p": str(base)}
    return MiniTrainer("last_digit", bases, max_steps, {"prompts_per_step": prompts_per_step})


def timeless(records):
    """Records without what no two runs share."""
    return [dataclasses.replace(r, cost=dataclasses.replace(r.cost, seconds=0.0)) for r in records]


def state_of(trainer: MiniTrainer) -> dict[str, torch.Tensor]:
    return {"weights": trainer.policy.flat} | dict(trainer.optimizer.state[trainer.policy.flat])


def assert_same_state(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


RESUME_ELSEWHERE = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from jfhpo.trainers.mini import trainer as module
from tests.trainers.mini import test_mini_trainer as tests, tiny
torch.set_num_threads(1)
module.SPLIT_SIZES = tiny.SPLIT_SIZES
base, checkpoint, out = map(Path, sys.argv[1:])
trainer = tests.make_trainer(base)
records = tests.timeless(trainer.start(tests.trial(50, validate_at=(10, 30)), checkpoint))
(out / "records.json").write_text(json.dumps([r.to_json() for r in records]))
save_file(tests.state_of(trainer), out / "state.safetensors")
"""


def test_train_to_20_save_load_train_to_50_is_bit_identical_to_train_to_50(guessing_base, small_splits, tmp_path):
    """Across several epochs of prompts and a validation on either side; also when another process goes on."""
    straight = make_trainer(guessing_base)
    whole = timeless(straight.start(trial(50, validate_at=(10, 30))))
    assert len({r.reward_mean for r in whole}) > 3 and max(r.grad_norm for r in whole) > 0.1  # it really trains

    first = make_trainer(guessing_base)
    head = timeless(first.start(trial(20, validate_at=(10,))))
    first.save(tmp_path / "at20.pt")
    later = make_trainer(guessing_base)
    tail = timeless(later.start(trial(50, validate_at=(10, 30)), tmp_path / "at20.pt"))
    assert head[:19] + tail == whole[:19] + whole[20:]
    # The last step of a trial is validated; in the straight run step 20 was like any other.
    assert dataclasses.replace(head[19], val_accuracy=None, cost=Cost()) == dataclasses.replace(whole[19], cost=Cost())
    assert_same_state(state_of(later), state_of(straight))

    command = [sys.executable, "-c", RESUME_ELSEWHERE, guessing_base, tmp_path / "at20.pt", tmp_path]
    subprocess.run(list(map(str, command)), cwd=REPOSITORY, check=True, timeout=120)
    assert json.loads((tmp_path / "records.json").read_text()) == [r.to_json() for r in tail]
    assert_same_state(load_file(tmp_path / "state.safetensors"), state_of(straight))


def test_saving_and_going_on_changes_nothing(trainer, tmp_path):
    records = []
    for record in trainer.start(trial(12)):
        records.append(record)
        trainer.save(tmp_path / f"{record.step}.pt")
    assert timeless(records) == timeless(trainer.start(trial(12)))


def test_resuming_at_the_last_step_does_no_step_and_can_still_be_evaluated(trainer, tmp_path):
    list(trainer.start(trial(3)))
    expected = trainer.evaluate("test", 2)
    trainer.save(tmp_path / "3.pt")
    assert list(trainer.start(trial(3), tmp_path / "3.pt")) == []
    assert trainer.evaluate("test", 2).mean_at_k == expected.mean_at_k


def test_one_trainer_repeats_a_trial_whatever_it_ran_before(trainer):
    first = timeless(trainer.start(trial(6)))
    list(trainer.start(trial(4, seed=3, lr=1e-2)))
    torch.manual_seed(99)
    assert timeless(trainer.start(trial(6))) == first


def test_a_trial_of_fewer_steps_is_the_beginning_of_one_of_more(trainer):
    short = timeless(trainer.start(trial(4)))
    long = timeless(trainer.start(trial(7, validate_at=(4,))))
    assert short == long[:4]


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 2e-3}, {"rollout_n": 8}, {"lr_scheduler": "constant"}])
def test_another_seed_or_configuration_is_another_run(trainer, change):
    weights = []
    for t in (trial(4), trial(4, **change)):
        list(trainer.start(t))
        weights.append(trainer.policy.state())
    assert not torch.equal(*weights)


def test_prompts_come_in_the_same_order_for_every_configuration(trainer):
    dealt = []
    for t in (trial(5), trial(5, lr=1e-2), trial(5, seed=1)):
        steps = trainer.start(t)
        dealt.append([(next(steps).step, trainer.order.order.tolist())[1] for _ in range(5)])
    assert dealt[0] == dealt[1] != dealt[2]


def test_prompt_order_and_sampling_are_streams_of_their_own_for_every_seed(trainer):
    streams = set()
    for seed in range(3):
        trainer.start(trial(1, seed=seed))
        streams |= {bytes(g.get_state().tolist()) for g in (trainer.order.generator, trainer.sampling)}
    assert len(streams) == 6


def test_what_a_configuration_does_not_hold_is_the_recipes():
    problem, _ = build_problem(load([]))
    width = FAMILY[problem.target].width
    assert hyperparameters({}, width) == hyperparameters(problem.recipe, width)
    assert hyperparameters({}, 2 * width).lr == pytest.approx(problem.recipe["lr"] / 2)
    assert hyperparameters(CONFIG, width) == Hyperparameters(**CONFIG)
    assert hyperparameters({"kl_loss_coef": 0.3}, width).kl_loss_coef == 0.3


def test_a_trial_without_some_hyperparameters_runs(trainer):
    (record,) = trainer.start(Trial(0, {"lr": 1e-3}, Fidelity("xs", 1), 0))
    assert record.learning_rate == 1e-3


def test_learning_rate_follows_the_horizon_of_the_problem_not_the_length_of_the_trial(trainer):
    rates = [r.learning_rate for r in trainer.start(trial(4))]
    assert rates == pytest.approx([1e-3 * 0.5 * (1 + math.cos(math.pi * t / 50)) for t in range(4)])


def test_validation_is_where_it_was_asked_for_and_at_the_end(trainer):
    records = list(trainer.start(trial(6, validate_at=(2, 5, 40))))
    assert [r.step for r in records if r.val_accuracy is not None] == [2, 5, 6]
    assert records[-1].val_accuracy == trainer.evaluate("validation", 1, greedy=False).mean_at_k


def test_validation_leaves_training_as_it_was(trainer):
    plain = timeless(trainer.start(trial(6)))
    validated = timeless(trainer.start(trial(6, validate_at=(1, 2, 3, 4, 5))))
    strip = {"val_accuracy": None, "cost": Cost()}
    assert [dataclasses.replace(r, **strip) for r in plain] == [dataclasses.replace(r, **strip) for r in validated]


@pytest.mark.parametrize("unit", ["flops", "tokens"])
def test_a_validated_step_costs_its_validation_too(trainer, unit):
    """`StepRecord.cost`: "of this step alone, its validation included"."""
    plain = next(trainer.start(trial(3))).cost.of(unit)
    steps = trainer.start(trial(3, validate_at=(1,)))
    validated = next(steps).cost.of(unit)
    validation = trainer.evaluate("validation", 1, greedy=False).cost.of(unit)
    assert validated == plain + validation > plain


def test_the_record_tells_of_the_step(trainer):
    for record in trainer.start(trial(3)):
        assert 0 <= record.reward_mean <= 1 and 0 <= record.clip_fraction <= 1
        assert record.kl > -1e-6 and 0 < record.entropy < math.log(19) and record.grad_norm > 0
        assert record.cost.tokens >= record.completion_length * 32 - 0.5 and record.cost.seconds > 0
        assert 1 <= record.completion_length <= tiny.TASK.completion_length


@pytest.mark.filterwarnings("ignore:.*")
def test_a_diverging_trial_fails_with_its_cost(trainer):
    records, steps = [], trainer.start(trial(20, lr=1e30))
    trainer.overhead()
    with pytest.raises(TrainingFailed, match=r"(loss|grad_norm) is (nan|inf) at step \d"):
        records.extend(steps)
    assert all(math.isfinite(r.loss) and math.isfinite(r.grad_norm) for r in records)
    spent = trainer.overhead()
    assert spent.seconds > 0 and spent.tokens > 0 and spent.flops > 0


def test_a_poisoned_base_fails_at_the_first_step(guessing_base, small_splits, tmp_path):
    for file in guessing_base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(guessing_base / "model.safetensors")
    weights["lm_head.weight"][3, 3] = math.nan
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(TrainingFailed, match="step 1"):
        list(make_trainer(tmp_path).start(trial(5)))


@pytest.fixture
def checkpoint(trainer, tmp_path):
    list(trainer.start(trial(2)))
    trainer.save(tmp_path / "2.pt")
    return tmp_path / "2.pt"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_checkpoint_is_refused(trainer, checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"2\.pt"):
        trainer.start(trial(4), checkpoint)


@pytest.mark.parametrize("share", [0.05, 0.35, 0.65, 0.95])
def test_a_checkpoint_with_a_flipped_bit_is_refused(trainer, checkpoint, share):
    content = bytearray(checkpoint.read_bytes())
    content[int(share * len(content))] ^= 0x40
    checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"2\.pt"):
        trainer.start(trial(4), checkpoint)


def test_a_missing_checkpoint_is_refused(trainer, tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pt"):
        trainer.start(trial(4), tmp_path / "gone.pt")


def test_something_else_than_a_checkpoint_is_refused(trainer, tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pt")
    torch.save({"step": 3}, tmp_path / "dict.pt")
    for name in ("list.pt", "dict.pt"):
        with pytest.raises(CheckpointError, match=name):
            trainer.start(trial(4), tmp_path / name)


@pytest.mark.parametrize("other, named", [({"lr": 2e-3}, "config"), ({"seed": 1}, "seed"), ({"model": "p"}, "model")])
def test_a_checkpoint_of_another_trial_is_refused(trainer, checkpoint, other, named):
    with pytest.raises(CheckpointError, match=named):
        trainer.start(trial(4, **other), checkpoint)


def test_a_checkpoint_of_other_code_is_refused(trainer, checkpoint, monkeypatch):
    monkeypatch.setattr(module, "code_version", lambda: "other")
    with pytest.raises(CheckpointError, match="code_version"):
        trainer.start(trial(4), checkpoint)


@pytest.fixture
def drawn(monkeypatch):
    """What `evaluate` sampled, call by call."""
    calls, original = [], module.sample
    monkeypatch.setattr(module, "sample", lambda *a, **k: calls.append(original(*a, **k)) or calls[-1])
    return calls


def test_evaluation_is_reproducible_and_leaves_no_trace(trainer):
    steps = trainer.start(trial(6))
    next(steps)
    torch.manual_seed(0)
    once = trainer.evaluate("test", 3, seed=4)
    torch.manual_seed(1)
    again = trainer.evaluate("test", 3, seed=4)
    assert dataclasses.replace(once, cost=Cost()) == dataclasses.replace(again, cost=Cost())
    assert (once.cost.tokens, once.cost.flops) == (again.cost.tokens, again.cost.flops)
    assert timeless(steps) == timeless(trainer.start(trial(6)))[1:]


def test_more_draws_begin_with_the_same_draws(trainer, drawn):
    next(trainer.start(trial(2)))
    drawn.clear()
    trainer.evaluate("test", 2, seed=4, greedy=False)
    trainer.evaluate("test", 4, seed=4, greedy=False)
    trainer.evaluate("test", 2, seed=5, greedy=False)
    tokens = [d.tokens.tolist() for d in drawn]
    assert tokens[:2] == tokens[2:4]
    assert all(a != b for i, a in enumerate(tokens[2:]) for b in tokens[2 : 2 + i])  # new draws, new seeds


def test_evaluation_is_the_exact_match_of_its_samples_with_its_standard_error(trainer, drawn):
    """Recomputed from the text: mean over prompts of the mean over k samples; standard error over prompts."""
    next(trainer.start(trial(2)))
    drawn.clear()
    result = trainer.evaluate("validation", 3, seed=1)
    right = []
    for completions in drawn:
        texts = [tiny.VOCABULARY.decode(row) for row in completions.tokens.tolist()]
        rows = zip(texts, tiny.SPLITS["validation"], strict=True)
        right.append([tiny.TASK.check(text, example.answer, ended) for (text, ended), example in rows])
    shares = [statistics.mean(prompt) for prompt in zip(*right[:3], strict=True)]
    assert 0 < statistics.mean(shares) < 1
    assert (result.split, result.prompts, result.k) == ("validation", 48, 3)
    assert result.mean_at_k == pytest.approx(statistics.mean(shares))
    assert result.standard_error == pytest.approx(statistics.stdev(shares) / math.sqrt(48))
    assert result.greedy == pytest.approx(statistics.mean(right[3]))
    assert result.cost.tokens == sum(int(d.mask.sum()) for d in drawn)


def test_greedy_can_be_left_out(trainer):
    next(trainer.start(trial(2)))
    without = trainer.evaluate("test", 2, greedy=False)
    assert math.isnan(without.greedy)
    assert without.mean_at_k == trainer.evaluate("test", 2).mean_at_k


def test_overhead_is_handed_over_once(trainer, tmp_path):
    assert trainer.overhead() == Cost()
    steps = trainer.start(trial(2))
    loading = trainer.overhead()
    assert loading.seconds > 0 and (loading.tokens, loading.flops) == (0, 0.0)
    assert trainer.overhead() == Cost()
    next(steps)
    assert trainer.overhead() == Cost()  # the record carries the step
    trainer.save(tmp_path / "1.pt")
    assert 0 < trainer.overhead().seconds < 5
    assert trainer.overhead() == Cost()


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_without_a_difference_in_reward_only_weight_decay_acts(trainer, monkeypatch, reward):
    """Â = 0 and β = 0: two updates a step multiply every weight by 1 − lr·wd and nothing else."""
    monkeypatch.setattr(EncodedSplit, "reward", lambda self, which, c: torch.full((len(which),), reward))
    steps = trainer.start(trial(5, kl_loss_coef=0.0, lr_scheduler="constant", lr=1e-2))
    base = trainer.policy.state()
    assert [r.grad_norm for r in steps] == [0.0] * 5
    expected = base * (1 - 1e-2 * trainer.settings.weight_decay) ** 10
    torch.testing.assert_close(trainer.policy.flat, expected, atol=0, rtol=1e-5)
    assert not torch.equal(trainer.policy.flat, base)


def test_grpo_teaches_a_skilled_base_what_it_forgot(skilled_base):
    """The real thing in 25 steps: 16 prompts, n = 8, 512 validation prompts (standard error about 2 points)."""
    trainer = make_trainer(skilled_base, max_steps=50, prompts_per_step=16)
    good = {"lr": 5e-4, "lr_scheduler": "constant", "kl_loss_coef": 1e-3, "rollout_n": 8}
    steps = trainer.start(trial(25, **good))
    before = trainer.evaluate("validation", 1, greedy=False).mean_at_k
    records = list(steps)
    assert before < 0.35
    assert records[-1].val_accuracy > before + 0.3
    assert statistics.mean(r.reward_mean for r in records[-5:]) > statistics.mean(r.reward_mean for r in records[:5])
    assert records[0].kl < 0.02 < max(r.kl for r in records)
