"""Which tables there are and what their captions say: accuracy and efficiency, each beside the paper's numbers.

The numbers are `experiments.main.analysis`'s; here they become words.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from experiments.gather import Records
from experiments.main import analysis
from paper_figures import published
from paper_figures.formats import NOT_APPLICABLE, NOT_KNOWN, Column, Table
from paper_figures.published import PAPER_NAME

NOT_OURS = "the paper's 7B-14B models on other tasks: not comparable in level, only in order"
UNIT_WORDS = {"seconds": "trainer seconds", "tokens": "completion tokens", "flops": "FLOPs"}
"""Budget units as a caption says them."""


def number(value: float | None, digits: int = 1, unknown: str = NOT_KNOWN) -> str:
    """A number for a cell: `digits` decimals below 1000, thousands separated above."""
    if value is None or math.isnan(value):
        return unknown
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def with_interval(value: float, half: float) -> str:
    """A share in percent with its interval: as ±, or as [low, high] cut at 0 and 100 where it would leave them."""
    if math.isnan(value):
        return NOT_KNOWN
    low, high = 100 * (value - half), 100 * (value + half)
    if low >= 0 and high <= 100:
        return f"{100 * value:.1f} ± {100 * half:.1f}"
    return f"{100 * value:.1f} [{round(max(low, 0), 1):g}, {round(min(high, 100), 1):g}]"


def row_name(records: Records) -> Callable[[str, str], str]:
    """How a row is named: the method, and the problem before it where the experiment has several."""
    several = len(records.problems()) > 1
    return lambda problem, method: f"{problem}: {method}" if several else method


def error_rows(records: Records) -> tuple[tuple[str, str], ...]:
    """What stands in a table instead of the numbers of a run without a result."""
    name = row_name(records)
    gaps = analysis.gaps(records)
    return tuple((f"{name(g.problem, g.method)} seed={g.seed}", g.message) for g in gaps.itertuples())


def with_errors(frame: pd.DataFrame, records: Records) -> pd.DataFrame:
    """The numbers of a table for its CSV file, with what is missing of a row in its last column."""
    said: dict[tuple[str, str], list[str]] = {}
    for gap in analysis.gaps(records).itertuples():
        said.setdefault((gap.problem, gap.method), []).append(f"seed={gap.seed} {gap.message}")
    return frame.assign(error=["; ".join(said.get((r.problem, r.method), [])) for r in frame.itertuples()])


def budget(records: Records) -> str:
    """The budget in words, of each problem where they differ, or that a problem has more than one: a comparison needs
    equal ones."""
    rows = records.studies[["problem", "budget", "unit"]].dropna().drop_duplicates()
    said = [f"{number(float(r.budget), 0)} {UNIT_WORDS.get(r.unit, r.unit)}" for r in rows.itertuples()]
    words = list(dict.fromkeys(said))
    if not words:
        return "Budget: not recorded."
    if rows["problem"].duplicated().any():
        return f"BUDGETS DIFFER ({', '.join(words)}): no comparison."
    if len(words) > 1:
        each = ", ".join(f"{word} on {problem}" for word, problem in zip(said, rows["problem"], strict=True))
        return f"Equal budgets within a problem: {each}."
    return f"Equal budgets of {words[0]} per study."


def seeds(n: int, expected: int) -> str:
    """How many seeds a row's means are over, and of how many when some are missing."""
    return f"{n}" if n == expected else f"{n} of {expected}"


def share_in(value: float, low: float, high: float) -> str:
    """A share in percent, ``71.2 [68, 75]``; without its interval where there is none."""
    if math.isnan(value):
        return NOT_KNOWN
    span = "" if math.isnan(low) else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{100 * value:.1f}{span}"


