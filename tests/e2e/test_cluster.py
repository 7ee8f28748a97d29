"""The cluster is fit for what the other tests do on it. When one of these fails, what the others say is worth nothing."""

from __future__ import annotations

import base64
import json
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import audit, images, manifests
from tests.e2e.kubectl import Kubectl, Manifest, Refused

LOOK_UP = "import socket, sys; print(*sorted({each[4][0] for each in socket.getaddrinfo(sys.argv[1], 80)}))"


def test_kubectl_is_within_one_minor_version_of_the_server(kubectl: Kubectl) -> None:
    found = json.loads(kubectl("version", "--output", "json"))
    client, server = (int(found[f"{side}Version"]["minor"].rstrip("+")) for side in ("client", "server"))
    assert abs(client - server) <= 1
    assert server >= 29, "native sidecars are on by default from 1.29"


def test_names_are_answered_by_the_clusters_own_dns(kubectl: Kubectl) -> None:
    program = f"print(open('/etc/resolv.conf').read()); {LOOK_UP}"
    looker = manifests.container(command=["python", "-c", program, "kubernetes.default.svc.cluster.local"])
    kubectl.apply(manifests.pod("looker", looker))
    *configuration, answer = kubectl.said("looker")
    assert f"nameserver {_address(Kubectl('kube-system'), 'kube-dns')}" in configuration
    assert answer == _address(Kubectl("default"), "kubernetes")


def test_a_service_is_reached_by_name_and_its_endpoints_alone_answer(kubectl: Kubectl) -> None:
    ready = {"httpGet": {"port": 8000, "path": "/"}, "periodSeconds": 1}
    server = manifests.container(command=["python", "-m", "http.server", "8000"], readinessProbe=ready)
    kubectl.apply(
        manifests.pod("server", server, labels={"app": "server"}),
        manifests.service("server", {"app": "server"}, 80, 8000),
        manifests.service("nobody", {"app": "nobody"}, 80, 8000),
    )
    kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=60s")
    program = """
        import time, urllib.request
        for name in ("server", "nobody"):
            for again in range(20):
                try:
                    print(name, urllib.request.urlopen(f"http://{name}/", timeout=2).status)
                    break
                except OSError as error:
                    if name == "nobody":
                        print(name, "refused")
                        break
                    time.sleep(0.5)
    """
    kubectl.apply(manifests.pod("client", manifests.python(textwrap.dedent(program))))
    assert kubectl.said("client") == ["server 200", "nobody refused"]


def test_a_claim_on_the_default_class_binds_and_what_is_written_stays(kubectl: Kubectl) -> None:
    kubectl.apply(manifests.claim("results", ["ReadWriteOncePod"]))
    volume = {"name": "results", "persistentVolumeClaim": {"claimName": "results"}}
    said = []
    for name, program in (
        ("writer", "print(open('/results/best', 'w').write('0.97'))"),
        ("reader", "print(open('/results/best').read())"),
    ):
        mounted = manifests.python(program, volumeMounts=[{"name": "results", "mountPath": "/results"}])
        kubectl.apply(manifests.pod(name, mounted, volumes=[volume]))
        said += kubectl.said(name)
    assert said == ["4", "0.97"]
    assert kubectl.get("pvc", "results")["status"]["phase"] == "Bound"


def test_a_native_sidecar_starts_first_and_is_told_to_stop_last(kubectl: Kubectl) -> None:
    program = """
        import os, signal, time
        def stop(*_):
            print(open("/shared/said").read() + "told to stop", flush=True)
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        open("/shared/said", "w").write("sidecar\\n")
        while True:
            time.sleep(0.1)
    """
    shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    started = {"exec": {"command": ["test", "-e", "/shared/said"]}, "periodSeconds": 1}
    sidecar = manifests.python(textwrap.dedent(program), name="sidecar", restartPolicy="Always", startupProbe=started, **shared)
    trial = manifests.python("import time; open('/shared/said', 'a').write('trial\\n'); time.sleep(1)", **shared)
    volumes = [{"name": "shared", "emptyDir": {}}]
    kubectl.apply(manifests.pod("trial", trial, initContainers=[sidecar], volumes=volumes, terminationGracePeriodSeconds=10))
    kubectl.finished("trial")
    assert kubectl.said("trial", container="sidecar") == ["sidecar", "trial", "told to stop"]


