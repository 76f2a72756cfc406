"""Trials packed into one program have the numbers that each has alone, whatever is in the pack beside them."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import CheckpointError, Evaluation, TrainingFailed
from jfhpo.core.trial import Cost, Fidelity, StepRecord, Trial
from jfhpo.trainers.mini.grpo import grpo_loss
from jfhpo.trainers.mini.model import Packing
from jfhpo.trainers.mini.packed import trainer as packed_trainer
from jfhpo.trainers.mini.packed.grpo import packed_loss
from jfhpo.trainers.mini.packed.layout import Grid, Rows
from jfhpo.trainers.mini.packed.model import Policies
from jfhpo.trainers.mini.packed.pack import Stack, clip
from jfhpo.trainers.mini.packed.sampling import sample as sample_packed
from jfhpo.trainers.mini.packed.trainer import PackedMiniTrainer
from jfhpo.trainers.mini.sampling import sample
from jfhpo.trainers.mini.trainer import MiniTrainer
from jfhpo.trainers.mini.vocabulary import EOS, PAD
from tests.trainers.mini import tiny

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CONFIGS = (
    {"lr": 3e-3, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 4},
    {"lr": 1e-2, "lr_scheduler": "constant", "clip_ratio": 0.1, "grad_clip": 0.1, "kl_loss_coef": 0.3, "rollout_n": 8},
    {"lr": 1e-3, "lr_scheduler": "constant", "clip_ratio": 0.3, "grad_clip": 5.0, "kl_loss_coef": 0.0, "rollout_n": 2},
    {"lr": 3e-3, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 4,
     "advantage": "grpovi"},
)  # fmt: skip
SETTINGS = {"prompts_per_step": 8}


def trials(steps: int = 6, **changes) -> list[Trial]:
    """Of all kinds, each with a seed of its own."""
    return [Trial(i, c, Fidelity("xs", steps), seed=i, **changes) for i, c in enumerate(CONFIGS)]


def one_by_one(base: Path, **settings) -> MiniTrainer:
    return MiniTrainer("last_digit", {"xs": str(base)}, 50, SETTINGS | settings)


def packed(base: Path, device: str = "cpu", **settings) -> PackedMiniTrainer:
    return PackedMiniTrainer("last_digit", {"xs": str(base)}, 50, SETTINGS | settings, device=device)


def to_the_end(trainer: PackedMiniTrainer, slots: list[int]) -> dict[int, list[StepRecord | TrainingFailed]]:
    """All records of these slots, taken in lockstep."""
    told: dict[int, list] = {slot: [] for slot in slots}
    while slots:
        for slot, record in trainer.advance(slots).items():
            if record is None or isinstance(record, TrainingFailed):
                slots = [s for s in slots if s != slot]
            if record is not None:
                told[slot].append(record)
    return told


def assert_close(found, expected, tolerance: float) -> None:
    """The same to a tolerance, and counts exactly; seconds are not compared."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(expected, StepRecord | Evaluation | Cost):
        for field in dataclasses.fields(expected):
            if field.name not in ("seconds", "measured"):
                assert_close(getattr(found, field.name), getattr(expected, field.name), tolerance)
    elif isinstance(expected, float) and not math.isnan(expected):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    elif not isinstance(expected, float):
        assert found == expected


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision throughout: rounding is then far below any difference in what is computed."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("device", DEVICES)
def test_every_trial_of_a_pack_is_what_it_is_alone(guessing_base, small_splits, double, device):
    """Four configurations, seeds and numbers of rollouts; six steps, a validation on the way, weights and moments."""
    pack, given = packed(guessing_base, device), trials(validate_at=(3,))
    for slot, trial in enumerate(given):
        pack.start(slot, trial)
    told = to_the_end(pack, list(range(len(given))))
    for slot, trial in enumerate(given):
        alone = one_by_one(guessing_base)
        assert_close(told[slot], list(alone.start(trial)), 1e-8)
        member = pack.members[slot]
        adam = alone.optimizer.state[alone.policy.flat]
        for found, expected in zip(
            (member.weights, *member.moments), (alone.policy.flat, adam["exp_avg"], adam["exp_avg_sq"]), strict=True
        ):
            assert expected.dtype == torch.float64
            torch.testing.assert_close(found.cpu(), expected.detach(), atol=1e-9, rtol=1e-9)
        member.hand_back()
        assert torch.equal(alone.order.generator.get_state(), member.trainer.order.generator.get_state())
        assert torch.equal(alone.sampling.get_state(), member.trainer.sampling.get_state())


