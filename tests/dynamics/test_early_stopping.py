"""Every stopping rule on curves made by hand: it fires at the step it should, and not one step earlier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Cost, StepRecord
from jfhpo.dynamics.early_stopping import (
    PRESETS,
    BelowRivals,
    KLGrowth,
    KLRunaway,
    RemainingGain,
    RewardBelowStart,
    RewardDrop,
    Rule,
    Stop,
    ZeroReward,
    judge,
    rules,
)


def curve(reward: Sequence[float] | None = None, kl: Sequence[float] | None = None) -> list[StepRecord]:
    """A curve of these rewards and KL values; what is not given stays where no rule minds it."""
    length = len(reward if reward is not None else kl)
    reward = reward if reward is not None else [0.5] * length
    kl = kl if kl is not None else [0.01] * length
    return [StepRecord(i + 1, reward[i], kl[i], 0, 0, 0, 0, 0, 0, Cost()) for i in range(length)]


def fires_at(rule: Rule, whole: Sequence[StepRecord], rivals: Sequence[Sequence[StepRecord]] = ()) -> int | None:
    """The first step at which the rule speaks while the curve grows."""
    for step in range(len(whole) + 1):
        if (stop := rule.judge(whole[:step], rivals)) is not None:
            assert stop.step == step
            return step
    return None


def grown(start: float, factors: Sequence[float]) -> list[float]:
    values = [start]
    for factor in factors:
        values.append(values[-1] * factor)
    return values


# -- the paper's rules: adjacent steps, τ1 = 15 %, τ2 = 10 %, k = 5


def test_the_paper_preset_is_the_papers():
    assert PRESETS["paper"] == (KLGrowth(0.15, 5), RewardDrop(0.10, 5), ZeroReward(5))


def test_kl_growth_fires_after_five_growths_in_a_row():
    assert fires_at(KLGrowth(), curve(kl=grown(0.1, [1.16] * 8))) == 6  # six values, five growths
    assert fires_at(KLGrowth(), curve(kl=grown(0.1, [1.0, 1.0, *[1.16] * 5]))) == 8


def test_kl_growth_of_exactly_the_threshold_does_not_count():
    assert fires_at(KLGrowth(threshold=0.5), curve(kl=grown(1.0, [1.5] * 10))) is None
    assert fires_at(KLGrowth(threshold=0.5), curve(kl=grown(1.0, [1.51] * 10))) == 6
    assert fires_at(KLGrowth(), curve(kl=grown(0.1, [1.14] * 10))) is None


@pytest.mark.parametrize("flat", [0, 1, 2, 3, 4])
def test_one_step_without_growth_starts_the_count_again(flat):
    factors = [1.2] * 5 + [1.2] * 5
    factors[flat] = 1.0
    assert fires_at(KLGrowth(), curve(kl=grown(0.1, factors))) == flat + 2 + 5


def test_kl_growth_near_zero_counts_as_the_paper_has_it():
    """The literal rule has no floor: this is why ``robust`` exists."""
    assert fires_at(KLGrowth(), curve(kl=grown(1e-7, [1.2] * 6))) == 6
    assert fires_at(KLGrowth(), curve(kl=[0.0, 1e-9, 2e-9, 3e-9, 4e-9, 5e-9])) == 6
    assert fires_at(KLGrowth(), curve(kl=[0.0] * 20)) is None


def test_kl_growth_with_values_below_zero_does_not_divide_by_a_negative():
    """An estimate of KL can be below zero; from -0.2 to -0.1 it grew, from -0.1 to -0.2 it did not."""
    assert KLGrowth(patience=1).judge(curve(kl=[-0.2, -0.1])) is not None
    assert KLGrowth(patience=1).judge(curve(kl=[-0.1, -0.2])) is None
    assert KLGrowth(patience=1).judge(curve(kl=[-0.2, -0.19])) is None, "by 5 %"


def test_reward_drop_fires_after_five_drops_in_a_row():
    assert fires_at(RewardDrop(), curve(reward=grown(0.9, [0.89] * 8))) == 6
    assert fires_at(RewardDrop(), curve(reward=grown(0.9, [1.0, 1.1, *[0.85] * 5]))) == 8


def test_a_reward_drop_of_exactly_the_threshold_does_not_count():
    assert fires_at(RewardDrop(threshold=0.5), curve(reward=grown(1.0, [0.5] * 10))) is None
    assert fires_at(RewardDrop(threshold=0.5), curve(reward=grown(1.0, [0.49] * 10))) == 6
    assert fires_at(RewardDrop(), curve(reward=grown(0.9, [0.91] * 10))) is None


@pytest.mark.parametrize("held", [0, 1, 2, 3, 4])
def test_one_step_without_a_drop_starts_the_count_again(held):
    factors = [0.8] * 10
    factors[held] = 1.0
    assert fires_at(RewardDrop(), curve(reward=grown(0.9, factors))) == held + 2 + 5


def test_a_rising_reward_never_drops():
    assert fires_at(RewardDrop(), curve(reward=grown(0.1, [1.2] * 10))) is None


def test_no_reward_fires_at_the_fifth_zero():
    assert fires_at(ZeroReward(), curve(reward=[0.0] * 8)) == 5
    assert fires_at(ZeroReward(), curve(reward=[0.3, 0.2, *[0.0] * 5])) == 7


@pytest.mark.parametrize("lucky", [0, 1, 2, 3, 4])
def test_one_reward_starts_the_count_of_zeros_again(lucky):
    reward = [0.0] * 10
    reward[lucky] = 1e-6
    assert fires_at(ZeroReward(), curve(reward=reward)) == lucky + 1 + 5


# -- the robust rules: windows and floors


def test_reward_below_its_own_start_fires_at_the_fifth_step_below_nine_tenths_of_it():
    start = [0.4, 0.5, 0.6]  # mean .5, floor .45
    assert fires_at(RewardBelowStart(), curve(reward=[*start, *[0.44] * 8])) == 8
    assert fires_at(RewardBelowStart(), curve(reward=[*start, 0.7, 0.7, *[0.44] * 8])) == 10
    assert fires_at(RewardBelowStart(), curve(reward=[*start, *[0.46] * 20])) is None


def test_a_reward_exactly_on_the_floor_is_not_below_it():
    on = curve(reward=[0.5, 0.5, 0.5, *[0.25] * 9])
    assert fires_at(RewardBelowStart(fraction=0.5), on) is None


@pytest.mark.parametrize("back", [0, 1, 2, 3, 4])
def test_one_step_at_the_start_level_starts_the_count_again(back):
    reward = [0.5, 0.5, 0.5, *[0.2] * 12]
    reward[3 + back] = 0.5
    assert fires_at(RewardBelowStart(), curve(reward=reward)) == 3 + back + 1 + 5


def test_the_start_itself_is_not_judged():
    """Five steps after the three that set the level, however the level fell within those."""
    assert fires_at(RewardBelowStart(), curve(reward=[1.0, *[0.1] * 10])) == 8


def test_a_run_that_starts_at_zero_reward_has_nothing_to_fall_below():
    assert fires_at(RewardBelowStart(), curve(reward=[0.0] * 20)) is None


def test_runaway_kl_fires_after_five_steps_above_the_mean_of_the_five_before():
    # Flat at .3 nats (above the floor) for 5 steps, then half as much again at every step.
    assert fires_at(KLRunaway(), curve(kl=[0.3] * 5 + grown(0.45, [1.5] * 6))) == 10
    assert fires_at(KLRunaway(), curve(kl=[0.3] * 9 + grown(0.45, [1.5] * 6))) == 14


def test_runaway_kl_has_a_floor():
    """Doubling at every step means nothing while KL is below .2 nats."""
    kl = grown(1e-4, [2.0] * 16)
    first = next(i for i, value in enumerate(kl) if value > 0.2)
    assert fires_at(KLRunaway(), curve(kl=kl)) == first + 5
    assert fires_at(KLRunaway(), curve(kl=grown(1e-6, [2.0] * 14))) is None


def test_runaway_kl_lets_slow_growth_and_a_doubling_pass():
    assert fires_at(KLRunaway(), curve(kl=grown(0.3, [1.03] * 40))) is None
    assert fires_at(KLRunaway(), curve(kl=[0.3] * 6 + [0.6] * 20)) is None, "its own plateau catches up within five"
    assert fires_at(KLRunaway(), curve(kl=[0.3] * 6 + [1.2] * 20)) == 11, "four times as much does not"


@pytest.mark.parametrize("calm", [0, 1, 2, 3, 4])
def test_one_calm_step_starts_the_count_of_runaway_kl_again(calm):
    kl = [0.3] * 5 + grown(0.45, [1.5] * 11)
    kl[5 + calm] = 0.2
    assert fires_at(KLRunaway(), curve(kl=kl)) == 5 + calm + 1 + 5


# -- no progress against rivals at the same step


def flat(*rewards: float, length: int = 20) -> list[list[StepRecord]]:
    """A rival per reward, which it earns at every step."""
    return [curve([reward] * length) for reward in rewards]


FIVE = flat(0.2, 0.4, 0.6, 0.8, 1.0)
"""Their running averages are these at every step: the lower quartile is .4, the median .6."""


def test_a_best_reward_below_the_rivals_lower_quartile_is_stopped_after_the_warm_up():
    assert fires_at(BelowRivals(), curve([0.39] * 20), FIVE) == 10
    assert fires_at(BelowRivals(warm_up=14), curve([0.39] * 20), FIVE) == 14
    assert fires_at(BelowRivals(), curve([0.41] * 20), FIVE) is None


def test_with_the_median_it_is_viziers_rule():
    assert fires_at(BelowRivals(quantile=0.5), curve([0.59] * 20), FIVE) == 10
    assert fires_at(BelowRivals(quantile=0.5), curve([0.61] * 20), FIVE) is None


def test_a_tie_with_the_bar_is_not_below_it():
    equal = flat(*[0.25] * 5)
    assert fires_at(BelowRivals(), curve([0.25] * 20), equal) is None
    assert fires_at(BelowRivals(), curve([0.125] * 20), equal) == 10


def test_nothing_is_judged_against_too_few_rivals():
    worst = curve([0.0] * 20)
    assert fires_at(BelowRivals(), worst, FIVE[1:]) is None
    assert fires_at(BelowRivals(least=4), worst, FIVE[1:]) == 10
    assert fires_at(BelowRivals(), worst) is None


def test_a_rival_counts_up_to_where_it_came_and_no_further():
    """Four reach the end and one is gone after 12 steps: from step 13 on there are too few."""
    short = [*FIVE[:4], *flat(1.0, length=12)]
    late = curve([0.5] * 10 + [0.0] * 10)
    assert fires_at(BelowRivals(warm_up=12), curve([0.1] * 20), short) == 12
    assert fires_at(BelowRivals(warm_up=13), curve([0.1] * 20), short) is None
    assert fires_at(BelowRivals(), late, short) is None, "its best counts, not its last"


def test_rivals_are_taken_at_the_same_step_and_not_at_their_end():
    """Running averages: what rivals earn after the step that is judged does not matter."""
    climbing = [curve([0.1] * 10 + [1.0] * 10) for _ in range(5)]
    assert BelowRivals().judge(curve([0.2] * 10), climbing) is None
    assert fires_at(BelowRivals(), curve([0.2] * 20), climbing) == 12, "(10 × .1 + 2 × 1) / 12 = .25 > .2"


def test_a_single_lucky_step_does_not_save_a_trial():
    lucky = curve([0.1] * 4 + [1.0] + [0.1] * 15)
    assert fires_at(BelowRivals(), lucky, FIVE) == 10, "the best mean of five steps is .28"
    assert fires_at(BelowRivals(window=1), lucky, FIVE) is None


def test_before_a_whole_window_nothing_is_judged():
    assert fires_at(BelowRivals(warm_up=1, window=5), curve([0.0] * 20), FIVE) == 5


def test_a_verdict_against_rivals_tells_the_values():
    stop = BelowRivals().judge(curve([0.2] * 10), FIVE)
    assert str(stop) == "below_rivals at step 10: best reward 0.200 < 0.400, the 25% quantile of 5 rivals"


# -- the expected remaining gain

GAIN = RemainingGain(horizon=40)


def test_a_flat_reward_is_stopped_once_a_quarter_of_the_run_was_seen_twice():
    assert fires_at(GAIN, curve([0.4] * 40)) == 11, "10 is a quarter; and the step after"
    assert fires_at(RemainingGain(40, patience=1), curve([0.4] * 40)) == 10
    assert fires_at(RemainingGain(40, warm_up=0.5), curve([0.4] * 40)) == 21


def test_fewer_steps_than_a_fit_needs_are_never_judged():
    assert fires_at(RemainingGain(20, warm_up=0.0, patience=1), curve([0.4] * 20)) == 8


def test_the_gain_is_per_unit_of_the_cost_that_remains():
    """On a straight line the rest of the run earns the same for its price, however little of it is left: 0.4 for the
    cost of a full run, 0.3 in the eyes of a saturation, whose slope falls."""
    line = [0.01 * i for i in range(40)]
    assert fires_at(GAIN, curve(line)) is None
    assert fires_at(RemainingGain(40, threshold=0.6), curve(line)) == 11
    assert [RemainingGain(40).rate(line[:n]) for n in (20, 30, 38)] == pytest.approx([0.3] * 3, abs=0.02)


def test_a_curve_that_has_levelled_out_is_stopped_at_the_top_too():
    rewards = [0.9 - 0.7 * math.exp(-i / 4) for i in range(40)]
    stop = fires_at(GAIN, curve(rewards))
    assert 20 < stop < 35 and rewards[39] - rewards[stop - 1] < 0.01


def test_a_reward_that_falls_has_nothing_to_gain():
    assert fires_at(GAIN, curve([0.8 - 0.015 * i for i in range(40)])) == 11


def test_without_a_horizon_nothing_is_foretold_and_at_the_end_nothing_is_left():
    assert fires_at(RemainingGain(), curve([0.4] * 40)) is None
    assert RemainingGain(40).judge(curve([0.4] * 40)) is None
    assert rules("scaling_law") == (RemainingGain(0),)
    assert rules("scaling_law", 40) == (GAIN,)


def test_rewards_outside_the_range_are_fitted_without_it():
    assert fires_at(GAIN, curve([7.0] * 40)) == 11
    assert fires_at(GAIN, curve([5 + 0.1 * i for i in range(40)])) is None
    assert fires_at(GAIN, curve([-1.0] * 40)) == 11


def test_the_remaining_gain_tells_its_values():
    stop = GAIN.judge(curve([0.4] * 11))
    assert str(stop) == "remaining_gain at step 11: expected gain +0.000 for the cost of a full run < 0.01"


# -- what holds for all of them


@pytest.mark.parametrize("preset", ["paper", "robust", "scaling_law"])
def test_a_kl_that_was_not_measured_is_no_reason_to_stop(preset):
    """GRPO without a KL term has none to report: NaN."""
    healthy = curve([0.2 + 0.01 * i for i in range(40)], [math.nan] * 40)
    assert all(judge(rules(preset, 40), healthy[:n]) is None for n in range(41))


ALL = [KLGrowth(), RewardDrop(), ZeroReward(), RewardBelowStart(), KLRunaway(), BelowRivals(), RemainingGain(50)]


@pytest.mark.parametrize("rule", ALL, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4])
def test_a_curve_shorter_than_the_patience_is_never_judged(rule, length):
    worst = curve(reward=grown(1.0, [0.0] * 4)[:length], kl=grown(1.0, [10.0] * 4)[:length])
    assert rule.judge(worst, FIVE) is None


@pytest.mark.parametrize("rule", ALL, ids=lambda r: type(r).__name__)
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 5)), max_size=30))
def test_a_verdict_depends_on_the_curves_alone_and_names_the_last_step(rule, values):
    seen = curve([r for r, _ in values], [k for _, k in values])
    stop = rule.judge(seen, FIVE)
    assert stop == rule.judge(tuple(seen), tuple(FIVE))
    assert stop is None or stop.step == len(seen)


@pytest.mark.parametrize(
    ("rule", "seen", "values"),
    [
        (KLGrowth(), curve(kl=grown(0.1, [2.0] * 5)), ["kl_growth at step 6", "0.1 -> 3.2", "+100%"]),
        (RewardDrop(), curve(reward=grown(0.8, [0.5] * 5)), ["reward_drop at step 6", "0.800 -> 0.025"]),
        (ZeroReward(), curve(reward=[0.0] * 5), ["zero_reward at step 5", "5 steps"]),
        (RewardBelowStart(), curve(reward=[0.5] * 3 + [0.2, 0.3, 0.1, 0.1, 0.1]), ["step 8", "5 0.300 < 0.450"]),
        (KLRunaway(), curve(kl=[0.3] * 5 + grown(0.5, [2.0] * 4)), ["kl_runaway at step 10", "KL 8 nats"]),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, list) else "",
)
def test_a_verdict_tells_the_rule_the_step_and_the_values(rule, seen, values):
    text = str(rule.judge(seen))
    assert [v for v in values if v not in text] == [], text
    assert "\n" not in text


class Says:
    def __init__(self, name: str | None):
        self.name = name

    def judge(self, curve: Sequence[StepRecord], rivals: Sequence[Sequence[StepRecord]] = ()) -> Stop | None:
        return Stop(self.name, len(curve), "") if self.name else None


def test_the_first_rule_that_speaks_is_heard():
    seen = curve(reward=[0.5])
    assert judge((Says(None), Says("second"), Says("third")), seen).rule == "second"
    assert judge((Says(None),), seen) is None
    assert judge((), seen) is None


def test_presets_by_name():
    assert rules("none") == ()
    assert rules("robust") == (RewardBelowStart(0.9, 3, 5), KLRunaway(0.15, 0.2, 5, 5), BelowRivals(0.25, 10, 5, 5))
    with pytest.raises(
        UsageError, match=r"early_stopping.*'papper'.*did you mean 'paper'.*none, paper, robust, scaling_law"
    ):
        rules("papper")


def test_a_healthy_run_is_left_alone_by_every_preset():
    reward = [0.15 + 0.75 * (1 - math.exp(-i / 15)) + 0.03 * math.sin(7 * i) for i in range(50)]
    kl = [0.1 * (1 - math.exp(-i / 15)) * (1 + 0.2 * math.sin(5 * i)) for i in range(50)]
    whole = curve(reward, kl)
    assert all(judge(rules(preset, 50), whole[:n]) is None for preset in PRESETS for n in range(51))


def test_a_preset_hands_the_rivals_to_its_rules():
    assert judge(rules("robust"), curve([0.2] * 10), FIVE).rule == "below_rivals"
    assert judge(rules("paper"), curve([0.2] * 10), FIVE) is None


def test_every_rule_has_a_name_of_its_own():
    assert len({rule.name for rule in ALL}) == len(ALL)


def test_a_collapse_to_chance_is_caught_by_robust_and_missed_by_paper():
    """A collapsed policy does not earn zero: it sits at chance, below where it began."""
    whole = curve(reward=[0.3, 0.32, 0.31, 0.2, *[0.13, 0.12, 0.14] * 6])
    steps = range(1, len(whole) + 1)
    assert min(n for n in steps if judge(rules("robust"), whole[:n])) == 8
    assert not any(judge(rules("paper"), whole[:n]) for n in steps)


@pytest.mark.parametrize("preset", ["paper", "robust"])
def test_kl_that_a_trainer_does_not_measure_stops_nothing(preset):
    rising = [0.3 + 0.01 * step for step in range(30)]
    whole = curve(reward=rising, kl=[math.nan] * 30)
    assert all(judge(rules(preset), whole[:step], [whole] * 6) is None for step in range(31))
