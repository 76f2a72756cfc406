"""The miniature model family and its base models: made once, cached by a hash of everything that made them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import queue
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import jfhpo.tasks
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import ModelSize
from jfhpo.tasks.instructions.generated import TEXT_TASKS
from jfhpo.tasks.text_task import Corruption, TextTask
from jfhpo.trainers.mini import hf
from jfhpo.trainers.mini.model import ModelShape, Transformer
from jfhpo.trainers.mini.pretrain import Material, NoTransition, PretrainSettings, Progress, make_base
from jfhpo.trainers.mini.vocabulary import Vocabulary
from jfhpo.trainers.sources import source_digest

SPLIT_SIZES = {"train": 4096, "validation": 512, "test": 512}


@dataclass(frozen=True)
class MiniSize:
    """One size of the family: its shape, how its base is made, and what a step costs beside the others."""

    width: int
    layers: int
    heads: int
    ff: int
    pretrain: PretrainSettings
    relative_cost: float
    """CPU time of a completion token in a GRPO step (16 prompts, n = 8, four updates) of a policy that has begun to
    learn, relative to xs: ``benchmarks/family_costs.py``."""

    def shape(self, vocabulary: int) -> ModelShape:
        return ModelShape(self.width, self.layers, self.heads, self.ff, vocabulary)


FAMILY: dict[str, MiniSize] = {
    "xs": MiniSize(32, 2, 2, 80, PretrainSettings(lr=1e-2), 1.0),
    "p": MiniSize(48, 2, 4, 128, PretrainSettings(lr=8e-3), 1.4),
    "s": MiniSize(64, 2, 4, 176, PretrainSettings(lr=6e-3), 1.7),
    "m3": MiniSize(96, 3, 4, 256, PretrainSettings(lr=4e-3), 4.1),
    "l": MiniSize(128, 4, 4, 336, PretrainSettings(lr=3e-3), 7.6),
}


def model_sizes(task: str) -> tuple[ModelSize, ...]:
    """The family as a `Problem` knows it, ordered by parameters."""
    vocabulary = len(Vocabulary(TEXT_TASKS[task]))
    return tuple(
        ModelSize(name, _parameters(size.shape(vocabulary)), size.width, size.relative_cost)
        for name, size in FAMILY.items()
    )


def _parameters(shape: ModelShape) -> int:
    d, ff = shape.width, shape.ff
    layer = 2 * d + 4 * d * d + 3 * d + 3 * d * ff
    return 2 * shape.vocabulary * d + d + shape.layers * layer


BASE_SOURCES = ("kernels", "model", "sampling", "vocabulary", "pretrain", "hf")


def code_version() -> str:
    """Hash of the sources that decide what a trial turns out to be, and of torch's version."""
    content = torch.__version__ + source_digest("jfhpo.trainers.mini.trainer")
    return hashlib.sha256(content.encode()).hexdigest()[:12]


@functools.cache
def base_version(task: str) -> str:
    """Hash of the sources that decide what a task's base turns out to be, and of torch's version."""
    trainer, tasks, own = Path(__file__).parent, Path(jfhpo.tasks.__file__).parent, TEXT_TASKS[task]
    classes = (TextTask, type(own), *map(type, getattr(own, "parts", ())))  # instructions are made of other tasks
    names = (c.__module__.removeprefix(f"{jfhpo.tasks.__name__}.").replace(".", "/") for c in classes)
    return _version((trainer / f"{n}.py" for n in BASE_SOURCES), (tasks / f"{n}.py" for n in names))


def _version(*sources: Iterable[Path]) -> str:
    digest = hashlib.sha256(torch.__version__.encode())
    for source in itertools.chain(*map(sorted, sources)):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """``$JFHPO_CACHE``, or ``.jfhpo_cache`` in the current folder."""
    return Path(os.environ.get("JFHPO_CACHE", ".jfhpo_cache"))


@dataclass(frozen=True)
class BaseSpec:
    """Everything that makes a base: equal specs are one base."""

    task: str
    size: str
    seed: int = 0
    pretrain: tuple[tuple[str, Any], ...] = ()
    """Settings of `PretrainSettings` that differ from the family's and the task's own."""

    @classmethod
    def of(cls, task: str, size: str, pretrain: Mapping[str, Any] | None = None, seed: int = 0) -> BaseSpec:
        if task not in TEXT_TASKS:
            raise unknown("task", task, TEXT_TASKS)
        if size not in FAMILY:
            raise unknown("model size", size, FAMILY)
        """`pretrain` may hold its ``pollution`` as a mapping. Raises `UsageError` for a name that is not known."""
        settings = dict(pretrain or {})
        _check_known("pre-training setting", settings, PretrainSettings)
        if isinstance(settings.get("pollution"), Mapping):
            _check_known("pollution setting", settings["pollution"], Corruption)
            settings["pollution"] = Corruption(**settings["pollution"])
        return cls(task, size, seed, tuple(sorted(settings.items())))

    @property
    def settings(self) -> PretrainSettings:
        own = {"pollution": TEXT_TASKS[self.task].pollution}
        return dataclasses.replace(FAMILY[self.size].pretrain, **own | dict(self.pretrain))

    @property
    def folder(self) -> Path:
        """Where this base lies, whether or not it was made yet: its name is a hash of what makes it."""
        shape = dataclasses.asdict(FAMILY[self.size].shape(0))
        made_of = [
            self.task,
            self.seed,
            shape,
            dataclasses.asdict(self.settings),
            SPLIT_SIZES,
            base_version(self.task),
        ]
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
        return (cache_folder() / "bases" / self.task / f"{self.size}-{digest}").resolve()

    @property
    def made(self) -> bool:
        return (self.folder / "base.json").is_file()


