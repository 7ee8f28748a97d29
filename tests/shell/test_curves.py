"""Tables of learning curves: what is read of CSV and .npz, and what is said of one that is wrong."""

from __future__ import annotations

import math
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator import curves, npz
from kubetune_operator.curves import Curve
from kubetune_operator.errors import KubetuneError

TABLE = """lr,kind,units,seconds,1,2,3
0.1,sgd,64,2.5,0.1,0.2,0.3
1e-3,adam,8,1,0.4,nan,

.5,x,1,3,0.5,,
"""


def as_lists(read: list[Curve]) -> list[Any]:
    return [(dict(one.params), [report["acc"] for report in one.reports], list(one.seconds)) for one in read]


def test_csv(tmp_path: Path) -> None:
    """Whole numbers, fractions and words stay what they are; empty cells at the end make a shorter curve."""
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8-sig")
    read = curves.read(path, "acc")
    first, second, third = as_lists(read)
    assert first == ({"lr": 0.1, "kind": "sgd", "units": 64}, [0.1, 0.2, 0.3], [2.5, 2.5, 2.5])
    assert (second[1][0], math.isnan(second[1][1]), len(second[1])) == (0.4, True, 2)
    assert third == ({"lr": 0.5, "kind": "x", "units": 1}, [0.5], [3.0])
    assert not any(one.cut or one.closing for one in read)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["plain", "compressed"])
def test_npz(tmp_path: Path, save: Any, order: Any) -> None:
    """As numpy writes it; seconds for each row, or for each report."""
    path = tmp_path / "table.npz"
    config, value = np.array([[1.5, 3], [2.5, 4]], order=order), np.array([[1, 2, 3], [4, np.nan, 6]], np.float32, order=order)
    save(path, names=np.array(["lr", "a longer näme"]), config=config, value=value, seconds=np.array([1.5, 2], np.float32))
    first, second = as_lists(curves.read(path, "acc"))
    assert first == ({"lr": 1.5, "a longer näme": 3}, [1, 2, 3], [1.5, 1.5, 1.5])
    assert type(first[0]["a longer näme"]) is int, "a column of whole numbers is one of whole numbers"
    assert math.isnan(second[1][1])
    each = np.arange(1, 7, dtype=">i2").reshape(2, 3)
    save(path, names=np.array(["lr", "b"]), config=config, value=value, seconds=each)
    assert [seconds for _, _, seconds in as_lists(curves.read(path, "acc"))] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "kind", ["<f8", ">f8", "<f4", "<f2", "<i8", ">i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "<U5", ">U5"]
)
def test_every_kind_of_array_is_as_numpy_reads_it(tmp_path: Path, kind: str) -> None:
    """Numpy itself is the judge."""
    array = np.array([[1, 2, 3], [4, 5, 60]]).astype(kind)
    np.savez(tmp_path / "a.npz", a=array, b=array[0], c=array[:0])
    read = npz.read(tmp_path / "a.npz")
    assert [list(row) for row in read["a"].rows] == array.tolist()
    assert (read["a"].shape, read["b"].shape, read["c"].shape) == ((2, 3), (3,), (0, 3))
    assert [list(row) for row in read["b"].rows] == [array[0].tolist()]
    assert list(read["c"].rows) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "must have a column seconds: how long a report takes, got a header without it; add it", id="empty"),
        pytest.param("lr,1\n0.1,2\n", "must have a column seconds", id="no seconds"),
        pytest.param("lr,seconds\n0.1,2\n", "columns 1, 2, 3 and so on, got no column 1; name them so, without a gap", id="no reports"),
        pytest.param("seconds,1,3\n1,2,3\n", "got no column 2", id="a gap"),
        pytest.param("seconds,1,1\n1,2,3\n", "must not have two columns of one name, got 1; rename one", id="twice"),
        pytest.param("seconds,1\n", "must have a row for each configuration, got none; add some", id="no row"),
        pytest.param("seconds,1,2\n1,2\n", "line 2 must have 3 cells, as many as there are columns, got 2", id="a short row"),
        pytest.param("seconds,1,2\n1,2,3,4\n", "line 2 must have 3 cells, as many as there are columns, got 4", id="a long row"),
        pytest.param("seconds,1\n1,2\n1,x\n", "line 3, column 1 must be a number, got 'x'; write nan where it diverged", id="a word"),
        pytest.param("seconds,1,2\n1,,3\n", "line 2, column 1 must be a number, got ''; write nan where it diverged; only the last cells may be empty", id="a hole"),
        pytest.param("seconds,1,2\n1,,\n", "line 2 must have at least one report, got none", id="no value"),
        pytest.param("seconds,1\n0,2\n", "line 2: seconds must be greater than 0, got 0.0; measure it, or write 1", id="no time"),
        pytest.param("seconds,1\ninf,2\n", "line 2: seconds must be greater than 0", id="for ever"),
        pytest.param("seconds,1\n,2\n", "line 2, column seconds must be a number, got ''", id="no seconds in a row"),
    ],
)  # fmt: skip
def test_a_wrong_csv_is_refused_with_its_place_and_a_remedy(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(KubetuneError, match=re.escape(says)) as refused:
        curves.read(path, "acc")
    assert str(refused.value).startswith(f"{path}: ")


def test_what_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"seconds,1,l\xff\n1,2,3\n")
    with pytest.raises(KubetuneError, match="must be CSV in UTF-8"):
        curves.read(tmp_path / "table.csv", "acc")


