"""How far scaling laws can be trusted: fits, forecasts, what stopping saves, other sizes, and the surrogate's mean."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from experiments.gather import Records
from experiments.scaling_law import analysis, gp_mean, sizes, stopping
from experiments.scaling_law.analysis import DRAWS, FINAL, HEADLINE, LEVEL, NAIVE, SEEN
from experiments.scaling_law.curves import RewardCurve, recorded_curves
from experiments.scaling_law.stopping import ALLOWED, YARDSTICK
from jfhpo.dynamics.early_stopping import RemainingGain
from jfhpo.dynamics.scaling_law import DEFAULT, LEAST
from jfhpo.tasks import TASKS
from paper_figures.cells import bracketed, span
from paper_figures.formats import NOT_KNOWN, Column, Table, percent
from paper_figures.pages import Drawing, Page
from paper_figures.scaling_law_figures import examples, overview
from paper_figures.tables import error_rows, number

BEYOND = "beyond"
"""Said of a phase that does not end within the run."""


def page(records: Records) -> Page:
    curves = recorded_curves(records)
    told = analysis.forecasts(curves)
    if told.empty:
        return _nothing(records, curves)
    forecasts, fits = analysis.forecast_table(told), analysis.fit_table(analysis.whole_fits(curves))
    ends = stopping.ends_of(curves)
    frontier, unseen = stopping.frontier(curves, ends), stopping.unseen(curves, ends)
    of_sizes, of_mean = _sizes(records), _means(records)
    tables = [forecast_table(records, forecasts), stopping_table(frontier, unseen), fit_table(fits)]
    tables += [size_table(of_sizes)] if len(of_sizes) else []
    tables += [mean_table(of_mean)] if len(of_mean) else []
    scope = analysis.widest(curves)
    figure = overview(forecasts[forecasts["problem"] == scope], frontier)
    drawings = [Drawing("overview", figure, OVERVIEW)]
    if (single := examples(curves)) is not None:
        drawings.append(Drawing("examples", single, SINGLE))
    lead = (
        *forecast_sentences(forecasts, scope, curves), *stopping_sentences(frontier, unseen),
        *size_sentences(of_sizes), *mean_sentences(of_mean), CAVEAT,
    )  # fmt: skip
    return Page(lead, tuple((table,) for table in tables), tuple(drawings), printed=("stopping", "forecasts"))


def _nothing(records: Records, curves: list[RewardCurve]) -> Page:
    longest = max((curve.horizon for curve in curves), default=0)
    lead = (
        f"{len(curves)} full runs are recorded, the longest of {longest} steps: none has {LEAST} steps and {FINAL} "
        "more to be foretold, so nothing is fitted and nothing foretold."
    )
    return Page((lead,), ((forecast_table(records, analysis.forecast_table(analysis.forecasts([]))),),))


def _sizes(records: Records) -> pd.DataFrame:
    """`sizes.size_table` of every problem with two sizes below the target."""
    from jfhpo.trainers.mini.family import model_sizes

    frames = []
    for problem in records.problems():
        task = records.of(problem).studies["task"].dropna().iloc[0]
        names, groups = sizes.groups_of(records, problem)
        if task in TASKS and len(names) > 2 and groups:
            log_size = {model.name: math.log10(model.parameters) for model in model_sizes(task)}
            table = sizes.size_table(sizes.held_out_size(names, groups, log_size))
            frames.append(table.assign(problem=problem, target=names[-1], smaller=", ".join(names[:-1])))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _means(records: Records) -> pd.DataFrame:
    """`gp_mean.comparison` of every problem whose proxy was recorded with learning rates mapped by width."""
    frames = [
        gp_mean.comparison(gp_mean.predictions(records, problem)).assign(problem=problem)
        for problem in records.problems()
        if gp_mean.usable(records, problem)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


# ---- words -------------------------------------------------------------------------------------------------

OVERVIEW = (
    "Left: how far the foretold final reward is off, by the share of the run seen; bands: 95 % over configurations. "
    "Right: what ending runs saves and what they would have gained, by threshold; the dash-dotted line ends every run "
    "at the same step, and a rule must stay below it to have learned anything from the curve. The point is the preset "
    f"scaling_law (threshold {RemainingGain.threshold:g}), with 95 % over configurations; the thin line is one point."
)
SINGLE = (
    f"Runs at even distances in the order of their final reward, each seen up to {100 * HEADLINE:.0f} % (dashed). "
    "Line: the mean over all shapes of the law, weighted by likelihood."
)
CAVEAT = (
    "Short runs of small models: 50 steps of some hundred rollouts at most, one training seed per configuration. "
    "The preset's law and threshold were chosen with these recordings in view; the held-out rows were not."
)


def forecast_sentences(table: pd.DataFrame, scope: str, curves: list[RewardCurve]) -> list[str]:
    """Which law foretells best at the headline share, and whether it beats what needs no law."""
    rows = analysis.headline(table, scope)
    if rows.empty:
        return [f"No run is long enough to foretell its end from {100 * HEADLINE:.0f} % of it."]
    laws, naive = rows[~rows["law"].isin(NAIVE)], rows[rows["law"].isin(NAIVE)]
    best, usual = laws.iloc[0], naive.iloc[0]
    others = "; ".join(f"{r.law} {100 * r.median:.1f}" for r in laws.iloc[1:].itertuples())
    apart = "beyond both intervals" if best["high"] < usual["low"] else "their intervals overlap"
    return [
        f"From {100 * HEADLINE:.0f} % of {len(curves)} full runs the final reward is foretold best by {best['law']}, "
        f"with a median error of {_points(best, 'median', 'low', 'high')} points ({others}). Saying that it stays at "
        f"the mean of the {usual['law']} errs by {_points(usual, 'median', 'low', 'high')}: {apart}.",
        f"Its {100 * LEVEL:.0f} % intervals hold {100 * best['inside']:.0f} % of the final rewards: "
        + ("too sure of themselves." if best["inside"] < LEVEL - 0.03 else "as they should."),
    ]


def stopping_sentences(frontier: pd.DataFrame, unseen: pd.DataFrame) -> list[str]:
    """What the preset saves and loses, against ending every run early, and with a threshold chosen elsewhere."""
    row = _preset(frontier)
    same = frontier[(frontier["rule"] == YARDSTICK) & (frontier["lost"] <= ALLOWED)]
    most = same.loc[same["saved"].idxmax()] if len(same) else None
    yardstick = (
        f"Ending every run at the same step saves {percent(most['saved'])} for {100 * most['lost']:.2f} points."
        if most is not None
        else "No common end within the grid loses one point or less."
    )
    said = [
        f"The preset scaling_law saves {_points(row, 'saved', 'saved_low', 'saved_high')} % of the steps and loses "
        f"{_points(row, 'lost', 'lost_low', 'lost_high', 2)} points of accuracy on the mean of all runs, "
        f"{100 * row['lost_top']:.2f} on the {int(row['top'])} runs of the top three, of which it stops "
        f"{int(row['stopped_top'])}. {yardstick}"
    ]
    if len(unseen):
        held = unseen[unseen["rule"] == DEFAULT].iloc[0]
        said.append(
            f"With the threshold for at most one point chosen on the other problems or studies ({held['settings']}) it "
            f"saves {percent(held['saved'])} at {100 * held['lost']:.2f} points."
        )
    return said


def size_sentences(table: pd.DataFrame) -> list[str]:
    said = []
    for problem, rows in table.groupby("problem", sort=False) if len(table) else ():
        laws = rows[rows["forecast"].isin(sizes.JOINT)].sort_values("median", kind="stable").iloc[0]
        plain = rows[rows["forecast"] == sizes.LARGEST].iloc[0]
        better = "better than" if laws["high"] < plain["low"] else "no better than"
        said.append(
            f"From {rows['smaller'].iloc[0]} to {rows['target'].iloc[0]} on {problem}: the best law over sizes "
            f"({laws['forecast']}, {laws['scope']}) errs by {_points(laws, 'median', 'low', 'high')} points, {better} "
            f"the final reward of the largest smaller model, {_points(plain, 'median', 'low', 'high')}."
        )
    return said


def mean_sentences(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return []
    said = "; ".join(
        f"{r.variant}, {r.case}: {bracketed(r.difference, r.low, r.high)}"
        for r in table[table["variant"] != gp_mean.PLAIN].itertuples()
    )
    gains = bool((table["low"] > 0).any())
    verdict = "at least one is better beyond its interval" if gains else "none is better, so none is used"
    return [f"In the surrogate of jfhpo, log-likelihood per held-out full run less the plain one's: {said}; {verdict}."]


def _preset(frontier: pd.DataFrame) -> pd.Series:
    return frontier[(frontier["rule"] == DEFAULT) & (frontier["setting"] == RemainingGain.threshold)].iloc[0]


def _points(row: pd.Series, name: str, low: str, high: str, digits: int = 1) -> str:
    return bracketed(row[name], row[low], row[high], digits, 100)


# ---- tables ------------------------------------------------------------------------------------------------


def _row_of(frame: pd.DataFrame, problem: str, name: str) -> str:
    several = frame["problem"].nunique() > 1
    return f"{problem}: {name}" if several else name


def forecast_table(records: Records, frame: pd.DataFrame) -> Table:
    """A row per law or naive forecast, and problem."""
    rows = []
    for (problem, law), part in frame.groupby(["problem", "law"], sort=False):
        at = part.set_index("seen")
        here = [at.loc[s] if s in at.index else None for s in SEEN]
        head = at.loc[HEADLINE] if HEADLINE in at.index else None
        rows.append(
            (
                _row_of(frame, problem, law), str(int(part["curves"].max())),
                *(NOT_KNOWN if r is None else number(100 * r["median"]) for r in here),
                NOT_KNOWN if head is None else span(100 * head["low"], 100 * head["high"], 1),
                NOT_KNOWN if head is None else number(100 * head["mean"]),
                NOT_KNOWN if head is None else f"{100 * head['bias']:+.1f}",
                NOT_KNOWN if head is None else number(100 * head["inside"], 0),
            )
        )  # fmt: skip
    share = f"{100 * HEADLINE:.0f} %"
    columns = (
        Column("forecast"), Column("runs", wide=True),
        *(Column(f"{100 * s:.0f} % seen") for s in SEEN), Column(f"95 % at {share}", wide=True),
        Column(f"mean at {share}", wide=True), Column(f"bias at {share}"), Column(f"in {100 * LEVEL:.0f} % at {share}"),
    )  # fmt: skip
    return Table(
        name="forecasts",
        title="Error of the foretold final reward, in points",
        columns=columns,
        rows=tuple(rows),
        caption=f"Final reward: mean training reward of the last {FINAL} steps. Median absolute error by the "
        f"share of the run seen; at {share} its 95 % bootstrap over configurations, mean absolute and median error. "
        f"In {100 * LEVEL:.0f} %: % of final rewards inside the interval of {DRAWS} wild bootstrap draws. last 5 and "
        "last 10 steps: the reward stays at their mean. saturation is version 2 to the letter, from a reward of 0.",
        data=frame,
        errors=error_rows(records),
    )


def stopping_table(frontier: pd.DataFrame, unseen: pd.DataFrame) -> Table:
    """The rules at the preset's threshold, with thresholds chosen elsewhere, and the yardstick."""
    preset = frontier[frontier["setting"] == RemainingGain.threshold].assign(how=f"{RemainingGain.threshold:g}")
    fixed = frontier[(frontier["rule"] == YARDSTICK) & frontier["setting"].isin((0.8, 0.9))]
    fixed = fixed.assign(how=[f"at {100 * s:.0f} %" for s in fixed["setting"]])
    held = unseen.assign(how="held out")
    shown = pd.concat([frame for frame in (preset, fixed, held) if len(frame)], ignore_index=True)
    shown = shown.assign(settings=shown["settings"].fillna("") if "settings" in shown else "")
    columns = (
        Column("rule"), Column("setting", words=True), Column("steps saved %"), Column("points lost"),
        Column("lost in top 3"), Column("top 3 stopped"), Column("regret", wide=True),
        Column("settings held out", wide=True, words=True),
    )  # fmt: skip
    return Table(
        name="stopping",
        title="What stopping by the law saves and loses",
        columns=columns,
        rows=tuple(
            (
                r["rule"], r["how"], _points(r, "saved", "saved_low", "saved_high"),
                _points(r, "lost", "lost_low", "lost_high", 2), number(100 * r["lost_top"], 2),
                f"{int(r['stopped_top'])} of {int(r['top'])}", number(100 * r["regret"], 2), r["settings"] or NOT_KNOWN,
            )
            for _, r in shown.iterrows()
        ),
        caption="A rule stops a run once the expected remaining gain per unit of remaining cost (points of reward for "
        "the cost of a full run, by steps) lies below its setting. Lost: final validation accuracy less that at the "
        "stop, in points, mean over all runs; and over the runs in the top three of their study and model. Regret: "
        "what the choice by the scores where runs ended lies below the best, mean over studies and models. Held out: "
        "the setting that saves most for at most one point on the other problems (of one problem: studies), a setting "
        "for each; inf stops nothing. [ ]: 95 % bootstrap over configurations.",
        data=pd.concat([frontier.assign(chosen="all"), unseen.assign(chosen="held out")], ignore_index=True),
    )  # fmt: skip