@pytest.mark.parametrize("device", DEVICES)
def test_in_single_precision_the_first_step_is_the_same_to_rounding(guessing_base, small_splits, device):
    pack, given = packed(guessing_base, device), trials(1)
    for slot, trial in enumerate(given):
        pack.start(slot, trial)
    told = to_the_end(pack, list(range(len(given))))
    for slot, trial in enumerate(given):
        assert_close(told[slot], list(one_by_one(guessing_base).start(trial)), 1e-4)


def test_partial_credit_and_several_passes_are_rewarded_and_trained_as_alone(guessing_base, small_splits, double):
    settings = {"reward": "graded", "epochs": 2, "minibatches": 4, "grpovi_ties": "position"}
    pack, given = packed(guessing_base, **settings), trials(3)
    for slot, trial in enumerate(given):
        pack.start(slot, trial)
    told = to_the_end(pack, list(range(len(given))))
    for slot, trial in enumerate(given):
        assert_close(told[slot], list(one_by_one(guessing_base, **settings).start(trial)), 1e-8)


def test_trials_join_and_leave_between_steps(guessing_base, small_splits, double):
    """Trial 0 from the first step on, 1 two steps later, 2 into the slot that 0 left; a checkpoint on the way."""
    pack, given = packed(guessing_base), trials(5)
    told: dict[int, list[StepRecord]] = {0: [], 1: [], 2: []}
    slots = {0: 0, 1: 1, 2: 0}

    def advance(*numbers: int) -> None:
        found = pack.advance([slots[number] for number in numbers])
        for number in numbers:
            told[number].append(found[slots[number]])

    pack.start(0, given[0])
    advance(0)
    advance(0)
    pack.start(1, given[1])
    advance(0, 1)
    advance(1)
    advance(1, 0)
    advance(0)
    assert pack.advance([0]) == {0: None}
    pack.start(0, given[2])
    advance(2, 1)
    advance(1, 2)
    for _ in range(3):
        advance(2)
    for number, records in told.items():
        assert_close(records, list(one_by_one(guessing_base).start(given[number])), 1e-8)


def test_checkpoints_of_either_continue_in_the_other(guessing_base, small_splits, double, tmp_path):
    given, head = trials(5), trials(2)
    pack = packed(guessing_base)
    for slot in (0, 1):
        pack.start(slot, head[slot])
    to_the_end(pack, [0, 1])
    pack.save(1, tmp_path / "packed")
    assert pack.overhead(1).seconds > 0 and pack.overhead(1) == Cost()
    alone = one_by_one(guessing_base)
    list(alone.start(head[1]))
    alone.save(tmp_path / "alone")
    whole = list(one_by_one(guessing_base).start(given[1]))
    assert_close(list(one_by_one(guessing_base).start(given[1], tmp_path / "packed")), whole[2:], 1e-8)
    pack.start(0, given[1], tmp_path / "alone")
    pack.start(2, given[1], tmp_path / "packed")
    pack.start(1, given[3])
    told = to_the_end(pack, [0, 1, 2])
    assert_close(told[0], whole[2:], 1e-8)
    assert_close(told[2], whole[2:], 1e-8)


def test_a_checkpoint_of_another_trial_is_refused(guessing_base, small_splits, tmp_path):
    pack = packed(guessing_base)
    pack.start(0, trials(2)[0])
    pack.advance([0])
    pack.save(0, tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="config"):
        pack.start(1, trials(2)[1], tmp_path / "checkpoint")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("at_once", [1, 3])
def test_evaluations_are_those_of_each_trial_alone(guessing_base, small_splits, monkeypatch, device, at_once):
    monkeypatch.setitem(packed_trainer.EVALUATED_AT_ONCE, device, at_once)
    pack, given = packed(guessing_base, device), trials(2)
    for slot, trial in enumerate(given):
        pack.start(slot, trial)
    to_the_end(pack, list(range(len(given))))
    sampled = pack.evaluate(range(4), "test", 3, seed=4)
    not_greedy = pack.evaluate([2], "validation", 1, greedy=False)[2]
    assert len({(e.greedy, e.mean_at_k) for e in sampled.values()}) > 1
    for slot, trial in enumerate(given):
        alone = one_by_one(guessing_base)
        list(alone.start(trial))
        assert_close(sampled[slot], alone.evaluate("test", 3, seed=4), 1e-6)
        if slot == 2:
            assert_close(not_greedy, alone.evaluate("validation", 1, greedy=False), 1e-6)
            assert math.isnan(not_greedy.greedy)


