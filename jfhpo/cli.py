"""``jfhpo``: the same things as the ``python -m`` modules, under one name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jfhpo.core.errors import UsageError
from jfhpo.core.words import exit_code

EXAMPLES = """examples:
  jfhpo run method=jfhpo seed=0 budget=120          one study (all settings: jfhpo run --help)
  jfhpo reproduce smoke                             what ./run_all.sh smoke does
  jfhpo methods                                     what method= may be, and each one's settings
  jfhpo methods hyperband                           one of them in full
  jfhpo family build p l                            make base models of the miniature family
  jfhpo family ls
  jfhpo checkpoints ls results/.checkpoints         also: verify, gc
  jfhpo data gsm8k --source folder --to verl --out data/gsm8k
  jfhpo tune --config examples/tune_trl/tune.yaml --dry-run
  jfhpo export --study results/main/last_digit/jfhpo/seed=0 --to verl --width 3584
"""
DATA_EXAMPLES = """examples:
  jfhpo data gsm8k                       read it from the Hugging Face hub, check it, say what is in it
  jfhpo data gsm8k --source ../gsm8k --to verl --out data/gsm8k            a folder: train.jsonl, test.jsonl
  jfhpo data math --source train.parquet --test test.parquet --to trl --out data/math
  jfhpo data mmlu --validation carved --share 0.05 --seed 1                not its own validation split
  jfhpo data sorting --to verl --out data/sorting                          a generated task
