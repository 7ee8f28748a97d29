"""ASHA's arithmetic, case by case: milestones, cutoffs, brackets, and what a verdict says."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import fields
from fractions import Fraction

import pytest

from kubetune_operator.core.bounds import KEY
from kubetune_operator.core.schedulers.asha import Asha, AshaState, milestones
from kubetune_operator.core.trials import CONTINUE, Decision, SchedulerState, Verdict


def report(state: SchedulerState, trial: int, time: float, loss: float) -> Verdict:
    """Ask, then let it be remembered."""
    verdict = state.judge(trial, {"training_iteration": time}, loss)
    state.observe(trial, {"training_iteration": time}, loss)
    return verdict


def single(**settings: float) -> AshaState:
    """Begin with one bracket."""
    return AshaState(Asha(**settings), lambda _: 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("max_t", "grace_period", "factor", "expected"),
    [
        pytest.param(100, 1, 4, [1, 4, 16, 64], id="Ray's defaults"),
        pytest.param(243, 1, 3, [1, 3, 9, 27, 81, 243], id="243/3 keeps its last: ln 243 / ln 3 is 4.999..."),
        pytest.param(1000, 1, 10, [1, 10, 100, 1000], id="1000/10 keeps its last"),
        pytest.param(81, 1, 3, [1, 3, 9, 27, 81], id="81/3"),
        pytest.param(125, 1, 5, [1, 5, 25, 125], id="125/5"),
        pytest.param(64, 1, 4, [1, 4, 16, 64], id="64/4"),
        pytest.param(242, 1, 3, [1, 3, 9, 27, 81], id="one short of the next"),
        pytest.param(40, 5, 2, [5, 10, 20, 40], id="a grace period"),
        pytest.param(30, 1.5, 3, [1.5, 4.5, 13.5], id="a grace period that is not whole"),
        pytest.param(4, 1, 1.5, [1, 1.5, 2.25, 3.375], id="a factor that is not whole"),
        pytest.param(1.34, 1, 1.1, [1, 1.1, 1.21, 1.331], id="decimals as the user wrote them"),
        pytest.param(0.3, 0.1, 3, [0.1, 0.3], id="0.1 three times is 0.3"),
        pytest.param(7, 7, 4, [7], id="a grace period that is the whole budget"),
        pytest.param(10, 1, 1000, [1], id="a factor beyond max_t"),
    ],
)
def test_milestones(max_t: float, grace_period: float, factor: float, expected: list[float]) -> None:
    """Grace, times the factor, and again, up to and including max_t."""
    assert milestones(Asha(max_t=max_t, grace_period=grace_period, reduction_factor=factor)) == expected


def test_a_whole_milestone_is_a_whole_number() -> None:
    """It is shown to people: rung 4, not rung 4.0, whatever type the settings came in."""
    times = milestones(Asha(max_t=100.0, grace_period=1.0, reduction_factor=4.0))
    assert [repr(time) for time in times] == ["1", "4", "16", "64"]


def test_the_least_settings_make_few_rungs() -> None:
    """No settings within the bounds make the rungs many: ln(9e15 / 1e-6) / ln 1.1 is 530.8."""
    assert len(milestones(Asha(max_t=9e15, grace_period=1e-6, reduction_factor=1.1))) == 531


@pytest.mark.parametrize(
    ("factor", "losses", "cutoff"),
    [
        pytest.param(4, [3], 3, id="one entry is the cutoff, whatever the factor"),
        pytest.param(1.5, [3], 3, id="one entry, small factor"),
        pytest.param(2, [1, 3], 2, id="half-way"),
        pytest.param(4, [0, 1, 2, 3, 4], 1, id="on an entry"),
        pytest.param(4, [0, 1, 2, 3], Fraction(3, 4), id="three quarters of the way"),
        pytest.param(3, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 4, id="where doubles miss the entry"),
        pytest.param(1.5, [0, 3, 6, 9], 6, id="two thirds survive"),
        pytest.param(2.5, [0, 10, 20, 30], 12, id="three fifths of the way back"),
        pytest.param(10, [5, 5, 5, 5, 0], Fraction(2), id="ties above"),
        pytest.param(2, [1, 5, 5, 5, 9], 5, id="ties around"),
    ],
)
def test_cutoff(factor: float, losses: list[float], cutoff: Fraction) -> None:
    """The place is (n-1)/factor among the losses, best first; a tie continues, the next double is stopped."""
    state = single(reduction_factor=factor)
    for trial, loss in enumerate(losses):
        report(state, trial, 1, loss)
    at = float(cutoff)
    tie, worse = (state.judge(99, {"training_iteration": 1}, loss) for loss in (at, math.nextafter(at, math.inf)))
    assert (tie.decision, worse.decision) == (Decision.CONTINUE, Decision.STOP)
    assert tie.facts["cutoff_loss"] == pytest.approx(at)


@pytest.mark.parametrize("factor", [2, 3, 4, 1.5, 2.5, 1.1])
def test_cutoff_of_many(factor: float) -> None:
    """With a thousand entries in any order the cutoff is the sorted list's entry at the place, at each size on the way."""
    losses = random.Random(5).choices(range(300), k=1000)
    state = single(reduction_factor=factor)
    for count, loss in enumerate(losses):
        place = Fraction(count - 1) / Fraction(str(factor))
        if count and place.denominator == 1:
            expected = sorted(losses[:count])[place.numerator]
            assert state.judge(count, {"training_iteration": 1}, 0.0).facts["cutoff_loss"] == expected
        state.observe(count, {"training_iteration": 1}, float(loss))


