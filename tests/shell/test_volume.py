"""The operator's volume: which one it is, and whose folders are on it."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest

from kubetune_operator.errors import KubetuneError
from kubetune_operator.volume import Volume

FIRST, SECOND, THIRD = (str(uuid.UUID(int=number << 96)) for number in (1, 2, 3))


class Uids:
    """The uids of namespaces, as the API server has them."""

    def __init__(self, uid: str) -> None:
        self.uid = uid

    async def __call__(self, namespace: str) -> str:
        assert namespace == "team"
        return self.uid


def test_its_identity_is_given_once_and_kept(tmp_path: Path) -> None:
    root = tmp_path / "mounted"
    identity = Volume(root).identity
    assert str(uuid.UUID(identity)) == identity
    assert Volume(root).identity == identity
    assert Volume(tmp_path / "another").identity != identity


def test_an_identity_that_a_crash_left_blank_is_given_anew(tmp_path: Path) -> None:
    (tmp_path / "volume-id").touch()
    (tmp_path / "volume-id.tmp").write_text("half")
    identity = Volume(tmp_path).identity
    assert str(uuid.UUID(identity)) == identity
    assert (tmp_path / "volume-id").read_text() == f"{identity}\n"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda root: root.write_text(""), id="a file in its place"),
        pytest.param(lambda root: (root.mkdir(), (root / "results").write_text("")), id="a file for its folder"),
        pytest.param(lambda root: (root / "volume-id").mkdir(parents=True), id="a folder for its identity"),
    ],
)
def test_one_that_cannot_be_used_is_named(tmp_path: Path, spoil: object) -> None:
    root = tmp_path / "mounted"
    assert callable(spoil)
    spoil(root)
    with pytest.raises(KubetuneError, match=f"^{root}: the volume cannot be used: .*is it mounted, and ours to write\\?$"):
        Volume(root)


def test_one_that_is_read_only_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", read_only)
    with pytest.raises(KubetuneError, match="the volume cannot be used: Read-only file system; is it mounted"):
        Volume(tmp_path)


async def test_the_folder_of_a_namespace_is_marked_once(tmp_path: Path) -> None:
    volume, uids = Volume(tmp_path), Uids(FIRST)
    await volume.settle("team", uids)
    mark = tmp_path / "results" / "team" / ".namespace-uid"
    assert mark.read_text() == f"{FIRST}\n"
    mark.unlink()
    await volume.settle("team", uids)
    assert not mark.exists()


async def test_the_folder_of_the_same_namespace_stays(tmp_path: Path) -> None:
    await Volume(tmp_path).settle("team", Uids(FIRST))
    (tmp_path / "results" / "team" / "kept").touch()
    await Volume(tmp_path).settle("team", Uids(FIRST))
    assert (tmp_path / "results" / "team" / "kept").exists()
    assert [each.name for each in (tmp_path / "results").iterdir()] == ["team"]


async def test_the_folder_of_an_earlier_namespace_of_that_name_is_put_aside_each_time(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for uid in (FIRST, SECOND, THIRD):
        await Volume(tmp_path).settle("team", Uids(uid))
        (results / "team" / f"of-{uid[:8]}").touch()
    found = {each.name: sorted(one.name for one in each.iterdir() if one.name.startswith("of-")) for each in results.iterdir()}
    assert found == {
        "team": [f"of-{THIRD[:8]}"],
        f"team.{FIRST[:8]}": [f"of-{FIRST[:8]}"],
        f"team.{SECOND[:8]}": [f"of-{SECOND[:8]}"],
    }


async def test_a_namespace_that_is_made_anew_while_we_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    volume, results = Volume(tmp_path), tmp_path / "results"
    await volume.settle("team", Uids(FIRST))
    (results / "team" / "kept").touch()
    await volume.settle("team", Uids(SECOND))
    assert (results / f"team.{FIRST[:8]}" / "kept").exists()
    assert [each.name for each in (results / "team").iterdir()] == [".namespace-uid"]


async def test_a_folder_without_a_mark_is_taken_for_todays(tmp_path: Path) -> None:
    """As where the operator was killed between making and marking it."""
    (tmp_path / "results" / "team" / "exp.01234567").mkdir(parents=True)
    await Volume(tmp_path).settle("team", Uids(FIRST))
    assert (tmp_path / "results" / "team" / "exp.01234567").is_dir()


def test_a_journal_is_found_only_where_there_is_one(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    folder = volume.folder("team", "exp", FIRST)
    assert not volume.has_journal(folder)
    folder.path.mkdir(parents=True)
    assert not volume.has_journal(folder)
