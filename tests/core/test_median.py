"""Median stopping case by case: who the peers are, what they stand for, and what a verdict says."""

from __future__ import annotations

import math
import random
from dataclasses import fields
from statistics import fmean

import pytest

from kubetune_operator.core.bounds import KEY
from kubetune_operator.core.schedulers.median import MedianStopping, MedianStoppingState
from kubetune_operator.core.trials import CONTINUE, Decision, Verdict


def report(state: MedianStoppingState, trial: int, time: float, loss: float) -> Verdict:
    """Ask, then let it be remembered."""
    verdict = state.judge(trial, {"step": time}, loss)
    state.observe(trial, {"step": time}, loss)
    return verdict


def begun(*losses: float, grace_period: float = 1, samples: int = 1, hard_stop: bool = True) -> MedianStoppingState:
    """Begin with one trial for each loss, which it reported at step 1."""
    state = MedianStopping("step", grace_period, samples, hard_stop=hard_stop).begin(0)
    for trial, loss in enumerate(losses):
        state.observe(trial, {"step": 1}, loss)
    return state


@pytest.mark.parametrize(
    ("losses", "median"),
    [
        pytest.param([3], 3, id="one"),
        pytest.param([9, 1], 5, id="half-way between two"),
        pytest.param([9, 1, 2], 2, id="the middle, not the mean"),
        pytest.param([0, 0, 0, 100], 0, id="one that is far off"),
        pytest.param([4, 1, 3, 2], 2.5, id="half-way between the middle two"),
        pytest.param([5, 5, 5], 5, id="all alike"),
        pytest.param([0.3, 0.1], 0.2, id="half-way in decimals"),
        pytest.param([1.5e308, 1.7e308], 1.6e308, id="a sum beyond the doubles"),
        pytest.param([-1.7e308, 1.7e308], 0, id="far apart"),
        pytest.param([math.inf, 1, 2], 2, id="one that diverged is the worst"),
        pytest.param([math.inf, 1], math.inf, id="half-way to one that diverged"),
    ],
)
def test_the_median(losses: list[float], median: float) -> None:
    """A tie continues; the next double is stopped."""
    state = begun(*losses)
    tie = state.judge(99, {"step": 1}, min(median, 1.7e308))
    assert (tie.decision, tie.facts["median_loss"]) == (Decision.CONTINUE, median)
    if median < math.inf:
        assert state.judge(99, {"step": 1}, math.nextafter(median, math.inf)).decision is Decision.STOP