@pytest.mark.parametrize(
    ("losses", "loss", "expected"),
    [
        pytest.param([], math.inf, Decision.CONTINUE, id="the first is never stopped"),
        pytest.param([math.inf] * 5, math.inf, Decision.CONTINUE, id="nothing finite is there"),
        pytest.param([math.inf] * 5, 9.0, Decision.CONTINUE, id="the first finite one among those that diverged"),
        pytest.param([0.5, *[math.inf] * 9], math.inf, Decision.STOP, id="one finite among ten is enough"),
        pytest.param([0.5, *[math.inf] * 9], 9.0, Decision.CONTINUE, id="finite, and better than the infinite cutoff"),
        pytest.param([0.5, math.inf], 9.0, Decision.CONTINUE, id="between a finite and an infinite one there is no cutoff"),
        pytest.param([0.5, 0.6, 0.7, 0.8, math.inf], 0.61, Decision.STOP, id="a diverged one does not disable the rung"),
        pytest.param([-1.7e308, 1.7e308, 1.7e308], 1.6e308, Decision.STOP, id="differences beyond the doubles"),
    ],
)
def test_what_is_not_finite_is_the_worst(losses: list[float], loss: float, expected: Decision) -> None:
    """Recorded as the worst, stopped as soon as anything finite is there, and no obstacle to a finite one."""
    state = single()
    for trial, entry in enumerate(losses):
        report(state, trial, 1, entry)
    assert state.judge(99, {"training_iteration": 1}, loss).decision is expected


def test_a_verdict_at_a_rung_says_what_it_is_built_on() -> None:
    """What `explain` shows: rung, bracket, time, loss, cutoff, peers."""
    state = AshaState(Asha(brackets=2), lambda _: 1)
    assert report(state, 0, 5, 0.25) == Verdict(
        Decision.CONTINUE, "Asha", {"rung": 4, "bracket": 1, "time": 5, "loss": 0.25, "cutoff_loss": None, "peers": 0}
    )
    assert report(state, 1, 4, 0.5) == Verdict(
        Decision.STOP, "Asha", {"rung": 4, "bracket": 1, "time": 4, "loss": 0.5, "cutoff_loss": 0.25, "peers": 1}
    )


def test_the_end_of_the_budget_is_complete() -> None:
    """At max_t a trial ends, however good or bad it is, and has lost nothing by it."""
    state = single(max_t=10)
    for trial, loss in enumerate([0.0, 5.0, math.inf]):
        verdict = report(state, trial, 10, loss)
        assert verdict == Verdict(Decision.STOP, "MaxT", {"time": 10, "max_t": 10, "loss": loss}, complete=True)