"""


def run(words: Sequence[str]) -> int:
    from experiments.run import main

    return main(words)


def reproduce(words: Sequence[str]) -> int:
    """Run what is missing of an experiment, then write its tables, figures and report: ``./run_all.sh``."""
    from experiments.launch import main

    def present(out: Path, experiment: str, console: Console) -> None:
        from paper_figures.write import write_all  # matplotlib is not needed before

        write_all(out, experiment, console)

    return main(words, present, published_speeds)


def published_speeds() -> list[str]:
    """What the paper says of speed, to stand beside the estimates of a dry run."""
    from paper_figures.published import quotable

    speeds: dict[str, list[str]] = {}
    for row in quotable("efficiency").itertuples():
        said = f"{row.method} {row.tokens_per_second:,g} tokens/s, {row.hours_per_trial:g} h a trial"
        speeds.setdefault(row.model, []).append(said)
    return [f"  {model}: {'; '.join(said)}" for model, said in speeds.items()]


def methods(name: str | None) -> int:
    from jfhpo.study.methods import about, method, methods, settings_of

    console = Console()
    if name is None:
        table = Table("method", "what it is", "settings")
        for known, cls in sorted(methods().items()):
            first = about(cls).split("\n\n")[0].replace("\n", " ")
            table.add_row(known, first, "\n".join(f"{s.name}={s.default}" for s in settings_of(cls)))
        console.print(table)
        return 0
    console.print(about(method(name)), "", markup=False, highlight=False, sep="\n")
    table = Table("setting", "default", "meaning")
    for setting in settings_of(method(name)):
        table.add_row(f"method.{setting.name}", str(setting.default), setting.meaning)
    console.print(table if table.row_count else "There is nothing to set.")
    return 0


def family(action: str, sizes: Sequence[str], task: str) -> int:
    from experiments.progress import BaseProgress
    from jfhpo.trainers.mini.family import FAMILY, BaseSpec, build_bases, model_sizes

    console = Console()
    specs = [BaseSpec.of(task, size) for size in (sizes or FAMILY)]
    if action == "build":
        if missing := [spec for spec in specs if not spec.made]:
            with BaseProgress(console, missing) as progress:
                build_bases(missing, progress)
        action = "ls"
    parameters = {size.name: size.parameters for size in model_sizes(task)}
    table = Table("size", "parameters", "made", "folder (Hugging Face format)")
    for spec in specs:
        table.add_row(spec.size, f"{parameters[spec.size]:,}", "yes" if spec.made else "no", str(spec.folder))
    console.print(table)
    return 0


def checkpoints(action: str, root: Path, quota: int | None) -> int:
    from jfhpo.study.checkpoints import CheckpointRegistry

    if not root.is_dir():
        raise UsageError(f"no checkpoint folder {root}; it lies under a results folder as .checkpoints")
    with CheckpointRegistry(root) as registry:
        if action == "gc":
            removed = registry.gc(quota)
            for file in removed:
                print(f"removed {file.path} ({file.bytes / 1e6:.1f} MB): {file.reason}")
            print(f"{len(removed)} removed, {sum(file.bytes for file in removed) / 1e6:.1f} MB")
            return 0
        if action == "verify":
            rows = [(checkpoint, problem or "good") for checkpoint, problem in registry.verify()]
        else:
            rows = [(checkpoint, checkpoint.bad or "") for checkpoint in registry.ls()]
    table = Table("study", "configuration", "model", "step", "MB", "note", title=f"{len(rows)} checkpoints")
    for checkpoint, note in rows:
        key = checkpoint.key
        size = f"{checkpoint.bytes / 1e6:.1f}"
        table.add_row(key.scope, key.config_key, key.model, str(checkpoint.step), size, note)
    Console().print(table)
    return 1 if action == "verify" and any(note != "good" for _, note in rows) else 0


def data(chosen: argparse.Namespace) -> int:
    """Read and check a data set; write it where `chosen` says so; a table of what is in it."""
    from jfhpo.tasks.datasets import load, write_folder

    if (chosen.to is None) != (chosen.out is None):
        raise UsageError("--to (verl or trl) and --out (a folder) belong together: give both, or neither to only check")
    prompts = load(
        chosen.name,
        chosen.source,
        config=chosen.config,
        test=chosen.test,
        validation=chosen.validation,
        share=chosen.share,
        seed=chosen.seed,
    )
    table = Table("split", "rows", "longest prompt", "repeated", "held out", title=prompts.name)
    for split, rows in prompts.splits.items():
        overlap = prompts.overlaps.get(split)
        found = (str(overlap.repeated), str(overlap.held_out)) if overlap else ("–", "–")
        table.add_row(split, f"{len(rows):,}", f"{max(len(row.prompt) for row in rows):,} characters", *found)
    Console().print(table)
    if prompts.overlaps:
        print(
            "repeated: came again within the split (dropped; kept in test); held out: also in a later split (dropped)"
        )
    if chosen.to:
        write_folder(prompts, chosen.out, chosen.to)
        print(f"written for {chosen.to}: {chosen.out}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] in (["run"], ["reproduce"]):
        return {"run": run, "reproduce": reproduce}[arguments[0]](arguments[1:])
    parser = argparse.ArgumentParser(
        "jfhpo", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="run or continue one study")
    verbs.add_parser("reproduce", help="run what is missing of an experiment, then write its tables (./run_all.sh)")
    of_methods = verbs.add_parser("methods", help="list the methods and their settings")
    of_methods.add_argument("name", nargs="?", help="one of them: all that its file says, and what each setting means")
    of_family = verbs.add_parser("family", help="the miniature model family")
    of_family.add_argument("action", choices=("build", "ls"))
    of_family.add_argument("sizes", nargs="*", help="sizes; all of them by default")
    of_family.add_argument("--task", default="last_digit")
    of_checkpoints = verbs.add_parser("checkpoints", help="the checkpoint registry of a results folder")
    of_checkpoints.add_argument("action", choices=("ls", "verify", "gc"))
    of_checkpoints.add_argument("root", type=Path)
    of_checkpoints.add_argument("--quota", type=int, help="bytes to keep at most (gc)")
    of_data = verbs.add_parser(
        "data",
        help="GSM8K, MATH, OpenBookQA, MMLU or a generated task, as verl or TRL reads it",
        epilog=DATA_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    of_data.add_argument("name", help="gsm8k, math, openbookqa, mmlu or a generated task")
    of_data.add_argument("--source", help="name on the hub, folder, or file of training rows; by default the hub")
    of_data.add_argument("--config", help="the hub's configuration; by default the usual one")
    of_data.add_argument("--test", help="file of test rows, where --source is a file")
    of_data.add_argument("--validation", help="own or carved (from train); by default its own where it has one")
    of_data.add_argument("--share", type=float, help="of the training questions, to carve; by default 0.1")
    of_data.add_argument("--seed", type=int, help="of the carving, or of a generated task")
    of_data.add_argument("--to", help="verl or trl; by default nothing is written")
    of_data.add_argument("--out", type=Path, help="folder for train.parquet, validation.parquet and test.parquet")
    of_tune = verbs.add_parser("tune", help="search your own TRL or verl job, described in one file (docs/tune.md)")
    of_tune.add_argument("--config", type=Path, required=True, help="the file, as in examples/tune_trl/tune.yaml")
    of_tune.add_argument("--dry-run", action="store_true", help="only say what it would launch and need")
    of_export = verbs.add_parser("export", help="what a study recommends, as verl's overrides or TRL's arguments")
    of_export.add_argument("--study", type=Path, required=True, help="<out>/<experiment>/<problem>/<method>/seed=<n>")
    of_export.add_argument("--to", required=True, help="verl or trl")
    of_export.add_argument("--width", type=int, help="hidden size of your model: the learning rate is carried there")
    chosen = parser.parse_args(arguments)
    return exit_code(lambda: _do(chosen))


def _do(chosen: argparse.Namespace) -> int:
    if chosen.verb == "methods":
        return methods(chosen.name)
    if chosen.verb == "family":
        return family(chosen.action, chosen.sizes, chosen.task)
    if chosen.verb == "data":
        return data(chosen)
    if chosen.verb == "tune":
        from experiments.tune.main import tune

        return tune(chosen.config, chosen.dry_run, Console())
    if chosen.verb == "export":
        from experiments.export import export

        print(export(chosen.study, chosen.to, chosen.width))
        return 0
    return checkpoints(chosen.action, chosen.root, chosen.quota)


if __name__ == "__main__":
    sys.exit(main())
