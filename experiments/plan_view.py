"""A dry run as text: tables, commands, estimates with their formulas, what was checked and what was not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import fields

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.plan import BEGUN, FINISHED, MISSING, Need, Planned, command_of, is_recipe, needs, shell
from jfhpo.trainers.estimate import Assumptions, Memory, Term

WIDTH = 120
"""Of a dry run that is piped."""
QUOTED = "published (arXiv 2606.03073; whether per GPU or in all, and over which tokens, is not said):"
FORMULAS = """\
memory of a GPU: the larger of training, (4 + 8 + 4)·N/G + reference + gathered bf16 + activations + logits, and
  sampling, vLLM's share + 12·N/G + reference; CUDA's allowance on top of both. t tokens at once, G GPUs.
a step: T = prompts · n · (prompt + response tokens); FLOPs: sampling 2·N·T, old log-probabilities 2·N·T, reference
  2·N·T, training 6·N·T a pass (8·N·T where activations are recomputed); seconds = FLOPs / (G · peak · utilisation).
  Validation, checkpoints and start-up come on top. docs/paper_scale.md derives every term."""


def show_plan(
    title: str, plans: Sequence[Planned], console: Console, quoted: Sequence[str] = (), notes: Sequence[str] = ()
) -> None:
    """Everything that is known of these studies before they run.

    Args:
        quoted: what a paper published of speed, a line each, to stand beside the estimates.
        notes: more lines for the end.
    """
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)  # a file has no edge to fold tables at
    assumed = Assumptions()
    found = needs(plans, assumed)
    console.out(f"dry run of {title}: {_count(plans)}. Nothing is written, nothing is launched.", highlight=False)
    console.print(_studies(plans))
    for line in _commands(plans):
        console.out(line, highlight=False)
    if found:
        console.print(_memory(found, assumed))
        console.print(_time(found))
        for line in [*([QUOTED] if quoted else []), *quoted]:
            console.out(line, highlight=False)
        console.out(FORMULAS, highlight=False)
        values = ", ".join(f"{f.name}={getattr(assumed, f.name):g}" for f in fields(assumed))
        console.out(f"assumed, not measured: {values}", highlight=False)
    for line in [*_bounds(plans, found), *_reused(plans), *_checked(plans), *notes]:
        console.out(line, highlight=False)


def _count(plans: Sequence[Planned]) -> str:
    methods, problems = (len({f(p) for p in plans}) for f in (lambda p: p.label, lambda p: p.config.problem.name))
    seeds = len({p.config.seed for p in plans})
    kinds = ((methods, "method"), (problems, "problem"), (seeds, "seed"))
    said = " × ".join(f"{n} {what}{'s' if n > 1 else ''}" for n, what in kinds)
    return f"1 study ({plans[0].label})" if len(plans) == 1 else f"{len(plans)} studies ({said})"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="left" if at < 2 else "right", no_wrap=at < 2)
    return table


def _studies(plans: Sequence[Planned]) -> Table:
    """One row per problem: what it is, and how many of its studies are there."""
    headings = ("problem", "target ← proxy", "steps", "rungs", "budget", "GPUs", FINISHED, BEGUN, MISSING)
    table = _table("problems", *headings)
    rows: dict[str, list[Planned]] = defaultdict(list)
    for plan in plans:
        rows[plan.config.problem.name].append(plan)
    for name, studies in rows.items():
        one = studies[0]
        problem = one.parts.problem
        states = Counter(plan.state for plan in studies)
        models = problem.target if problem.proxy == problem.target else f"{problem.target} ← {problem.proxy}"
        rungs = ",".join(map(str, problem.rungs))
        counts = [str(states[state]) for state in headings[-3:]]
        table.add_row(name, models, str(problem.max_steps), rungs, _budget(one), str(one.gpus or "–"), *counts)
    return table


def _budget(plan: Planned) -> str:
    amount, unit = plan.config.budget, plan.config.budget_unit
    if unit != "seconds":
        return f"{amount:g} {unit}"
    return f"{amount / 3600:g} h" if amount >= 3600 else f"{amount:g} s"


def _commands(plans: Sequence[Planned]) -> list[str]:
    """Every study's command, and the trial that it launches first; equal trials are printed once."""
    lines = ["", "commands (the first trial of each study; those after it depend on results)"]
    by_launch: dict[tuple[str, ...], list[Planned]] = defaultdict(list)
    for plan in plans:
        trial = plan.launched.words or (str(plan.first.fidelity), str(plan.first.config))
        by_launch[(plan.config.problem.name, *trial)].append(plan)
    for studies in by_launch.values():
        lines.append("")
        lines += [f"{plan.command}{_remark(plan)}" for plan in studies]
        one = studies[0]
        what = "the recipe" if is_recipe(one) else ", ".join(f"{k}={_short(v)}" for k, v in one.first.config.items())
        fidelity = one.first.fidelity
        lines.append(f"# first trial: {what} on {fidelity.model}, {fidelity.steps} steps")
        if one.launched.words:
            lines.append(shell(command_of(one.launched)))
        else:
            lines.append(f"# in the study's own worker, trainer {one.parts.trainer.name}: no other program is started")
    return [*lines, ""]