def test_between_rungs_there_is_nothing_to_say() -> None:
    """Before the grace period, and after a rung where the trial is recorded."""
    state = single(grace_period=2)
    assert report(state, 0, 1, 9.0) == CONTINUE
    assert report(state, 0, 2, 9.0).facts["rung"] == 2
    assert report(state, 0, 3, 99.0) == CONTINUE


def test_a_retry_is_judged_where_it_has_no_entry() -> None:
    """Begun anew from 1, a trial keeps its entries: it passes the rungs it had, and is judged at the next."""
    state = single(max_t=16, reduction_factor=4)
    report(state, 0, 1, 0.1)
    report(state, 0, 4, 0.1)
    report(state, 1, 1, 0.05)
    assert [report(state, 1, time, 9.0).decision.value for time in (1, 2, 3, 4)] == ["Continue", "Continue", "Continue", "Stop"]


def test_a_bracket_begins_a_rung_later() -> None:
    """Bracket s leaves out the first s rungs, and shares none with another bracket."""
    state = AshaState(Asha(max_t=64, brackets=3), lambda trial: trial % 3)
    seen = {trial: [report(state, trial, time, 0.0).facts.get("rung") for time in (1, 4, 16)] for trial in range(3)}
    assert seen == {0: [1, 4, 16], 1: [None, 4, 16], 2: [None, None, 16]}
    assert state.judge(3, {"training_iteration": 16}, 1.0).facts["peers"] == 1


def test_a_bracket_without_rungs_only_ends() -> None:
    """More brackets than rungs, as in Ray: such a trial is stopped by nothing but max_t."""
    state = AshaState(Asha(max_t=10, brackets=5), lambda _: 4)
    assert report(state, 0, 9, 5.0) == CONTINUE
    assert report(state, 0, 10, 5.0).reason == "MaxT"


def drawn(settings: Asha, seed: int, trials: int) -> list[int]:
    """Learn each trial's bracket from the verdict at its first judgement."""
    state = settings.begin(seed)
    return [state.judge(trial, {"training_iteration": 81}, 0.0).facts["bracket"] for trial in range(trials)]


def test_brackets_are_drawn_by_a_softmax_over_their_rungs() -> None:
    """Ray's odds: e^0, e^-1, e^-2 for brackets of 5, 4 and 3 rungs; 5 standard deviations are the tolerance."""
    count = 20_000
    seen = Counter(drawn(Asha(max_t=243, reduction_factor=3, brackets=3), 7, count))
    for bracket, odds in enumerate([0.66524, 0.24473, 0.09003]):
        assert abs(seen[bracket] - count * odds) < 5 * math.sqrt(count * odds * (1 - odds))


def test_brackets_follow_from_seed_and_number() -> None:
    """The same after a restart, whatever was asked before; another seed draws others."""
    settings = Asha(max_t=243, reduction_factor=3, brackets=4)
    assert drawn(settings, 7, 50) == drawn(settings, 7, 50)
    assert drawn(settings, 7, 50) != drawn(settings, 8, 50)
    alone = settings.begin(7).judge(49, {"training_iteration": 81}, 0.0).facts["bracket"]
    assert alone == drawn(settings, 7, 50)[49]


def test_defaults_are_rays() -> None:
    """AsyncHyperBandScheduler's own."""
    settings = Asha()
    assert (settings.time_attr, settings.max_t, settings.grace_period) == ("training_iteration", 100, 1)
    assert (settings.reduction_factor, settings.brackets) == (4, 1)


def test_every_setting_is_declared() -> None:
    """Each field has bounds and words for the resource; what crosses fields is a rule."""
    assert all(field.metadata[KEY].description for field in fields(Asha))
    (rule,) = Asha.RULES
    assert (rule.field, rule.holds(Asha(max_t=1, grace_period=1)), rule.holds(Asha(max_t=1, grace_period=2))) == (
        "maxT",
        True,
        False,
    )
