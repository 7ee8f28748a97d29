"""What ends a trial by `spec.stop`: metrics, the expression, the plateau. Asked at each of its reports, by the fold alone.

Schedulers are asked only where these are silent, and are not known here. What ends the whole experiment is in `endings`.
"""

from __future__ import annotations

from kubetune_operator.core.expressions import RESULT, TRIAL_ID, Expression, ExpressionFailed
from kubetune_operator.core.plateaus import TrialPlateaus
from kubetune_operator.core.records import Reported
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.trials import COUNTED, Decision, Flat, Verdict


class Stops:
    """The criteria of one experiment, and what they remember of its trials."""

    def __init__(self, spec: Spec) -> None:
        self._metrics = spec.stop
        self._expression = spec.stop_expression
        self._plateaus = None if spec.stop_plateau is None else TrialPlateaus(spec.stop_plateau, spec.objective.mode)

    def observe(self, trial: int, flat: Flat) -> None:
        """Remember a report; called once for each that counts, before `judge`."""
        if self._plateaus is not None:
            self._plateaus.observe(trial, flat)

    def judge(self, name: str, report: Reported, flat: Flat) -> tuple[Verdict | None, str]:
        """Say whether a report ends its trial, which has this name; and what went wrong, if the expression could not be asked."""
        for metric, threshold in self._metrics.items():
            value = flat.get(metric)
            if isinstance(value, (int, float)) and value >= threshold:
                facts = {"metric": metric, "value": value, "threshold": threshold}
                return Verdict(Decision.STOP, "StopMetrics", facts, complete=True), ""
        failed = ""
        if self._expression is not None:
            try:
                if _holds(self._expression, name, report, flat):
                    return Verdict(Decision.STOP, "StopExpression", {"expression": self._expression.text}, complete=True), ""
            except ExpressionFailed as error:  # counts as false
                failed = f"stop.expression counts as false where it cannot be evaluated: {error}"
        return (None if self._plateaus is None else self._plateaus.judge(report.trial)), failed

    def forget(self, trial: int) -> None:
        """Take note that an attempt of this trial is over."""
        if self._plateaus is not None:
            self._plateaus.forget(trial)


def _holds(expression: Expression, name: str, report: Reported, flat: Flat) -> bool:
    """Ask an expression about a report, nested as it came, and with what was filled in."""
    result = {**report.metrics, **{name: flat[name] for name in COUNTED}}
    return expression.holds({TRIAL_ID: name, RESULT: result})
