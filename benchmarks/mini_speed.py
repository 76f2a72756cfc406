"""Seconds of CPU per GRPO step: the miniature trainer against TRL's GRPOTrainer on the same weights and work.

    python benchmarks/mini_speed.py [sizes ...] [rounds=12] [json=path]        (default sizes: xs p l)

A step is 16 prompts × 8 rollouts, a reference model, and two updates, on one thread. The two take turns step by step
in one process, since this kind of machine is never quiet: the ratio is taken pair by pair. Both start from the same
base and learn at a rate that changes nothing, so completions stay equally long; the column per 1,000 completion
tokens removes what chance leaves. TRL is set up in its own favour where the options allow it: no gradient
checkpointing, no logging to a tracker, no checkpoints. It needs the `trl` extra.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import json
import sys
import tempfile
import time
import timeit
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Column, Table
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

from jfhpo.core.errors import unknown
from jfhpo.core.trial import Cost, Fidelity, Trial
from jfhpo.tasks import TASKS
from jfhpo.trainers.mini import grpo, hf
from jfhpo.trainers.mini.family import FAMILY, SPLIT_SIZES, BaseSpec, build_base
from jfhpo.trainers.mini.trainer import MiniTrainer
from jfhpo.trainers.mini.vocabulary import EOS, Vocabulary

TASK = TASKS["last_digit"]
PROMPTS, ROLLOUTS, UPDATES, WARM_UP = 16, 8, 2, 3
LR, CLIP, KL = 1e-6, 0.2, 1e-3


class Round(NamedTuple):
    """One step of each, and the machine's speed at that moment."""

    trl: float
    trl_tokens: int
    mini: Cost
    parts: dict[str, float]
    peak: float


class MiniSteps:
    """Steps of the miniature trainer, one at a time, with the time inside its parts."""

    def __init__(self, size: str, base: Path, steps: int):
        trainer = MiniTrainer(TASK.name, {size: str(base)}, max_steps=steps, settings={"prompts_per_step": PROMPTS})
        config = {"lr": LR, "lr_scheduler": "constant", "clip_ratio": CLIP, "grad_clip": 1.0, "kl_loss_coef": KL}
        self.records = trainer.start(Trial(0, config | {"rollout_n": ROLLOUTS}, Fidelity(size, steps), seed=0))
        self.parts: Counter[str] = Counter()
        self._time(grpo, "sample", "sampling")
        self._time(trainer.reference, "completion_logits", "reference")

    def _time(self, owner: Any, name: str, part: str) -> None:
        function = getattr(owner, name)

        def timed(*args, **kwargs):
            began = time.process_time()
            result = function(*args, **kwargs)
            self.parts[part] += time.process_time() - began
            return result

        setattr(owner, name, timed)

    def step(self) -> tuple[Cost, dict[str, float]]:
        self.parts.clear()
        cost = next(self.records).cost
        self.parts["updates"] = cost.seconds - self.parts.total()
        return cost, dict(self.parts)


def sgemm_peak() -> float:
    """Floating-point operations per second of a 1024³ product on this thread, now: the best of three."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(timeit.repeat(lambda: a @ a, timer=time.process_time, number=1, repeat=3))


class TakeTurns(TrainerCallback):
    """After each of TRL's steps (two updates), one of ours."""

    def __init__(self, mini: MiniSteps, trl_tokens: Callable[[], int]):
        self.mini, self.trl_tokens, self.rounds = mini, trl_tokens, []
        self.began = time.process_time()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step % UPDATES:
            return
        trl = time.process_time() - self.began
        self.rounds.append(Round(trl, self.trl_tokens(), *self.mini.step(), sgemm_peak()))
        self.began = time.process_time()