def accuracy(records: Records) -> Table:
    """Test accuracy of what each method recommends, as the paper's Table 2."""
    frame, name = analysis.accuracy(records), row_name(records)
    k = "/".join(str(int(v)) for v in sorted(frame["k"].dropna().unique())) or "k"
    columns = (
        Column("method"), Column("seeds"), Column("greedy %"), Column(f"mean@{k} %"),
        Column("validation %", wide=True), Column("final steps", wide=True), Column("paper %", quoted=True),
    )  # fmt: skip
    rows = []
    for r in frame.itertuples():
        steps = sorted({int(s) for s in (r.final_steps_least, r.final_steps_most) if pd.notna(s)})
        paper = published.accuracy(r.method)
        rows.append(
            (
                name(r.problem, r.method),
                seeds(r.n, r.expected),
                with_interval(r.greedy, r.greedy_half),
                with_interval(r.mean_at_k, r.mean_at_k_half),
                number(100 * r.validation),
                "-".join(str(s) for s in steps) or NOT_KNOWN,
                number(paper, unknown="not recovered" if r.method in PAPER_NAME else NOT_KNOWN),
            )
        )
    return Table(
        name="accuracy",
        title="Test accuracy of the recommended configuration",
        columns=columns,
        rows=tuple(rows),
        caption=_accuracy_caption(records, frame, k),
        errors=error_rows(records),
        data=with_errors(frame.assign(paper_percent=[published.accuracy(m) for m in frame["method"]]), records),
    )


def _accuracy_caption(records: Records, frame: pd.DataFrame, k: str) -> str:
    prompts = "/".join(f"{int(v)}" for v in sorted(frame["prompts"].dropna().unique())) or "all"
    basis = {
        "seeds": "Student's t over seeds (the test prompts are the same for all of them)",
        "prompts": "one seed only: over test prompts (of mean@k by its standard error, of greedy by Agresti-Coull), "
        "which leaves out the luck of the search",
    }
    how = "; ".join(words for key, words in basis.items() if key in set(frame["basis"]))
    models = " and ".join(published.common_models())
    return _sentences(
        budget(records),
        f"Configurations are selected on the validation split; greedy and mean@{k} are on {prompts} test prompts,",
        f"mean@{k} over {k} samples per prompt at temperature 1. Means over seeds.",
        f"± is half of a 95 % interval, given as [low, high] where it reaches 0 or 100: {how}." if how else "",
        "The recipe's learning rate is mapped by width (lr × 3584/d, since 1e-6 belongs to a 7B model).",
        _beside_both(frame),
        f"Paper: mean, taken here, of its test averages over {models}, the models on which it is known for all its",
        f"methods; {NOT_OURS}.",
    )


def efficiency(records: Records) -> Table:
    """What a search trial costs, as the paper's efficiency table."""
    frame, name = analysis.efficiency(records), row_name(records)
    columns = (
        Column("method"), Column("seeds", wide=True), Column("tokens/s"), Column("s per trial"), Column("trials"),
        Column("early stopped", wide=True), Column("cut", wide=True), Column("failed", wide=True),
        Column("optimizer %", wide=True), Column("s per trial without reuse", wide=True), Column("speedup"),
        Column("paper tokens/s", wide=True, quoted=True), Column("paper speedup", quoted=True),
    )  # fmt: skip
    rows = []
    for r in frame.itertuples():
        none = NOT_APPLICABLE if r.method in analysis.NO_SEARCH else NOT_KNOWN
        paper = published.efficiency(r.method)
        interval = "" if math.isnan(r.speedup_low) else f" [{number(r.speedup_low)}, {number(r.speedup_high)}]"
        counts = (r.trials, r.early_stopped, r.cut, r.failed)
        rows.append(
            (
                name(r.problem, r.method),
                none if none == NOT_APPLICABLE else seeds(r.n, r.expected),
                number(r.tokens_per_second, 0, none),
                number(r.seconds_per_trial, 2, none),
                *(number(c, 1, none) for c in counts),
                number(100 * r.optimizer_share, 1, none),
                number(r.scratch_seconds_per_trial, 2, none),
                number(r.speedup, 1, none) + interval,
                " / ".join(number(v, 0) for v in paper["tokens_per_second"]) or none,
                " / ".join(number(v) for v in paper["speedup"]) or none,
            )
        )
    ours = [published.efficiency(m).add_prefix("paper_") for m in frame["method"]]
    quoted = pd.DataFrame(
        {
            f"paper_{c}": ["/".join(str(v) for v in rows[f"paper_{c}"]) for rows in ours]
            for c in ("model", "tokens_per_second", "hours_per_trial", "speedup")
        }
    )
    return Table(
        name="efficiency",
        title="Efficiency of the search",
        columns=columns,
        rows=tuple(rows),
        caption=_efficiency_caption(records, frame),
        errors=error_rows(records),
        data=with_errors(pd.concat([frame, quoted], axis=1), records),
    )


