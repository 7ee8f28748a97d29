"""From the resource's parameters, constraints and points to core's search space, with every expression compiled.

What a field may hold by itself is in `parameters` and `search`; what stands between several of them is found here.
"""

from __future__ import annotations

from kubetune_operator.api.base import Model
from kubetune_operator.api.parameters import domain
from kubetune_operator.api.spec import Spec
from kubetune_operator.core.expressions import PARAMS, RESULT, TRIAL_ID, Expression, ExpressionRefused, Language
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.space_checks import point_problems, read_problems, size_problems
from kubetune_operator.errors import Problem


class Compiler:
    """Compiles the expressions of one spec, and keeps what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._languages: dict[tuple[str, ...], Language] = {}

    def space(self, spec: Spec) -> Space | None:
        """Make the search space; None where something is wrong, which is then among the problems."""
        before = len(self.problems)
        parameters = [self._parameter(each, f"spec.parameters[{index}]") for index, each in enumerate(spec.parameters)]
        constraints = [
            self._compiled(text, f"spec.constraints[{index}]", PARAMS, condition=True)
            for index, text in enumerate(spec.constraints)
        ]
        if len(self.problems) > before:
            return None
        points = tuple(spec.search.points_to_evaluate)
        made = Space(tuple(each for each in parameters if each), tuple(each for each in constraints if each), points)
        for one in (*read_problems(made), *point_problems(made), *size_problems(made)):
            self.problems.append(Problem(f"spec.{one.field}", one.rule, one.value, one.remedy))
        return made if len(self.problems) == before else None

    def stop(self, spec: Spec) -> Expression | None:
        """Compile `stop.expression`; None where there is none, or it is wrong."""
        text = spec.stop.expression
        return None if text is None else self._compiled(text, "spec.stop.expression", TRIAL_ID, RESULT, condition=True)

    def _parameter(self, parameter: Model, place: str) -> Parameter | None:
        when, drawn = parameter.value_at("when"), parameter.value_at("sampleFrom")
        condition = None if when is None else self._compiled(when, f"{place}.when", PARAMS, condition=True)
        if drawn is None:
            return Parameter(parameter.value_at("name"), domain(parameter), condition)
        expression = self._compiled(drawn, f"{place}.sampleFrom", PARAMS, condition=False)
        return None if expression is None else Parameter(parameter.value_at("name"), expression, condition)

    def _compiled(self, text: str, place: str, *variables: str, condition: bool) -> Expression | None:
        if variables not in self._languages:
            self._languages[variables] = Language(*variables)
        try:
            return self._languages[variables].compile(text, condition=condition, draws=not condition)
        except ExpressionRefused as refused:
            self.problems.append(Problem(place, refused.wrong.rule, text, refused.wrong.remedy))
            return None