def test_a_restricted_pod_has_no_rights(kubectl: Kubectl) -> None:
    program = """
        import os
        status = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/self/status"))
        print(os.getuid(), int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"], status["Seccomp"])
        try:
            open("/written", "w")
        except OSError as error:
            print(error.strerror)
    """
    kubectl.apply(manifests.pod("restricted", manifests.python(textwrap.dedent(program))))
    assert kubectl.said("restricted") == ["65534 0 0 1 2", "Read-only file system"]


def test_a_privileged_pod_is_refused_where_only_restricted_ones_may_be(kubectl: Kubectl) -> None:
    privileged = manifests.container(securityContext={"privileged": True})
    with pytest.raises(Refused, match='violates PodSecurity "restricted:latest": privileged'):
        kubectl.apply(manifests.pod("privileged", privileged))


def test_a_projected_token_names_its_audience_and_its_pod_and_a_key_that_is_published(kubectl: Kubectl) -> None:
    source = {"serviceAccountToken": {"path": "token", "audience": "kubetune.dev", "expirationSeconds": 600}}
    mounted = [{"name": "token", "mountPath": "/token"}]
    reader = manifests.python("print(open('/token/token').read())", volumeMounts=mounted)
    kubectl.apply(manifests.pod("reader", reader, volumes=[{"name": "token", "projected": {"sources": [source]}}]))
    (token,) = kubectl.said("reader")
    header, claims = (_decoded(part) for part in token.split(".")[:2])
    pod = kubectl.get("pod", "reader")["metadata"]
    assert claims["aud"] == ["kubetune.dev"]
    assert claims["kubernetes.io"]["pod"] == {"name": "reader", "uid": pod["uid"]}
    assert claims["iss"] == json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    assert header["kid"] in {key["kid"] for key in json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]}


def test_a_container_past_its_memory_limit_is_killed_for_that(kubectl: Kubectl) -> None:
    limited = manifests.python("print(len(bytearray(200_000_000)))", resources={"limits": {"memory": "40Mi", "cpu": "500m"}})
    kubectl.apply(manifests.pod("greedy", limited))
    (status,) = kubectl.finished("greedy")["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_the_audit_log_tells_who_changed_what(kubectl: Kubectl, nodes: list[Manifest]) -> None:
    name = f"audited-{uuid.uuid4()}"
    kubectl.apply(manifests.pod(name, manifests.python("print(1)")))
    (written,) = [
        entry for entry in audit.entries(kubectl, nodes) if entry.get("objectRef", {}).get("name") == name and _by_kubectl(entry)
    ]
    me = json.loads(kubectl("auth", "whoami", "--output", "json"))["status"]["userInfo"]["username"]
    assert (written["verb"], written["user"]["username"]) == ("patch", me)
    assert written["requestObject"]["spec"]["containers"][0]["image"] == manifests.PYTHON


def test_kubelets_restart_containers_after_a_second(kubectl: Kubectl, nodes: list[Manifest]) -> None:
    for node in nodes:
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/configz"
        configuration = json.loads(kubectl("get", "--raw", path))["kubeletconfig"]
        assert configuration["crashLoopBackOff"] == {"maxContainerRestartPeriod": "1s"}
    kubectl.apply(manifests.pod("failing", manifests.python("raise SystemExit(3)"), restartPolicy="Always"))
    # By the default back-off the fifth restart comes after five minutes.
    kubectl.until("pod", "failing", lambda pod: _restarts(pod) >= 5)


def test_an_image_without_a_registry_is_loaded_and_runs(
    kubectl: Kubectl, nodes: list[Manifest], load_image: Callable[[Path], None], tmp_path: Path
) -> None:
    tag = f"localhost/e2e/exits:{uuid.uuid4()}"
    archive = tmp_path / "exits.tar"
    images.write(archive, {tag: images.Program(code=7)}, architecture=nodes[0]["status"]["nodeInfo"]["architecture"])
    load_image(archive)
    kubectl.apply(manifests.pod("exits", manifests.container(image=tag, imagePullPolicy="Never")))
    (status,) = kubectl.finished("exits")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 7


def _address(kubectl: Kubectl, service: str) -> str:
    address: str = kubectl.get("service", service)["spec"]["clusterIP"]
    return address


def _decoded(part: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return content


def _by_kubectl(entry: dict[str, Any]) -> bool:
    agent: str = entry["userAgent"]
    return agent.startswith("kubectl/")


def _restarts(pod: Manifest) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