def _efficiency_caption(records: Records, frame: pd.DataFrame) -> str:
    models = " / ".join(published.quotable("efficiency")["model"].unique())
    idle = [m for m in analysis.NO_SEARCH if m in set(frame["method"])]
    return _sentences(
        budget(records),
        "Search trials only, means over seeds; counts are per study. tokens/s: completion tokens sampled per trainer",
        "second. s per trial: of the trials that the budget did not cut. optimizer %: the method's own time in asking",
        "and telling, of the search. Without reuse:",
        "what the same trials would have cost from the base model. Speedup: seconds per trial of random_search by",
        "those of the method [95 % bootstrap over seeds, where there are two or more].",
        f"{', '.join(idle)}: one given configuration, no search." if idle else "",
        _beside_both(frame),
        f"Paper: {models}; {NOT_OURS}.",
    )


def _beside_both(frame: pd.DataFrame) -> str:
    """Why one row of the paper stands beside two of ours, where it does."""
    if not {"jfhpo_paper", "jfhpo"} <= set(frame["method"]):
        return ""
    return (
        "The paper's JF-HPO stands beside jfhpo_paper, which follows it to the letter, and beside jfhpo, which departs."
    )


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def published_accuracy() -> Table:
    """The paper's Table 2 as far as it was recovered."""
    frame = published.quotable("accuracy")
    tasks = list(published.TASKS)
    return Table(
        name="published_accuracy",
        title="Published: test accuracy in % (Table 2 of arXiv 2606.03073)",
        columns=(
            Column("model"),
            Column("method", words=True),
            *(Column(published.TASKS[t], quoted=True) for t in tasks),
        ),
        rows=tuple((r["model"], r["method"], *(f"{r[t]:.2f}" for t in tasks)) for _, r in frame.iterrows()),
        caption=f"{_source(frame)} Random Search, and BOHB on Qwen-3 14B, were not recovered. These are {NOT_OURS}.",
        data=frame,
    )


def published_efficiency() -> Table:
    """The paper's efficiency table."""
    frame = published.quotable("efficiency")
    heads = ("throughput tokens/s", "hours per trial", "speedup per trial")
    return Table(
        name="published_efficiency",
        title="Published: efficiency (arXiv 2606.03073)",
        columns=(Column("model"), Column("method", words=True), *(Column(h, quoted=True) for h in heads)),
        rows=tuple(
            (r.model, r.method, f"{r.tokens_per_second:.1f}", f"{r.hours_per_trial:.2f}", f"{r.speedup:.1f}")
            for r in frame.itertuples()
        ),
        caption=f"{_source(frame)} These are {NOT_OURS}.",
        data=frame,
    )


def _source(frame: pd.DataFrame) -> str:
    """How sure the published numbers are, in a sentence."""
    sure = {"primary": "read in the paper itself", "secondary": "read in summaries of it, not in the paper itself"}
    return f"The paper's own numbers, {' or '.join(sure[c] for c in sorted(frame['confidence'].unique()))}."
