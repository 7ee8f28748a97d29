"""Programs made from templates: `kubetune_operator.pods`.

The table of expansion restates what Kubernetes' own test expects (third_party/forked/golang/expansion).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator import pods
from kubetune_operator.errors import ClusterError
from tests.shell.manifests import template

TRIAL = pods.TrialIdentity(experiment="digits", name="digits-00012", number=12, attempt=1, seed=77)
PARAMS = {"lr": 0.1, "optimizer.name": "sgd", "units": 64}


def argv(*args: str, params: Mapping[str, Any] = PARAMS) -> list[str]:
    return list(pods.program(template(*args), None, TRIAL, params).argv[1:])


def env(params: Mapping[str, Any] = PARAMS, **values: str) -> dict[str, str]:
    entries = [{"name": name, "value": value} for name, value in values.items()]
    found = pods.program(template(env=entries), None, TRIAL, params).env
    return {name: value for name, value in found.items() if name in values}


class TestFill:
    """What `program` writes where."""

    @pytest.mark.parametrize(
        ("item", "filled"),
        [
            pytest.param("--lr=${params.lr}", "--lr=0.1", id="parameter"),
            pytest.param("${params.optimizer.name}", "sgd", id="dotted name"),
            pytest.param("${params.lr}/${params.units}", "0.1/64", id="several"),
            pytest.param("${trial.name}-${trial.number}-${trial.attempt}", "digits-00012-12-1", id="the trial"),
            pytest.param("$${params.lr}", "$${params.lr}", id="protected from us"),
            pytest.param("$$${params.lr}", "$$0.1", id="a literal dollar before"),
            pytest.param("${HOME}/$PATH/$(NAME)", "${HOME}/$PATH/$(NAME)", id="a shell's and the kubelet's stay"),
            pytest.param("${OUT:-${params.lr}}", "${OUT:-0.1}", id="inside a shell's"),
            pytest.param("a ${args} b", "a ${args} b", id="args inside a longer item stays"),
        ],
    )
    def test_of_an_item(self, item: str, filled: str) -> None:
        assert argv(item) == [filled]

    @pytest.mark.parametrize(
        ("value", "spelled"),
        [
            pytest.param("a b", "a b", id="string as it is"),
            pytest.param("NaN", "NaN", id="a word is a string"),
            pytest.param(1e-05, "1e-05", id="small float"),
            pytest.param(0.1 + 0.2, "0.30000000000000004", id="float to the last bit"),
            pytest.param(2.0, "2.0", id="whole float stays a float"),
            pytest.param(2**63, "9223372036854775808", id="large whole number"),
            pytest.param(True, "true", id="true"),
            pytest.param(False, "false", id="false"),
            pytest.param(None, "null", id="null"),
            pytest.param([1, "é"], '[1,"é"]', id="list as compact JSON"),
            pytest.param({"a": {"b": 0.5}}, '{"a":{"b":0.5}}', id="object as compact JSON"),
        ],
    )
    def test_spelling_of_a_value(self, value: Any, spelled: str) -> None:
        assert argv("x=${params.v}", params={"v": value}) == [f"x={spelled}"]
        assert pods.program(template(), None, TRIAL, {"v": value}).env["KUBETUNE_PARAM_V"] == spelled

    def test_args_is_one_item_for_each_parameter_in_order(self) -> None:
        assert argv("a", "${args}", "b") == ["a", "--lr=0.1", "--optimizer.name=sgd", "--units=64", "b"]

    def test_args_of_no_parameters_is_nothing(self) -> None:
        assert argv("${args}", params={}) == []

    def test_args_works_in_command_too(self) -> None:
        program = pods.program(template(command=["run", "${args}"]), None, TRIAL, {"lr": 1})
        assert program.argv == ("run", "--lr=1")

    def test_an_item_naming_an_absent_parameter_is_dropped_whole(self) -> None:
        assert argv("--a=${params.lr}", "--m=${params.momentum}", "b", "${params.lr}${params.momentum}") == ["--a=0.1", "b"]

    def test_a_protected_absent_parameter_drops_nothing(self) -> None:
        assert argv("$${params.momentum}") == ["$${params.momentum}"]

    def test_a_variable_that_is_nothing_but_an_absent_parameter_is_left_out(self) -> None:
        assert env(A="${params.momentum}", B="${params.lr}") == {"B": "0.1"}

    def test_an_absent_parameter_inside_a_longer_variable_is_refused(self) -> None:
        with pytest.raises(ClusterError, match=r"the value of A names a parameter that this trial does not have, got m="):
            env(A="m=${params.momentum}")

    def test_only_command_args_and_env_values_are_filled(self) -> None:
        entries = [{"name": "${trial.name}", "value": "${trial.name}"}]
        program = pods.program(template(env=entries, workingDir="/${trial.name}"), None, TRIAL, PARAMS)
        assert (program.cwd, program.env["${trial.name}"]) == ("/${trial.name}", "digits-00012")

    def test_a_substituted_value_is_not_filled_again(self) -> None:
        assert argv("${params.a}", params={"a": "${params.b}", "b": "x"}) == ["$${params.b}"]

    def test_the_named_container_is_the_trial(self) -> None:
        two = {"spec": {"containers": [{"name": "a", "command": ["a"]}, {"name": "b", "command": ["b"]}]}}
        assert pods.program(two, "b", TRIAL, {}).argv == ("b",)

    @pytest.mark.parametrize(("given", "grace"), [({}, 30.0), ({"terminationGracePeriodSeconds": 5}, 5.0)])
    def test_grace_is_kubernetes_default_or_the_templates(self, given: dict[str, Any], grace: float) -> None:
        filled = template()
        filled["spec"] |= given
        assert pods.program(filled, None, TRIAL, {}).grace == grace


class TestIdentity:
    """The variables that every trial has."""

    def test_they_name_the_trial_and_its_parameters(self) -> None:
        assert pods.program(template(), None, TRIAL, PARAMS).env == {
            "KUBETUNE_EXPERIMENT": "digits",
            "KUBETUNE_TRIAL": "digits-00012",
            "KUBETUNE_TRIAL_NUMBER": "12",
            "KUBETUNE_ATTEMPT": "1",
            "KUBETUNE_SEED": "77",
            "KUBETUNE_PARAM_LR": "0.1",
            "KUBETUNE_PARAM_OPTIMIZER_NAME": "sgd",
            "KUBETUNE_PARAM_UNITS": "64",
        }

    def test_the_templates_own_variables_may_refer_to_them(self) -> None:
        found = pods.program(template(env=[{"name": "RUN", "value": "run-$(KUBETUNE_TRIAL)"}]), None, TRIAL, {})
        assert pods.resolve(found, {}).env["RUN"] == "run-digits-00012"


EXPANSION = {"VAR_A": "A", "VAR_B": "B", "VAR_C": "C", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}


class TestExpand:
    """The kubelet's `$(NAME)`."""

    @pytest.mark.parametrize(
        ("text", "expanded"),
        [
            ("$(VAR_A)", "A"),
            ("$(VAR_A)-$(VAR_A)", "A-A"),
            ("___$(VAR_B)___", "___B___"),
            ("$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
            ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
            ("$$(VAR_A)_$$(VAR_B)", "$(VAR_A)_$(VAR_B)"),
            ("f000-$$VAR_A", "f000-$VAR_A"),
            (r"foo\$(VAR_C)bar", r"foo\Cbar"),
            (r"foo\\$(VAR_C)bar", r"foo\\Cbar"),
            ("$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))"),
            ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%"),
            ("foo$(VAR_EMPTY)bar", "foobar"),
            ("foo$(VAR_Awhoops!", "foo$(VAR_Awhoops!"),
            ("f00__(VAR_A)__", "f00__(VAR_A)__"),
            ("$?_boo_$!", "$?_boo_$!"),
            ("$VAR_A", "$VAR_A"),
            ("$(VAR_DNE)", "$(VAR_DNE)"),
            ("$$$$$$(BIG_MONEY)", "$$$(BIG_MONEY)"),
            ("$$$$$$(VAR_A)", "$$$(VAR_A)"),
            ("$$$$$$$(GOOD_ODDS)", "$$$$(GOOD_ODDS)"),
            ("$$$$$$$(VAR_A)", "$$$A"),
            ("$VAR_A)", "$VAR_A)"),
            ("${VAR_A}", "${VAR_A}"),
            ("$(VAR_B)_______$(A", "B_______$(A"),
            ("$(VAR_C)_______$(", "C_______$("),
            ("$(VAR_A)foobarzab$", "Afoobarzab$"),
            ("--$($($($($--", "--$($($($($--"),
            ("$($($($($--foo$(", "$($($($($--foo$("),
            ("$(foo$$var)", "$(foo$$var)"),
            ("\n", "\n"),
        ],
    )
    def test_as_kubernetes_own_table(self, text: str, expanded: str) -> None:
        assert pods.expand(text, EXPANSION) == expanded

    def test_a_variable_refers_to_those_before_it_and_no_others(self) -> None:
        entries = [("ZOO", "$(FOO)-1"), ("FOO", "bar"), ("BLU", "$(FOO)-2")]
        found = pods.program(template("$(BLU)", env=[{"name": n, "value": v} for n, v in entries]), None, TRIAL, {})
        resolved = pods.resolve(found, {"ZOO": "not ours", "FOO": "not ours"})
        assert [resolved.env[name] for name, _ in entries] == ["$(FOO)-1", "bar", "bar-2"]
        assert resolved.argv == ("run", "bar-2")

    def test_an_inherited_variable_is_taken_as_it_is(self) -> None:
        secret = {"secretKeyRef": {"name": "a", "key": "b"}}
        entries = [{"name": "TOKEN", "valueFrom": secret}, {"name": "X", "value": "<$(TOKEN)>"}]
        found = pods.program(template(env=entries), None, TRIAL, {})
        assert found.inherited == ("TOKEN",)
        assert pods.resolve(found, {"TOKEN": "a$$b", "OTHER": "x"}).env["X"] == "<a$$b>"

    @given(st.text(st.sampled_from("$(){}AB params.lr"), max_size=12), st.text(st.sampled_from("(){}A\\ "), max_size=6))
    def test_a_parameter_arrives_as_it_is_whatever_it_holds(self, value: str, after: str) -> None:
        found = pods.program(template("${params.v}", "--v=${params.v}" + after), None, TRIAL, {"v": value})
        assert pods.resolve(found, {"A": "x"}).argv[1:] == (value, f"--v={value}{after}")

    def test_a_hostile_value_stays_data(self) -> None:
        value = '"; rm -rf / # $(id) `id` {{7*7}} ", "privileged": true'
        found = pods.program(template("${params.v}", command=["printf", "%s"]), None, TRIAL, {"v": value})
        assert subprocess.run(pods.resolve(found, {}).argv, capture_output=True, text=True, check=True).stdout == value


class TestRequests:
    """What a trial asks of its machine."""

    def test_nothing_asked(self) -> None:
        assert pods.requests(template()) == pods.Requests(cpu=None, memory=None, gpus=0)

    def test_requests_before_limits_one_by_one_and_all_containers_together(self) -> None:
        first = {"requests": {"cpu": "250m"}, "limits": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": 1}}
        second = {"requests": {"cpu": 1.5, "memory": "0.5Gi"}, "limits": {"amd.com/gpu": "2"}}
        both = {"spec": {"containers": [{"name": "a", "resources": first}, {"name": "b", "resources": second}]}}
        assert pods.requests(both) == pods.Requests(cpu=1.75, memory=3 * 2**29, gpus=3)

    def test_memory_is_whole_bytes_rounded_up(self) -> None:
        assert pods.requests(template(resources={"requests": {"memory": "1500m"}})).memory == 2