@pytest.mark.filterwarnings("ignore:.*")
def test_a_diverging_trial_fails_alone_and_with_its_cost(guessing_base, small_splits, double):
    given = trials(6)
    broken = dataclasses.replace(given[1], config={**CONFIGS[1], "lr": 1e300})
    pack = packed(guessing_base)
    for slot, trial in enumerate([given[0], broken, given[2]]):
        pack.start(slot, trial)
    pack.overhead(1)
    told = to_the_end(pack, [0, 1, 2])
    alone = one_by_one(guessing_base).start(broken)
    with pytest.raises(TrainingFailed) as failure:
        list(alone)
    assert str(told[1][-1]) == str(failure.value)
    spent = pack.overhead(1)
    assert spent.seconds > 0 and spent.tokens > 0 and spent.flops > 0
    for slot in (0, 2):
        assert_close(told[slot], list(one_by_one(guessing_base).start(given[slot])), 1e-8)


def test_sizes_are_packed_apart(guessing_base, small_splits, double, tmp_path):
    """Two bases under two names: each trial against the reference of its own size."""
    other = shutil.copytree(guessing_base, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file(tensors | {"lm_head.weight": 0.9 * tensors["lm_head.weight"]}, other / "model.safetensors")
    bases = {"xs": str(guessing_base), "other": str(other)}
    pack = PackedMiniTrainer("last_digit", bases, 50, SETTINGS, device="cpu")
    sizes = ["xs", "other", "other", "xs"]
    given = [dataclasses.replace(t, fidelity=Fidelity(s, 3)) for t, s in zip(trials(), sizes, strict=True)]
    for slot, trial in enumerate(given):
        pack.start(slot, trial)
    told = to_the_end(pack, list(range(4)))
    for slot, trial in enumerate(given):
        assert_close(told[slot], list(MiniTrainer("last_digit", bases, 50, SETTINGS).start(trial)), 1e-8)
    with pytest.raises(TrainingFailed, match="'huge' is none"):
        pack.start(0, dataclasses.replace(given[0], fidelity=Fidelity("huge", 3)))


def test_the_seconds_of_a_step_are_divided_by_the_flops_of_each(guessing_base, small_splits):
    pack = packed(guessing_base)
    for slot, trial in enumerate(trials(4)):
        pack.start(slot, trial)
    for slot in range(4):
        assert pack.overhead(slot).seconds > 0, "loading is each trial's own"
    ticks = iter([0.0, 8.0])
    pack.clock = lambda: next(ticks)
    costs = [record.cost for record in pack.advance(range(4)).values()]
    assert sum(c.seconds for c in costs) == pytest.approx(8.0)
    rates = [c.seconds / c.flops for c in costs]
    assert rates == pytest.approx([rates[0]] * 4) and len({c.flops for c in costs}) > 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(guessing_base):
    with pytest.raises(UsageError, match="device=cuda, and this machine has no GPU"):
        packed(guessing_base, "cuda")


# -- the parts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("greedy", [False, True])
def test_every_trial_draws_the_numbers_that_it_draws_alone(double, device, greedy):
    """Models that end their completions early, late and hardly ever: rows leave each trial at other steps."""
    models, n, prompts = [], [3, 1, 8, 2], tiny.encoded().prompts[:20].view(4, 5, -1)
    for seed, fondness in enumerate((8.0, 4.0, 1.0, 30.0)):
        models.append(tiny.random_model(seed=seed))
        with torch.no_grad():
            models[-1].head[:, EOS] *= fondness
    weights = torch.stack([model.flat.detach() for model in models]).to(device)
    policies = Policies(weights, models[0], models[0].rotation.to(device))
    own, beside = ([torch.Generator().manual_seed(seed) for seed in range(4)] for _ in range(2))
    drawn = sample_packed(policies, prompts.to(device), n, 24, eos=EOS, pad=PAD, generators=None if greedy else beside)
    start, lengths = 0, []
    for model, some, count, generator, other in zip(models, prompts, n, own, beside, strict=True):
        alone = sample(model, some, count, 24, eos=EOS, pad=PAD, generator=None if greedy else generator)
        here, used = slice(start, start + 5 * count), alone.tokens.shape[1]
        assert torch.equal(drawn.tokens[here, :used], alone.tokens) and (drawn.tokens[here, used:] == PAD).all()
        assert (drawn.mask[here, :used] == alone.mask.numpy()).all() and not drawn.mask[here, used:].any()
        torch.testing.assert_close(drawn.logp[here, :used].cpu(), alone.logp, atol=1e-10, rtol=1e-10)
        assert torch.equal(generator.get_state(), other.get_state()), "no number more, none less"
        start, lengths = start + 5 * count, [*lengths, used]
    assert greedy or len(set(lengths)) > 1, "trials end at different steps"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", [1, 2, 12])
def test_logits_and_gradients_of_a_pass_are_each_models_own(double, device, length):
    """Three models, one to four rollouts a prompt, completions of all lengths; and one model that reads them all."""
    models, n, B = [tiny.random_model(seed=seed) for seed in range(3)], [2, 4, 1], 3
    given = [tiny.ragged(B, count, length, seed=seed) for seed, count in enumerate(n)]
    prompts, completions, mask = (torch.cat(parts) for parts in zip(*given, strict=True))
    prompt_of = np.repeat(np.arange(3 * B), np.repeat(n, B))
    rows = Rows(
        prompts.numpy(), completions.numpy(), mask.numpy(), prompt_of, np.repeat(np.arange(3), B), 3,
        torch.device(device),
    )  # fmt: skip
    weights = torch.stack([model.flat.detach() for model in models]).to(device).requires_grad_()
    rotation = models[0].rotation.to(device)
    found = Policies(weights, models[0], rotation).completion_logits(rows)
    found.square().sum().backward()
    with torch.no_grad():
        read = Policies(weights[1:2], models[1], rotation).completion_logits(rows)
    start = 0
    for model, gradient, own in zip(models, weights.grad, given, strict=True):
        packing = Packing(*own)
        expected, here = model.completion_logits(packing), slice(start, start + len(packing.targets))
        expected.square().sum().backward()
        torch.testing.assert_close(found[here].cpu(), expected, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(gradient.cpu(), model.flat.grad, atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(read[here].cpu(), models[1].completion_logits(packing), atol=1e-9, rtol=1e-9)
        assert torch.equal(rows.targets[here].cpu(), packing.targets)
        start = here.stop


def test_the_loss_is_grpos_trial_by_trial():
    generator = torch.Generator().manual_seed(0)
    counts, clips, kls = [7, 1, 12], [0.1, 0.2, 0.3], [0.0, 0.3, 0.01]
    trial = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    logp, old, ref = (-torch.rand(20, generator=generator, dtype=torch.float64) for _ in range(3))
    advantage = torch.randn(20, generator=generator, dtype=torch.float64)
    grid = Grid(trial.numpy(), 3, torch.device("cpu"))
    limits, weights = (torch.tensor(values, dtype=torch.float64)[trial] for values in (clips, kls))
    found = packed_loss(logp, old, ref, advantage, limits, weights, grid)
    for t in range(3):
        own = trial == t
        loss, metrics = grpo_loss(logp[own], old[own], ref[own], advantage[own], clips[t], kls[t])
        expected = [loss, metrics["kl"], metrics["clip_fraction"].double()]
        torch.testing.assert_close(torch.stack([values[t] for values in found]), torch.stack(expected))
    assert 0 < found[2].max() <= 1


class Loose:
    """A member of a stack as far as the optimizer knows it."""

    def __init__(self, weights: torch.Tensor):
        self.weights, self.updates = weights.detach().clone(), 0
        self.moments = (torch.zeros_like(weights), torch.zeros_like(weights))


def test_updates_and_clipping_are_torchs_trial_by_trial():
    """Twelve updates at three learning rates and limits, one trial joining after four, against AdamW of torch."""
    generator, betas, decay = torch.Generator().manual_seed(0), (0.9, 0.999), 0.01
    rates, limits = [1e-3, 1e-1, 1.0], [0.5, 2.0, 100.0]
    start = torch.randn(3, 40, generator=generator, dtype=torch.float64)
    members = [Loose(row) for row in start]
    single = [torch.nn.Parameter(row.clone()) for row in start]
    theirs = [torch.optim.AdamW([p], lr=r, betas=betas, weight_decay=decay) for p, r in zip(single, rates, strict=True)]
    for step in range(12):
        active = [0, 1, 2] if step >= 4 else [0, 2]
        if step in (0, 4):
            stack = Stack([members[i] for i in active])
        assert stack.holds([members[i] for i in active])
        gradient = torch.randn(len(active), 40, generator=generator, dtype=torch.float64) * 10 ** (step % 3 - 1)
        for i, own in zip(active, gradient, strict=True):
            single[i].grad = own.clone()
        norms = clip(gradient, torch.tensor([limits[i] for i in active], dtype=torch.float64))
        for i, norm in zip(active, norms, strict=True):
            assert float(norm) == pytest.approx(float(torch.nn.utils.clip_grad_norm_([single[i]], limits[i])))
            theirs[i].step()
        stack.update(gradient, torch.tensor([rates[i] for i in active], dtype=torch.float64), betas, decay)
    for member, parameter in zip(members, single, strict=True):
        torch.testing.assert_close(member.weights, parameter.detach(), atol=1e-12, rtol=1e-10)
    Stack(members[:2])
    assert not stack.holds(members), "one of them was taken out"