def _check_known(what: str, given: Iterable[str], settings: type) -> None:
    known = [f.name for f in dataclasses.fields(settings)]
    for name in given:
        if name not in known:
            raise unknown(what, name, known)


def load_base(folder: Path, vocabulary: Vocabulary) -> Transformer:
    """The base model of a Hugging Face folder as the fast model."""
    if not (folder / "model.safetensors").is_file():
        raise UsageError(f"no base model in {folder}; make it with `jfhpo family build`")
    config = json.loads((folder / "config.json").read_text())
    shape = ModelShape(
        config["hidden_size"],
        config["num_hidden_layers"],
        config["num_attention_heads"],
        config["intermediate_size"],
        config["vocab_size"],
    )
    if shape.vocabulary != len(vocabulary):
        raise UsageError(f"base {folder} has {shape.vocabulary} tokens, task {vocabulary.task.name} {len(vocabulary)}")
    model = Transformer(shape)
    hf.load_hf_state(model, load_file(folder / "model.safetensors"))
    return model


def build_base(spec: BaseSpec, watch: Callable[[Progress], None] = lambda progress: None) -> Path:
    """Make one base and publish its folder by a rename, so that a half-made one is never seen."""
    task = TEXT_TASKS[spec.task]
    vocabulary = Vocabulary(task)
    splits = task.splits(SPLIT_SIZES)
    held_out = frozenset(example.prompt for split in splits.values() for example in split)
    material = Material(task, vocabulary, vocabulary.batch(splits["validation"]), held_out)
    shape = FAMILY[spec.size].shape(len(vocabulary))
    base = make_base(material, shape, spec.settings, spec.seed, watch)
    model = Transformer(shape)
    model.load(base.weights)
    folder = spec.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    card = {f.name: getattr(base, f.name) for f in dataclasses.fields(base) if f.name != "weights"}
    made_of = {"task": spec.task, "size": spec.size, "seed": spec.seed, "pretrain": dataclasses.asdict(spec.settings)}
    aside = Path(tempfile.mkdtemp(prefix=f".{spec.size}-", dir=folder.parent))
    try:
        aside.chmod(0o755)  # a temporary folder is private; a base is for every engine
        hf.save_pretrained(model, vocabulary, aside)
        (aside / "base.json").write_text(json.dumps(made_of | card, indent=2) + "\n")
        with contextlib.suppress(OSError):  # another process was first with the same content
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _build_in_process(messages: Any, spec: BaseSpec) -> None:
    torch.set_num_threads(1)
    try:
        build_base(spec, lambda progress: messages.put((spec, progress)))
        messages.put((spec, MADE))
    except NoTransition as error:
        messages.put((spec, error))


MADE = "made"


def build_bases(specs: Iterable[BaseSpec], watch: Callable[[BaseSpec, Progress | str], None], at_once: int = 2) -> None:
    """Make the bases that are missing, `at_once` single-threaded processes at a time, the largest first.

    `watch(spec, progress)` sees every accuracy check, and `MADE` when a base is there. Raises `NoTransition`.
    """
    waiting = sorted((s for s in dict.fromkeys(specs) if not s.made), key=lambda s: -FAMILY[s.size].relative_cost)
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    running: dict[BaseSpec, Any] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                spec = waiting.pop(0)
                running[spec] = context.Process(target=_build_in_process, args=(messages, spec), daemon=True)
                running[spec].start()
            try:
                spec, message = messages.get(timeout=1.0)
            except queue.Empty:
                dead = [s for s, process in running.items() if not process.is_alive()]
                if dead and messages.empty():
                    code = running[dead[0]].exitcode
                    raise RuntimeError(f"building base {dead[0].size} died with exit code {code}") from None
                continue
            if isinstance(message, NoTransition):
                raise message
            if message == MADE:
                running.pop(spec).join()
            watch(spec, message)
    finally:
        for process in running.values():
            process.terminate()