def measure(size: str, base: Path, rounds: int) -> list[Round]:
    examples, lengths = TASK.splits(SPLIT_SIZES)["train"], []

    def exact_match(completions, completion_ids, answer, **kwargs) -> list[float]:
        lengths.append(sum(map(len, completion_ids)))
        return [TASK.check(t, a, ids[-1] == EOS) for t, a, ids in zip(completions, answer, completion_ids, strict=True)]

    steps = rounds + WARM_UP
    original = grpo.sample
    turns = TakeTurns(MiniSteps(size, base, steps + 1), lambda: lengths[-1])  # + 1: the last step would validate
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            output_dir=folder, max_steps=UPDATES * steps, learning_rate=LR, lr_scheduler_type="constant",
            num_generations=ROLLOUTS, per_device_train_batch_size=PROMPTS * ROLLOUTS // UPDATES,
            steps_per_generation=UPDATES, gradient_accumulation_steps=1, num_iterations=1,
            max_completion_length=TASK.completion_length, temperature=1.0, loss_type="bnpo", epsilon=CLIP, beta=KL,
            use_bias_correction_kl=False, weight_decay=0.01, max_grad_norm=1.0, gradient_checkpointing=False,
            bf16=False, use_cpu=True, model_init_kwargs={"dtype": "float32"}, report_to="none", save_strategy="no",
            disable_tqdm=True,
        )  # fmt: skip
        data, tokenizer = Dataset.from_list(list(map(vars, examples))), hf.hf_tokenizer(Vocabulary(TASK))
        trainer = GRPOTrainer(str(base), exact_match, args, data, processing_class=tokenizer, callbacks=[turns])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    grpo.sample = original
    return turns.rounds[WARM_UP:]


def base_of(size: str, console: Console) -> Path:
    spec = BaseSpec.of(TASK.name, size)
    if not spec.made:
        console.print(
            f"{size}: no skilled base in the cache; an unskilled one, whose completions are longer, stands in"
        )
        spec = BaseSpec.of(TASK.name, size, {"max_steps": 60, "bar": 0.0})
    return spec.folder if spec.made else build_base(spec)


def summary(rounds: list[Round]) -> dict[str, float]:
    trl, mini = ([r.trl for r in rounds], [r.mini.seconds for r in rounds])
    trl_tokens, mini_tokens = ([r.trl_tokens for r in rounds], [r.mini.tokens for r in rounds])
    ratios = [t / m for t, m in zip(trl, mini, strict=True)]
    numbers = {"trl": trl, "mini": mini, "ratio": ratios, "trl_tokens": trl_tokens, "mini_tokens": mini_tokens}
    numbers |= {
        "trl_per_1000_tokens": [1000 * t / n for t, n in zip(trl, trl_tokens, strict=True)],
        "mini_per_1000_tokens": [1000 * m / n for m, n in zip(mini, mini_tokens, strict=True)],
        "sgemm_gflops": [r.peak / 1e9 for r in rounds],
        "share_of_peak": [r.mini.flops / r.mini.seconds / r.peak for r in rounds],
    }
    numbers |= {part: [r.parts[part] / r.mini.seconds for r in rounds] for part in rounds[0].parts}
    result = {name: median(values) for name, values in numbers.items()}
    result["ratio_per_token"] = result["trl_per_1000_tokens"] / result["mini_per_1000_tokens"]
    return result | {"ratio_min": min(ratios), "ratio_max": max(ratios)}


ROWS = {
    "s a step: TRL, mini": "{trl:.3f}, {mini:.3f}",
    "TRL / mini": "[bold]{ratio:.2f}[/]",
    "  least, most of pairs": "{ratio_min:.2f}, {ratio_max:.2f}",
    "tokens a step: TRL, mini": "{trl_tokens:.0f}, {mini_tokens:.0f}",
    "s per 1,000 tokens": "{trl_per_1000_tokens:.3f}, {mini_per_1000_tokens:.3f}",
    "TRL / mini per token": "{ratio_per_token:.2f}",
    "sampling, ref., updates": "{sampling:.0%}, {reference:.0%}, {updates:.0%}",
    "of sgemm peak, GFLOP/s": "{share_of_peak:.1%} of {sgemm_gflops:.0f}",
}


def main(words: list[str]) -> None:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    sizes = [word for word in words if "=" not in word] or ["xs", "p", "l"]
    for name, known in [(s, FAMILY) for s in sizes] + [(o, ("rounds", "json")) for o in options]:
        if name not in known:
            sys.exit(f"error: {unknown('argument', name, known)}")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    console, results = Console(), {}
    for size in sizes:
        results[size] = summary(measure(size, base_of(size, console), int(options.get("rounds", 12))))
    title = f"CPU seconds per GRPO step, {PROMPTS} × {ROLLOUTS} rollouts, {UPDATES} updates, one thread"
    table = Table("", *(Column(size, justify="right") for size in sizes), title=title)
    for label, form in ROWS.items():
        table.add_row(label, *(form.format(**results[size]) for size in sizes))
    console.print(table)
    if "json" in options:
        Path(options["json"]).write_text(json.dumps(results | {"load": os.getloadavg()}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
