"""Where an experiment's files are, and that no name leads out of there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kubetune_operator.errors import KubetuneError
from kubetune_operator.files import ExperimentFolder, Files

FIRST, SECOND = "0a1b2c3d-1111-2222-3333-444455556666", "ffffffff-1111-2222-3333-444455556666"


def test_a_folder_of_its_own_for_each_uid_and_a_link_to_the_newest(tmp_path: Path) -> None:
    first = ExperimentFolder.create(tmp_path, "team", "digits", FIRST)
    second = ExperimentFolder.create(tmp_path, "team", "digits", SECOND)
    assert first.path == tmp_path / "team" / "digits.0a1b2c3d"
    assert second.path == tmp_path / "team" / "digits.ffffffff"
    assert (tmp_path / "team" / "digits").readlink() == Path("digits.ffffffff")
    assert ExperimentFolder.newest(tmp_path, "team", "digits") == second
    assert sorted(path.name for path in (tmp_path / "team").iterdir()) == ["digits", "digits.0a1b2c3d", "digits.ffffffff"]


def test_creating_again_keeps_what_is_there_and_heals_what_a_crash_left(tmp_path: Path) -> None:
    folder = ExperimentFolder.create(tmp_path, "team", "digits", FIRST)
    (folder.path / "journal").touch()
    (tmp_path / "team" / "digits").rename(tmp_path / "team" / "digits.0a1b2c3d.tmp")
    assert ExperimentFolder.create(tmp_path, "team", "digits", FIRST) == folder
    assert (tmp_path / "team" / "digits" / "journal").exists()
    assert not (tmp_path / "team" / "digits.0a1b2c3d.tmp").is_symlink()


def test_the_newest_of_none_is_none(tmp_path: Path) -> None:
    assert ExperimentFolder.newest(tmp_path, "team", "digits") is None


@pytest.mark.parametrize("target", ["gone.0a1b2c3d", "digits.0a1b2c3d", "../../etc", "other"])
def test_a_link_that_leads_to_no_folder_of_that_experiment_is_none(tmp_path: Path, target: str) -> None:
    (tmp_path / "team" / "other").mkdir(parents=True)
    (tmp_path / "team" / "digits").symlink_to(target)
    assert ExperimentFolder.newest(tmp_path, "team", "digits") is None


HOSTILE = ["", ".", "..", "a/b", "/etc", "../x", "a.b", "Abc", "-a", "a-", "a\n", "a\0", "é", "a" * 64, "a b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_dns_label_is_refused(tmp_path: Path, name: str) -> None:
    folder = ExperimentFolder(tmp_path)
    with pytest.raises(KubetuneError, match="must be a DNS label"):
        ExperimentFolder.create(tmp_path, name, "digits", FIRST)
    with pytest.raises(KubetuneError, match="must be a DNS label"):
        ExperimentFolder.create(tmp_path, "team", name, FIRST)
    with pytest.raises(KubetuneError, match="must be a DNS label"):
        ExperimentFolder.newest(tmp_path, "team", name)
    with pytest.raises(KubetuneError, match="must be a DNS label"):
        Files(folder).begin(name, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uid", ["", "0a1b2c3", "../../../x", "0A1B2C3D", "0a1b2c3d/x"])
def test_a_uid_that_is_none_is_refused(tmp_path: Path, uid: str) -> None:
    with pytest.raises(KubetuneError, match="must begin with 8 hexadecimal digits, got "):
        ExperimentFolder.create(tmp_path, "team", "digits", uid)


def test_a_link_in_the_way_that_leads_out_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "team").symlink_to(outside)
    with pytest.raises(KubetuneError, match=r"must lie in .*/root, but a link leads to .*/outside/digits"):
        ExperimentFolder.create(root, "team", "digits", FIRST)
    folder = ExperimentFolder.create(root, "other", "digits", FIRST)
    (folder.path / "digits-00001").symlink_to(outside)
    with pytest.raises(KubetuneError, match=r"must lie in .*, but a link leads to .*/outside; remove that link"):
        Files(folder).begin("digits-00001", {})
    assert list(outside.iterdir()) == []


def test_a_folder_where_the_link_should_be_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "team" / "digits" / "mine").mkdir(parents=True)
    with pytest.raises(KubetuneError, match="must be a link to the newest experiment; move that folder away"):
        ExperimentFolder.create(tmp_path, "team", "digits", FIRST)
    assert (tmp_path / "team" / "digits" / "mine").is_dir()


def test_logs_go_where_the_user_says(tmp_path: Path) -> None:
    assert ExperimentFolder(tmp_path).log("digits-00001", "out.txt") == tmp_path / "digits-00001" / "out.txt"


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", ".hidden", "result.json", "checkpoints", "events.out.tfevents.1", "x.tmp", "a" * 64]
)
def test_but_not_over_another_file_or_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(KubetuneError, match="must have a plain name that no other file of a trial has, got "):
        ExperimentFolder(tmp_path).log("digits-00001", name)


def test_the_table_of_trials_is_replaced_whole(tmp_path: Path) -> None:
    files = Files(ExperimentFolder(tmp_path))
    files.trials_csv([{"trial": "a", "params": {"lr": 0.1}}] * 3)
    files.trials_csv([{"trial": "a", "params": {"lr": 0.1}, "value": float("nan")}, {"trial": "b,c", "params": {"depth": 3}}])
    with (tmp_path / "trials.csv").open(newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["trial", "params/lr", "value", "params/depth"],
            ["a", "0.1", "NaN", ""],
            ["b,c", "", "", "3"],
        ]


def test_the_experiment_is_a_document_in_the_order_given(tmp_path: Path) -> None:
    Files(ExperimentFolder(tmp_path)).experiment_json({"name": "digits", "best": {"value": float("inf")}, "a": 1})
    assert (
        tmp_path / "experiment.json"
    ).read_text() == '{\n  "name": "digits",\n  "best": {\n    "value": "Infinity"\n  },\n  "a": 1\n}\n'
    assert list(json.loads((tmp_path / "experiment.json").read_text())) == ["name", "best", "a"]
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.json"]