def fit_table(frame: pd.DataFrame) -> Table:
    """A row per law and problem."""
    columns = (
        Column("law"), Column("runs", wide=True), Column("rmse points"), Column("R²"), Column("best by BIC %"),
        Column("slow until %"), Column("plateau from %"),
    )  # fmt: skip
    return Table(
        name="fits",
        title="Laws fitted to whole runs",
        columns=columns,
        rows=tuple(
            (
                _row_of(frame, r.problem, r.law), str(r.curves), number(100 * r.rmse), number(r.r2, 2),
                number(100 * r.best, 0), *(_share(v) for v in (r.slow_until, r.plateau_from)),
            )
            for r in frame.itertuples()
        ),
        caption="Medians over runs of the least-squares curve's error and R², and the share of runs on which the law "
        "has the lowest BIC. Slow until, plateau from: the share of the run at which the law has made 10 and 90 % of "
        f"its rise; {BEYOND}: not within the run. The paper (version 1) says little is gained after 40 % of an epoch, "
        "its version 2 puts the plateau at 80 %; an epoch is longer than these runs.",
        data=frame.replace(np.inf, np.nan),
    )  # fmt: skip


def _share(value: float) -> str:
    return BEYOND if math.isinf(value) else number(100 * value, 0)


def size_table(frame: pd.DataFrame) -> Table:
    """A row per forecast of the held-out size, the best first."""
    ordered = frame.sort_values(["problem", "median"], kind="stable")
    return Table(
        name="sizes",
        title="A larger size foretold from smaller ones",
        columns=(
            Column("forecast"), Column("fitted to", words=True), Column("configurations", wide=True),
            Column("error, points"), Column("mean", wide=True), Column("bias"),
        ),
        rows=tuple(
            (
                _row_of(frame, r["problem"], r["forecast"]), r["scope"], str(r["configurations"]),
                _points(r, "median", "low", "high"), number(100 * r["mean"]), f"{100 * r['bias']:+.1f}",
            )
            for _, r in ordered.iterrows()
        ),
        caption="Median absolute error of the target's final reward [95 % bootstrap over configurations]. Versions 1 "
        "and 2: one law for the curves of the smaller models (learning rates mapped by width), told the target's size "
        "(log10 parameters) and initial reward. The other rows need no law over sizes; the last kind has seen the "
        "start of the target's run.",
        data=ordered,
    )  # fmt: skip


def mean_table(frame: pd.DataFrame) -> Table:
    """A row per variant of the surrogate and case."""
    return Table(
        name="surrogate",
        title="A law in the surrogate, by held-out full runs on the target",
        columns=(
            Column("variant"), Column("held out", words=True), Column("runs", wide=True), Column("log-likelihood"),
            Column("less the plain one's"), Column("RMSE points"),
        ),
        rows=tuple(
            (
                _row_of(frame, r.problem, r.variant), r.case, str(r.runs), number(r.log_likelihood, 2),
                bracketed(r.difference, r.low, r.high), number(100 * r.rmse),
            )
            for r in frame.itertuples()
        ),
        caption="Splits and measures of fidelity_kernel. plain: the surrogate of jfhpo. mean: version 1 over progress "
        "and size as its mean. forecast: what each unfinished training run foretells of itself at full steps, as one "
        f"more observation. Nats per run; {gp_mean.SPLITS} splits, [ ]: 95 % over splits and configurations.",
        data=frame,
    )  # fmt: skip
