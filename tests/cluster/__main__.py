"""The commands: what each does is said by `python -m tests.cluster --help`. Exit codes: 0, 1 for a failure, or the command's own."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import cluster, images, kind, machine, places, progress

REQUIRED = ("CI", "KUBETUNE_REQUIRE_CLUSTER")  # either one set: `run --up` fails on a machine that cannot have a cluster

OWN = 3  # nodes of the cluster that `run --up` brings up: one of the tests takes one away


def main(arguments: list[str]) -> int:
    """Do what is asked."""
    asked = _parser().parse_args(arguments)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, progress.interrupt)
    try:
        code: int = asked.act(asked)
    except progress.CannotHave as error:
        skipped = getattr(asked, "up", False) and not any(os.environ.get(name) for name in REQUIRED)
        progress.say(f"{'SKIPPED' if skipped else 'failed'}: {error}")
        return 0 if skipped else 1
    except progress.Failed as error:
        progress.say(f"failed: {error}")
        return 1
    except progress.Interrupted:
        return 130
    return code


def _up(asked: argparse.Namespace) -> int:
    started = time.monotonic()
    found = cluster.up(asked.nodes)
    progress.say(f"up in {time.monotonic() - started:.0f} s: {found.nodes} node(s), {found.how()}")
    progress.say("beside it: python -m tests.cluster run -- kubectl get nodes; `make cluster-down` takes it down")
    return 0


def _down(asked: argparse.Namespace) -> int:
    cluster.down()
    progress.say("down: nothing of it is left running, mounted or changed")
    return 0


def _status(asked: argparse.Namespace) -> int:
    found = cluster.current()
    stands = cluster.stands()
    progress.say(f"{'up' if stands else 'half of one'}: {found.nodes} node(s), {found.how()}" if found else "there is none")
    if not found or not stands:
        return 1
    progress.say(
        f"KUBECONFIG is {places.KUBECONFIG}, the audit log is in {places.AUDIT}, the logs of its making in {places.LOGS}"
    )
    return subprocess.call(
        found.docker.command(["kubectl", "get", "nodes", "--output", "wide"]), env=os.environ | found.environment()
    )


def _run(asked: argparse.Namespace) -> int:
    if not asked.up:
        return _beside(_found(), asked.command)
    if cluster.stands():
        return _beside(cluster.up(asked.nodes), asked.command)
    cluster.down()  # whatever a killed one has left
    before = machine.snapshot()
    try:
        found = cluster.up(asked.nodes or OWN)
        code = _beside(found, asked.command)
    finally:
        cluster.down()
    left = machine.left_behind(before, machine.snapshot()) if found.private else []
    for each in left:
        progress.say(f"the machine is not as it was: {each}")
    return code or int(bool(left))


def _beside(found: cluster.Cluster, command: list[str]) -> int:
    """Run a command beside the cluster and wait for it, handing on the signals that a terminal does not."""
    process = subprocess.Popen(found.docker.command(command), env=os.environ | found.environment())
    earlier = [signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, lambda *_: process.terminate())]
    try:
        code = process.wait()
    finally:
        for sign, handler in zip((signal.SIGINT, signal.SIGTERM), earlier, strict=True):
            signal.signal(sign, handler)
    return code if code >= 0 else 128 - code


def _load(asked: argparse.Namespace) -> int:
    kind.load(_found().docker, asked.archive)
    return 0


def _node(asked: argparse.Namespace) -> int:
    kind.switch(_found().docker, asked.name, on=asked.state == "on")
    return 0


def _found() -> cluster.Cluster:
    found = cluster.current()
    if not found or not cluster.stands():
        raise progress.Failed("there is no cluster: `make cluster` brings one up")
    return found


def _build(asked: argparse.Namespace) -> int:
    found = cluster.current()
    docker = found.docker if found else kind.Docker(private=not cluster.official())
    print(images.build(asked.dockerfile, asked.target, tag=asked.tag, inputs=asked.inputs, docker=docker))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A real Kubernetes for the tests.")
    commands = parser.add_subparsers(required=True)

    def command(name: str, act: object, words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words)
        added.set_defaults(act=act)
        return added

    up = command("up", _up, "bring the cluster up, or find the one that is up")
    run = command("run", _run, "run a command beside the cluster: its network, KUBECONFIG, kubectl, helm, helm3 and kind")
    run.add_argument("--up", action="store_true", help="bring one up for the command where there is none, and take that one down")
    for each in (up, run):
        each.add_argument(
            "--nodes",
            type=int,
            choices=range(1, 6),
            help=f"how many nodes (1, for `run --up` {OWN}); another number makes it anew",
        )
    run.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    command("down", _down, "take it down, and clear away whatever there is of one")
    command("status", _status, "say what there is; exits with 1 when there is none")
    command("load", _load, "load a docker-archive into every node").add_argument("archive", type=Path)
    node = command("node", _node, "cut a node's power (off), or give it back (on)")
    node.add_argument("name")
    node.add_argument("state", choices=["off", "on"])
    build = command("build", _build, "build a target of a Dockerfile into a docker-archive, and print where that is")
    build.add_argument("dockerfile", type=Path)
    build.add_argument("target")
    build.add_argument("--tag", required=True)
    build.add_argument("inputs", type=Path, nargs="+", help="the files and folders of the context that it depends on")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
