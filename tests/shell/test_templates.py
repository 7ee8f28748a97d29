"""What is refused in a pod template, and in which words: `kubetune_operator.templates`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator import pods, templates
from tests.shell.manifests import Template, template

NAMES = ["lr", "optimizer.name"]
SPEC = "spec.trial.template.spec"
SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
ONE = template()["spec"]["containers"][0]

ARG = "containers[0].args[0]: "
VAR = "containers[0].env[0]"
PLACEHOLDER = "must name a parameter or a value of the trial"
MEANT_LR = "; did you mean ${params.lr}? ($${ is a literal ${)"

BAD: dict[str, tuple[Template, str]] = {
    "no spec": ({}, "containers: must have at least one container; add one with a name, an image and a command"),
    "no container": ({"spec": {"containers": []}}, "containers: must have at least one container, got []"),
    "container is no object": ({"spec": {"containers": ["a"]}}, "containers[0]: must be an object with a name, got 'a'"),
    "container without a name": ({"spec": {"containers": [{}]}}, "containers[0]: must be an object with a name, got {}"),
    "misspelt parameter": (template("x${params.lrr}"), f"{ARG}{PLACEHOLDER}, got '${{params.lrr}}'{MEANT_LR}"),
    "misspelt namespace": (template("${param.lr}"), f"{ARG}{PLACEHOLDER}, got '${{param.lr}}'{MEANT_LR}"),
    "no namespace": (template("${lr}"), f"{ARG}{PLACEHOLDER}, got '${{lr}}'{MEANT_LR}"),
    "blanks inside": (template("${ params.lr }"), f"{ARG}{PLACEHOLDER}, got '${{ params.lr }}'{MEANT_LR}"),
    "no name": (template("${params.}"), f"{ARG}{PLACEHOLDER}, got '${{params.}}'"),
    "no such value": (template("${trial.nam}"), f"{ARG}{PLACEHOLDER}, got '${{trial.nam}}'; did you mean ${{trial.name}}?"),
    "nothing near": (template("${a.b}"), f"{ARG}{PLACEHOLDER}, got '${{a.b}}'; there are: ${{params.lr}}, ${{params.optimizer"),
    "args in a longer item": (
        template("x ${args}"),
        f"{ARG}must be nothing but ${{args}}, and in command or args, got 'x ",
    ),
    "unclosed": (template("${params.lr"), f"{ARG}must close every ${{ with a }}, got '${{params.lr'; write $${{ where"),
    "one of two unclosed": (template("${params.lr ${trial.name}"), f"{ARG}must close every ${{ with a }}"),
    "number in args": (template("a", 3), "containers[0].args[1]: must be a string, got 3; write it in quotes"),
    "command is no list": (template(command="run"), "containers[0].command: must be a list of strings, got 'run'"),
    "in command": (template(command=["${params.x}"]), f"containers[0].command[0]: {PLACEHOLDER}"),
    "number in env": (template(env=[{"name": "A", "value": 0}]), f"{VAR}.value: must be a string, got 0; write it in quotes"),
    "in env": (template(env=[{"name": "A", "value": "${params.x}"}]), f"{VAR}.value: {PLACEHOLDER}"),
    "args in env": (template(env=[{"name": "A", "value": "${args}"}]), f"{VAR}.value: must be nothing but ${{args}}"),
    "env is no list": (template(env={"A": "b"}), "containers[0].env: must be a list of variables, got {'A': 'b'}; write [{name"),
    "variable without a name": (template(env=[{"A": "b"}]), f"{VAR}: must be an object with a name, which holds no =, got"),
    "variable with =": (template(env=[{"name": "A=B"}]), f"{VAR}: must be an object with a name, which holds no =, got"),
    "our variables": (template(env=[{"name": "KUBETUNE_X"}]), f"{VAR}.name: must not begin with KUBETUNE_, which kubetune sets"),
    "workingDir": (template(workingDir=3), "containers[0].workingDir: must be a string, got 3"),
    "grace": (
        {"spec": {"containers": [ONE], "terminationGracePeriodSeconds": -1}},
        "terminationGracePeriodSeconds: must be a whole number, 0 or more, got -1",
    ),
    "no quantity": (
        template(resources={"requests": {"cpu": "half"}}),
        "containers[0].resources.requests.cpu: must be a Kubernetes quantity, got 'half'; write it as \"500m\"",
    ),
    "negative": (
        template(resources={"limits": {"memory": "-1Gi"}}),
        "containers[0].resources.limits.memory: must not be negative, got '-1Gi'",
    ),
    "resources is no object": (template(resources=["cpu"]), "containers[0].resources: must be an object with requests and"),
}


def problems(bad: Template, container: str | None = None, **more: Any) -> list[str]:
    return [str(problem) for problem in templates.problems(bad, container, NAMES, **more)]


@pytest.mark.parametrize(("bad", "message"), BAD.values(), ids=BAD)
def test_one_problem_each(bad: Template, message: str) -> None:
    (only,) = problems(bad)
    assert only.startswith(f"{SPEC}.{message}")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        pytest.param(None, "spec.trial.container: must say which of several containers is the trial's; they are: a, b", id="no"),
        pytest.param("c", "spec.trial.container: must name one container of the template, got 'c'; they are: a, b", id="unknown"),
    ],
)
def test_of_several_containers_one_must_be_chosen(container: str | None, message: str) -> None:
    assert problems({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}, container) == [message]


def test_every_problem_is_found_at_once() -> None:
    assert len(problems(template("${params.x}", 3, env=[{"name": "A", "value": "${trial.x}"}]))) == 3


@pytest.mark.parametrize(
    "fine",
    [
        template("${params.lr}", "${args}", "$${params.x}", "${HOME}", "${f%.txt}", "${A:-${B:-c}}", "cost: $5", "$(A)"),
        template(env=[{"name": "A"}, {"name": "B", "value": None}, SECRET], envFrom=[{"secretRef": {"name": "s"}}]),
        template(resources={"requests": {"cpu": 1, "memory": "1Gi"}, "limits": None}),
        {"spec": {"containers": [{"name": "a", "image": "i"}]}},
    ],
    ids=["placeholders", "variables", "resources", "the image's own command"],
)
def test_nothing_is_found_in(fine: Template) -> None:
    assert problems(fine) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(
            template("python train.py --lr=${params.lr}"),
            "containers[0].args[0]: must not hold ${params.lr} in a longer text, as a trial has it only where its `when` is true",
            id="a-script",
        ),
        pytest.param(
            template(env=[{"name": "A", "value": "lr=${params.lr}"}]),
            f"{VAR}.value: must not hold ${{params.lr}} in a longer text",
            id="a-variable",
        ),
    ],
)
def test_a_parameter_with_a_condition_is_not_part_of_a_longer_text(bad: Template, message: str) -> None:
    (only,) = problems(bad, optional=["lr"])
    assert only.startswith(f"{SPEC}.{message}")
    assert problems(bad) == []


def test_a_parameter_with_a_condition_may_be_left_out_of_an_item_or_a_variable() -> None:
    assert problems(template("--lr=${params.lr}", env=[{"name": "A", "value": "${params.lr}"}]), optional=["lr"]) == []


class TestOnThisMachine:
    """No image, no Secrets."""

    def test_a_command_is_needed(self) -> None:
        (only,) = problems({"spec": {"containers": [{"name": "a", "args": ["x"]}]}}, needs_command=True)
        assert only == (
            f"{SPEC}.containers[0].command: is required on this machine, where no image says what to run; "
            "for example [python, train.py]"
        )

    def test_a_secret_is_taken_from_the_callers_environment(self) -> None:
        assert problems(template(env=[SECRET]), local_env={"TOKEN": "x"}) == []
        (only,) = problems(template(env=[SECRET]), local_env={})
        assert only.startswith(f"{SPEC}.{VAR}.valueFrom: cannot be read on this machine, got ")
        assert only.endswith("; set TOKEN in your own environment")

    def test_what_holds_unnamed_variables_is_refused(self) -> None:
        (only,) = problems(template(envFrom=[{"secretRef": {"name": "s"}}]), local_env={"A": "b"})
        assert only.startswith(f"{SPEC}.containers[0].envFrom: cannot be read on this machine")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("${}params.lr", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cpu", "name", "value", "requests"]), inner),
    max_leaves=6,
)
FIELDS = ("name", "command", "args", "env", "envFrom", "workingDir", "resources")
CONTAINERS = JSON | st.lists(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda one: {"name": "trial", **one}))


@given(st.fixed_dictionaries({"spec": JSON | st.fixed_dictionaries({"containers": CONTAINERS})}))
def test_whatever_a_template_holds_either_a_problem_is_found_or_it_can_be_run(anything: Template) -> None:
    if not problems(anything):
        trial = pods.TrialIdentity(experiment="a", name="a-00000", number=0, attempt=0, seed=1)
        pods.resolve(pods.program(anything, None, trial, dict.fromkeys(NAMES, 0.1)), {})
        pods.requests(anything)
