"""A certificate that the administrator brings: the operator shows it, and what runs believes its authority."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from kubetune_operator import certificates
from tests.e2e.experiments import PROGRAM, body, finished, pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import CHART, NAMESPACE, Operator, helm

NAMES = (f"kubetune.{NAMESPACE}.svc",)


def test_a_certificate_of_the_administrators_own(operator: Operator, kubectl: Kubectl) -> None:
    now = dt.datetime.now(dt.UTC)
    authority = certificates.establish(certificates.new_key(), NAMES, now)
    wanted = body("brought", PROGRAM, numSamples=2, scheduler={})
    wanted["spec"]["trial"]["retainPods"] = "All"
    with _shown(operator, authority, certificates.sign(authority, NAMES, now)):
        kubectl.apply(wanted)
        found = finished(kubectl, "brought", seconds=120)
    assert found["status"]["state"] == "Completed"
    assert [len(rows) for rows in operator.reports(f"{kubectl.namespace}/brought").values()] == [3, 3]
    believed = {"name": "KUBETUNE_CA_PEM", "value": authority.public.decode()}
    made = pods(kubectl, "brought").values()
    assert [believed in pod["spec"]["initContainers"][0]["env"] for pod in made] == [True, True]


@contextmanager
def _shown(operator: Operator, authority: certificates.Pair, server: certificates.Pair) -> Iterator[None]:
    """Have the operator show this certificate, by a Secret as cert-manager makes it; its own one again at the end."""
    key = server.secret.removesuffix(server.public)
    content = {"tls.crt": server.public, "tls.key": key, "ca.crt": authority.public}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "brought"}}
    operator.kubectl.apply(secret | {"data": {name: base64.b64encode(each).decode() for name, each in content.items()}})
    try:
        _upgrade(operator, "brought")
        yield
    finally:
        _upgrade(operator, "")
        operator.kubectl("delete", "secret", "brought")


def _upgrade(operator: Operator, secret: str) -> None:
    operator.is_steady()
    helm("upgrade", "kubetune", str(CHART), "--reuse-values", "--set", f"tls.existingSecret={secret}", "--wait")
    operator.meet()