def _remark(plan: Planned) -> str:
    if plan.state == FINISHED:
        return "   # finished: only shown"
    return f"   # begun: {plan.told} trials ended; it goes on from there" if plan.state == BEGUN else ""


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _memory(found: Sequence[Need], assumed: Assumptions) -> Table:
    """A row per term, a column per model; data sets on which a model needs the same share a column."""
    columns: dict[tuple[str, Memory], Need] = {}
    for need in found:
        columns.setdefault((need.model, need.memory), need)
    table = _table(f"memory of a GPU, estimated, in GB (10⁹ bytes) of {assumed.card_gb:g}", "", "bytes")
    shared = len({need.model for need in columns.values()}) == len(columns)
    for need in columns.values():
        table.add_column(need.model if shared else f"{need.model}, {need.problem}", justify="right")
    for phase in ("training", "sampling"):
        named: dict[str, list[Term | None]] = {}
        for at, need in enumerate(columns.values()):
            for term in getattr(need.memory, phase):
                named.setdefault(term.name, [None] * len(columns))[at] = term
        for name, terms in named.items():
            formula = next(term.formula for term in terms if term)
            table.add_row(f"{phase}: {name}", formula, *(f"{term.gb:.1f}" if term else "–" for term in terms))
        sums = [sum(term.gb for term in getattr(need.memory, phase)) for need in columns.values()]
        if any(sums):
            table.add_row(f"{phase}, in all", "", *(_of_card(gb, assumed) for gb in sums), end_section=True)
    if any(need.memory.sampling for need in columns.values()):
        cache = [f"{need.memory.cache_tokens / 1e3:,.0f}k" for need in columns.values()]
        table.add_row("KV cache, tokens", "a replica's", *cache)
    return table


def _of_card(gb: float, assumed: Assumptions) -> str:
    return f"{gb:.1f}" + (" too much" if gb > assumed.card_gb else "")


def _time(found: Sequence[Need]) -> Table:
    headings = ["problem", "model", "k tokens a step", "PFLOP", "s a step", "tokens/s a GPU", "h a full run", "GPU-h"]
    table = _table("a step and a full run, estimated on GPUs as assumed below", *headings)
    for need in found:
        one = need.step
        cells = [f"{one.tokens / 1e3:,.4g}", f"{(one.sampling_flops + one.other_flops) / 1e15:,.3g}"]
        cells += [f"{one.seconds:,.3g}", f"{one.tokens_per_second:,.3g}"]
        cells += [f"{need.run_hours:.3g}", f"{need.run_hours * max(need.job.gpus, 1):.3g}"]
        table.add_row(need.problem, need.model, *cells)
    return table


def _bounds(plans: Sequence[Planned], found: Sequence[Need]) -> list[str]:
    """What all of it may take at most. A study ends with its budget; a recipe is one full run."""
    left = [plan for plan in plans if plan.state != FINISHED and plan.config.budget_unit == "seconds"]
    if not left:
        return []
    hours = sum(_hours_left(plan) for plan in left)
    gpu_hours = sum(plan.gpus * _hours_left(plan) for plan in left)
    on = f", {gpu_hours:,.6g} GPU-hours" if gpu_hours else ""
    lines = [
        f"bound: {hours:,.4g} h of trainer time{on} for {_of(len(left), 'study', 'studies')}. Each ends with its "
        "budget, its final run on the target included; test evaluations come on top."
    ]
    targets = {need.problem: need for need in found if need.role == "target"}
    recipes = [targets[plan.config.problem.name] for plan in left if plan.label == "recipe" and targets]
    if recipes:
        run = sum(need.run_hours * need.job.gpus for need in recipes)
        its = _of(len(recipes), "study", "studies")
        lines.append(f"  recipe trains once: about {run:,.3g} GPU-hours for its {its}, estimated")
    for plan in {plan.config.problem.name: plan for plan in left}.values():
        need, budget = targets.get(plan.config.problem.name), plan.config.budget / 3600
        if need is not None and need.run_hours > budget / 2:
            full = f"{need.run_hours:.3g} of the {budget:g} h"
            lines.append(
                f"  {need.problem}: a full run of {need.model} is estimated at {full}: little is left to search"
            )
    return lines


def _hours_left(plan: Planned) -> float:
    return max(0.0, plan.config.budget - plan.spent) / 3600


def _checked(plans: Sequence[Planned]) -> list[str]:
    launched = {plan.launched.words: plan.launched.checks for plan in plans if plan.launched.words}
    count = _of(len(launched), "command", "commands")
    return [f"checked: {count}; {said}" for said in dict.fromkeys(launched.values())]


def _of(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _reused(plans: Sequence[Planned]) -> list[str]:
    states = Counter(plan.state for plan in plans)
    count, size = sum(p.checkpoints for p in plans), sum(p.checkpoint_bytes for p in plans)
    kept = f"; {count} checkpoints ({size / 1e9:.3g} GB) to go on from" if count else ""
    out = plans[0].config.out
    if states[FINISHED] + states[BEGUN] == 0:
        return [f"reused: nothing, {out} holds none of these studies{kept}"]
    return [f"reused from {out}: {states[FINISHED]} finished, {states[BEGUN]} begun and gone on with{kept}"]
