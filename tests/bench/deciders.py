"""What `decisions` times in its own process: our schedulers by their protocol, and for each a floor, the least that could do.

Both are given the same losses: of the trials that are there already, and of those whose decisions are timed.
"""

from __future__ import annotations

import gc
import time
from bisect import insort
from collections.abc import Callable, Sequence

from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.trials import SchedulerState

Losses = Sequence[float]
Decider = Callable[[Losses, Losses], float]  # (there already, to be decided) -> microseconds for one decision


def asha(filled: Losses, fresh: Losses) -> float:
    """Time our ASHA, with the settings that Ray and we have by default: reports of trials that are new at a rung."""
    state = Asha().begin(7)
    for trial, loss in enumerate(filled):
        state.observe(trial, at(1, loss), loss)
    return decisions(state, 1, fresh, first=len(filled))


def asha_floor(filled: Losses, fresh: Losses) -> float:
    """Time the least that finds a cutoff and keeps a loss: a sorted list for each rung, doubles, no brackets, no words."""
    rungs: list[tuple[int, list[float]]] = [(64, []), (16, []), (4, []), (1, sorted(filled))]

    def stops(time: int, loss: float) -> bool:
        for milestone, losses in rungs:
            if time >= milestone:
                place = (len(losses) - 1) / 4
                low = int(place)
                cutoff = losses[low] + (losses[low + 1] - losses[low]) * (place - low)
                insort(losses, loss)
                return loss > cutoff
        return False

    def decide() -> None:
        for loss in fresh:
            stops(1, loss)

    return clock(decide) / len(fresh)


def median(filled: Losses, fresh: Losses) -> float:
    """Time our median stopping at step 2, where all who are there have reported before, and have reported at step 1 too."""
    return decisions(_at_step_2(filled, fresh), 2, fresh, first=len(filled))


def median_anew(filled: Losses, fresh: Losses) -> float:
    """Time it at times that nobody has been at, all others being further: what a time costs that does not repeat."""
    state = _at_step_2(filled, fresh)
    reports = [(trial, at(1 + trial * 1e-9, loss), loss) for trial, loss in enumerate(fresh, len(filled))]

    def decide() -> None:
        for report in reports:
            state.judge(*report)
            state.observe(*report)

    return clock(decide) / len(fresh)


def median_floor(filled: Losses, fresh: Losses) -> float:
    """Time the least that finds a median of averages and keeps another: a sorted list for each time, sums in doubles, no words."""
    trials = {trial: (loss, 1, loss) for trial, loss in enumerate([*filled, *fresh])}  # sum, count, best
    averages = {2: sorted((loss + other) / 2 for loss, other in zip(filled, reversed(filled), strict=True))}

    def stops(trial: int, time: int, loss: float) -> bool:
        total, count, best = trials[trial]
        total, count, best = trials[trial] = (total + loss, count + 1, min(best, loss))
        there = averages[time]
        median = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2
        insort(there, total / count)
        return best > median

    reports = list(enumerate(reversed(fresh), len(filled)))

    def decide() -> None:
        for trial, loss in reports:
            stops(trial, 2, loss)

    return clock(decide) / len(fresh)


def decisions(state: SchedulerState, step: int, fresh: Losses, first: int) -> float:
    """Time `judge` and `observe` of one report of each fresh trial."""
    reports = [(trial, at(step, loss), loss) for trial, loss in enumerate(reversed(fresh), first)]

    def decide() -> None:
        for report in reports:
            state.judge(*report)
            state.observe(*report)

    return clock(decide) / len(fresh)


def at(step: float, loss: float) -> dict[str, float]:
    """Give a report as a scheduler sees it."""
    return {"training_iteration": step, "loss": loss}


def clock(work: Callable[[], None]) -> float:
    """Time one call, in microseconds, without the garbage collector (as timeit does)."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - started) / 1000
    finally:
        gc.enable()


def _at_step_2(filled: Losses, fresh: Losses) -> SchedulerState:
    state = MedianStopping("training_iteration", grace_period=1).begin(7)
    for trial, loss in enumerate([*filled, *fresh]):
        state.observe(trial, at(1, loss), loss)
    for trial, loss in enumerate(reversed(filled)):
        state.observe(trial, at(2, loss), loss)
    # The first that are asked about at a time have it worked out; here the first of many has come and gone.
    state.judge(len(filled), at(2, fresh[0]), fresh[0])
    return state