GOOD: dict[str, Any] = {"names": ["lr"], "config": [[1.0], [2.0]], "value": [[1.0, 2], [3, 4]], "seconds": [1.0, 2]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"seconds": None}, "must have the arrays names, config, value, seconds, got none named seconds; add them", id="missing"),
        pytest.param({"config": [[1.0]]}, "config [rows, names], got shapes (2, 2) and (1, 1)", id="rows"),
        pytest.param({"value": [1.0, 2]}, "value must be [rows, reports]", id="flat"),
        pytest.param({"seconds": [1.0]}, "seconds must be [rows], or [rows, reports], got shape (1,)", id="seconds"),
        pytest.param({"seconds": [1.0, -2]}, "row 1: seconds must be greater than 0, got -2.0", id="negative"),
        pytest.param({"value": [["a", "b"], ["c", "d"]]}, "value must be numbers, got text", id="words"),
        pytest.param({"names": [1.0]}, "names must be text, got numbers", id="names"),
        pytest.param({"value": [[[1.0]]]}, "is not a .npz file as numpy.savez writes it: an array of 3 dimensions", id="deep"),
        pytest.param({"value": np.array([[{}]], dtype=object)}, "an array of type |O, which is neither numbers nor text", id="objects"),
        pytest.param({"value": np.zeros((0, 2)), "config": np.zeros((0, 1)), "seconds": np.zeros(0)}, "must have a row for each configuration, got none", id="empty"),
        pytest.param({"value": np.zeros((2, 0))}, "value must be [rows, reports]", id="no reports"),
    ],
)  # fmt: skip
def test_a_wrong_npz_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    arrays = {name: np.array(value) for name, value in (GOOD | changes).items() if value is not None}
    np.savez(tmp_path / "table.npz", allow_pickle=True, **arrays)
    with pytest.raises(KubetuneError, match=re.escape(says)):
        curves.read(tmp_path / "table.npz", "acc")


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"\x93NUMPY\x01\x00" + rest))
def test_bytes_that_are_no_array_are_refused_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever stands in a file, it is one error."""
    path = tmp_path_factory.getbasetemp() / "any.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("value.npy", data)
    with pytest.raises(KubetuneError, match=r"is not a \.npz file"):
        npz.read(path)


def test_rows_are_taken_at_random_and_none_twice_while_they_last() -> None:
    """The first trials are the same however many there are; another seed gives others."""
    taken = curves.rows(10, 25, seed=7)
    assert Counter(taken[:10]) == Counter(taken[10:20]) == Counter(range(10))
    assert taken[:10] != taken[10:20]
    assert curves.rows(10, 4, seed=7) == taken[:4]
    assert curves.rows(10, 10, seed=8) != taken[:10]