@pytest.mark.parametrize("seed", range(3))
def test_the_median_of_many(seed: int) -> None:
    """It is the sorted list's middle at each size on the way, though some trials report at that time again in between."""
    rng = random.Random(seed)
    state = begun()
    reported: list[list[int]] = []
    for trial in range(301):
        averages = sorted(fmean(values) for values in reported)
        if trial % 2:
            assert state.judge(trial, {"step": 1}, 0.0).facts["median_loss"] == averages[trial // 2]
        reported.append([])
        for one in [trial] if rng.randrange(4) else [trial, rng.randrange(trial + 1)]:
            reported[one].append(rng.randrange(50))
            state.observe(one, {"step": 1}, float(reported[one][-1]))


def test_a_verdict_says_what_it_is_built_on() -> None:
    """What `explain` shows: time, loss, the best so far, the median, how many peers."""
    state = begun(0.25, 0.75, samples=2)
    assert report(state, 2, 1, 0.5) == Verdict(
        Decision.CONTINUE,
        "MedianStopping",
        {"time": 1, "loss": 0.5, "best_loss": 0.5, "median_loss": 0.5, "peers": 2},
    )
    assert report(state, 0, 2, 0.5) == Verdict(
        Decision.CONTINUE,
        "MedianStopping",
        {"time": 2, "loss": 0.5, "best_loss": 0.25, "median_loss": None, "peers": 0},
    )
    assert report(state, 3, 1, math.inf) == Verdict(
        Decision.STOP,
        "MedianStopping",
        {"time": 1, "loss": math.inf, "best_loss": math.inf, "median_loss": 0.5, "peers": 3},
    )


def test_before_the_grace_period_there_is_nothing_to_say() -> None:
    """Nobody is stopped, however bad; what was reported then is in no average, but a trial's best it may be."""
    state = begun(0.9, 0.9, grace_period=2)
    assert report(state, 2, 1, 9.0) == CONTINUE
    for trial in (0, 1):
        report(state, trial, 2, 0.1)
    assert state.judge(2, {"step": 2}, 9.0).facts["median_loss"] == 0.1
    report(state, 3, 1, 0.05)
    assert report(state, 3, 2, 9.0).facts["best_loss"] == 0.05


def test_a_peer_is_whoever_has_come_as_far() -> None:
    """Stopped, ended or running; whoever is behind, reported only before the grace period, or never, is none."""
    state = begun(0.1, 0.2, 0.3, grace_period=1)
    report(state, 3, 0.5, 0.0)
    report(state, 3, 1, 0.4)
    state.ended(0)
    state.ended(77)
    assert state.judge(9, {"step": 1}, 0.0).facts["peers"] == 4
    report(state, 1, 2, 0.2)
    state.observe(4, {"step": 0.5}, 0.0)
    assert state.judge(9, {"step": 1.5}, 0.0).facts["peers"] == 1
    assert state.judge(9, {"step": 2}, 0.0).facts["peers"] == 1
    assert state.judge(9, {"step": 2.5}, 0.0).facts["peers"] == 0


def test_a_trial_that_skips_a_time_stands_there_for_what_it_had_before() -> None:
    """Whether that time is asked about for the first time or again, before the trial passes it or after."""
    state = begun(2, 4)
    report(state, 1, 3, 8)
    report(state, 2, 3, 7)
    assert state.judge(9, {"step": 2}, 0).facts["median_loss"] == 4
    report(state, 0, 2, 10)
    assert state.judge(9, {"step": 2}, 0).facts["median_loss"] == 5
    report(state, 0, 5, 100)
    assert state.judge(9, {"step": 2}, 0).facts["median_loss"] == 5
    assert state.judge(9, {"step": 4}, 0).facts["median_loss"] == 6


def test_begun_anew_a_trial_counts_only_as_far_as_it_has_come_again() -> None:
    """While it is behind it is no peer further on; there again, both attempts are in its average."""
    state = begun()
    for trial in (0, 1):
        for step in (1, 2, 3):
            report(state, trial, step, 1)
    assert state.judge(9, {"step": 3}, 0).facts["peers"] == 2
    report(state, 0, 1, 3)
    assert [state.judge(9, {"step": step}, 0).facts["peers"] for step in (1, 2, 3)] == [2, 1, 1]
    assert state.judge(1, {"step": 1}, 0).facts["median_loss"] == 2
    report(state, 0, 2, 3)
    assert state.judge(1, {"step": 2}, 0).facts["median_loss"] == 2
    assert state.judge(1, {"step": 3}, 0).facts["peers"] == 0


def test_without_hard_stop_it_pauses() -> None:
    """As Ray's does; whether anything is paused is not for the scheduler to say."""
    assert report(begun(0.1, hard_stop=False), 1, 1, 0.2).decision is Decision.PAUSE


def test_defaults_are_rays() -> None:
    """MedianStoppingRule's own."""
    settings = MedianStopping()
    assert (settings.time_attr, settings.grace_period, settings.min_samples_required) == ("time_total_s", 60.0, 3)
    assert (settings.min_time_slice, settings.hard_stop) == (0, True)


def test_every_setting_is_declared() -> None:
    """Each field has words for the resource."""
    assert all(field.metadata[KEY].description for field in fields(MedianStopping))
