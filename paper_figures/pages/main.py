"""The main job: accuracy and efficiency beside the paper's, the anytime curve, and why a method won."""

from __future__ import annotations

from experiments.gather import Records
from experiments.main import analysis
from paper_figures import figures, published, tables
from paper_figures.formats import percent
from paper_figures.pages import Drawing, Page

CAPTIONS = {
    "anytime": "Best validation accuracy on the target against what was spent. Thin lines: seeds; thick: mean over the "
    "finished seeds, from where all of them have a score. Below, what each study trained when: while it trains a proxy "
    "it gains no score on the target; the final training is that of the configuration it recommends.",
    "why": "Why a method won: its search trials by learning rate and validation score. Points of one configuration on "
    "one model are joined. Scores of different models, and of different numbers of steps, are not comparable.",
}


def page(records: Records) -> Page:
    problems = records.problems()
    drawings = []
    for problem in problems:
        for kind, draw in (("anytime", figures.anytime), ("why", figures.why)):
            if (figure := draw(records, problem)) is not None:
                drawings.append(Drawing(f"{kind}_{problem}", figure, CAPTIONS[kind]))
    return Page(
        lead=tuple(text for p in problems for text in (headline(records, p), speed(records, p)) if text),
        tables=(
            (tables.accuracy(records), tables.published_accuracy()),
            (tables.efficiency(records), tables.published_efficiency()),
        ),
        drawings=tuple(drawings),
        printed=("efficiency", "accuracy"),
    )


def headline(records: Records, problem: str) -> str:
    """The result on one problem in two or three sentences, with what speaks against believing it."""
    facts = analysis.comparison(records, problem)
    if not facts:
        return f"No study of {problem} has a test result yet."
    budget, n = tables.budget(records.of(problem)), facts["n"]
    best = (
        f"{facts['best']} has the highest mean@{facts['k']} on the test split of {problem}: {percent(facts['score'])}"
    )
    if facts["second"] is None:
        return f"{best}. It is the only method with a result: nothing to compare. {budget}"
    said = [f"{best}, {100 * facts['gap']:.1f} points above {facts['second']}."]
    if n == 1:
        said.append("With one seed their intervals leave out the luck of the search: not a ranking.")
    elif facts["overlap"]:
        said.append(f"With n={n} seeds their 95 % intervals overlap: not a ranking.")
    else:
        said.append(f"With n={n} seeds their 95 % intervals do not overlap.")
    if facts["shared"] > 1:
        said.append(f"It is ahead on {facts['ahead']} of {facts['shared']} seeds.")
    if not facts["complete"]:
        said.append("Runs are missing (see the table), so this may change.")
    return " ".join([*said, budget])


def speed(records: Records, problem: str) -> str:
    """What a search trial costs each method, in a sentence; empty without the reference or any other search."""
    frame = analysis.efficiency(records.of(problem)).set_index("method")
    others = frame[(frame.index != analysis.REFERENCE) & frame["speedup"].notna()]
    if others.empty:
        return ""
    said = []
    for method, row in others.iterrows():
        paper = " and ".join(f"{r.speedup:.1f} on {r.model}" for r in published.efficiency(method).itertuples())
        said.append(
            f"{method} {row['seconds_per_trial']:.2f} s, {row['speedup']:.1f} times the trials in the same time"
            + (f" (the paper: {paper})" if paper else "")
        )
    reference = f"{analysis.REFERENCE} {frame.loc[analysis.REFERENCE, 'seconds_per_trial']:.2f} s"
    return f"Seconds per search trial: {'; '.join([reference, *said])}."
