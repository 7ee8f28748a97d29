"""The per-trial files: what they say, and that they are brought level after a crash at any byte."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator import rows
from kubetune_operator.core.trials import COUNTED, FILLED
from kubetune_operator.files import ExperimentFolder, Files
from tests.shell.test_tensorboard import events

UID = "0a1b2c3d-1111-2222-3333-444455556666"
TRIAL = "digits-00012"
CONFIG = {"optimizer": {"lr": 0.1}, "batch": 32}
NOON = 1764072000.5  # 2025-11-25 12:00:00 UTC


def report(number: int, metrics: Mapping[str, Any], attempt: int = 0, **more: Any) -> rows.Row:
    counted = {"training_iteration": number + 1, "time_this_iter_s": 0.5, "time_total_s": (number + 1) / 2}
    said = {name: value for name, value in counted.items() if name not in metrics}
    return rows.row(
        TRIAL, CONFIG, metrics, said, rows.Stamp(time=NOON + 60 * attempt + number, attempt=attempt, number=number, **more)
    )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(ExperimentFolder.create(tmp_path, "team", "digits", UID))
    made.begin(TRIAL, CONFIG)
    return made


def text(files: Files, name: str) -> str:
    return (files.folder.trial(TRIAL) / name).read_bytes().decode()


def strict(line: str) -> Any:
    """Read JSON as the standard has it: without NaN and Infinity."""

    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(line, parse_constant=refuse)


def table(files: Files) -> list[dict[str, str]]:
    with (files.folder.trial(TRIAL) / "progress.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestWhatTheySay:
    """The files of an undisturbed trial."""

    def test_parameters_are_nested_indented_and_sorted(self, files: Files) -> None:
        assert text(files, "params.json") == '{\n  "batch": 32,\n  "optimizer": {\n    "lr": 0.1\n  }\n}\n'

    def test_a_report_is_a_line_of_result_json_that_says_it_all(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"loss": 0.25, "valid": {"acc": 0.5}})])
        assert text(files, "result.json") == (
            '{"loss": 0.25, "valid": {"acc": 0.5}, "training_iteration": 1, "time_this_iter_s": 0.5, "time_total_s": 0.5, '
            '"timestamp": 1764072000, "date": "2025-11-25_12-00-00", "trial_id": "digits-00012", "attempt": 0, "number": 0, '
            '"done": false, "reason": "", "after_stop": false, "config": {"optimizer": {"lr": 0.1}, "batch": 32}}\n'
        )

    def test_a_report_is_a_row_of_progress_csv_without_the_config(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"loss": 0.25, "valid": {"acc": 0.5, "ok": True}})])
        assert text(files, "progress.csv") == (
            "loss,valid/acc,valid/ok,training_iteration,time_this_iter_s,time_total_s,timestamp,date,trial_id,attempt,number,"
            "done,reason,after_stop\n"
            "0.25,0.5,true,1,0.5,0.5,1764072000,2025-11-25_12-00-00,digits-00012,0,0,false,,false\n"
        )

    @pytest.mark.parametrize(
        ("value", "in_json", "in_csv"),
        [
            pytest.param(float("nan"), "NaN", "NaN", id="NaN"),
            pytest.param(float("inf"), "Infinity", "Infinity", id="infinity"),
            pytest.param(-float("inf"), "-Infinity", "-Infinity", id="minus infinity"),
            pytest.param(2**63 - 1, 9223372036854775807, "9223372036854775807", id="64 bits"),
            pytest.param(0.1 + 0.2, 0.30000000000000004, "0.30000000000000004", id="a float to the last bit"),
            pytest.param(1.0, 1.0, "1.0", id="a whole float"),
            pytest.param(
                '日本 é, "quoted"\r\nand\nmore', '日本 é, "quoted"\r\nand\nmore', '日本 é, "quoted"\r\nand\nmore', id="text"
            ),
            pytest.param("a\rb", "a\rb", "a\rb", id="carriage return"),
            pytest.param("half \ud800", "half \ud800", "half \\ud800", id="half of a surrogate pair"),
        ],
    )
    def test_values_arrive_in_valid_json_and_in_csv(self, files: Files, value: Any, in_json: Any, in_csv: str) -> None:
        files.append(TRIAL, [report(0, {"a": {"x": value}}), report(1, {"y": 1})])
        first, second = text(files, "result.json").splitlines()
        assert strict(first)["a"]["x"] == in_json
        assert type(strict(first)["a"]["x"]) is type(in_json)
        assert strict(second)["y"] == 1
        assert [(one["a/x"], one["y"]) for one in table(files)] == [(in_csv, ""), ("", "1")]

    def test_what_the_program_said_of_its_iteration_and_times_stands_and_the_rest_is_kubetunes(self) -> None:
        said = report(3, {"training_iteration": 50, "time_total_s": 9.0, "trial_id": "mine", "done": True, "config": 1, "x": 2})
        assert [said[name] for name in ("training_iteration", "time_total_s", "time_this_iter_s")] == [50, 9.0, 0.5]
        assert [said[name] for name in ("trial_id", "done", "config", "x")] == [TRIAL, False, CONFIG, 2]
        assert list(said) == ["x", *COUNTED, *FILLED]

    def test_a_later_metric_is_a_new_column_and_the_rows_before_keep_theirs(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"b": "p,q", "a": 1})])
        files.append(TRIAL, [report(1, {"a": 2}), report(2, {"c": 3, "b": "r"})])
        files.append(TRIAL, [report(3, {"d": 4})])
        assert [[one[name] for name in "abcd"] for one in table(files)] == [
            ["1", "p,q", "", ""],
            ["2", "", "", ""],
            ["", "r", "3", ""],
            ["", "", "", "4"],
        ]
        assert text(files, "progress.csv").startswith("b,a,training_iteration,")
        assert text(files, "progress.csv").splitlines()[0].endswith(",after_stop,c,d")

    def test_no_report_no_file(self, files: Files) -> None:
        files.append(TRIAL, [])
        files.finish(TRIAL, "Failed")
        assert set(contents(files.folder.trial(TRIAL))) == {"params.json"}

    def test_the_last_row_says_done_and_why(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"x": "NaN"}), report(1, {"x": float("nan"), "y": 'a,"b"\n'}, after_stop=True)])
        files.finish(TRIAL, "StoppedByScheduler, at rung 3")
        ends = [(one["done"], one["reason"], one["after_stop"]) for one in map(strict, text(files, "result.json").splitlines())]
        assert ends == [(False, "", False), (True, "StoppedByScheduler, at rung 3", True)]
        in_csv = [(one["y"], one["done"], one["reason"], one["after_stop"]) for one in table(files)]
        assert in_csv == [("", "false", "", "false"), ('a,"b"\n', "true", "StoppedByScheduler, at rung 3", "true")]

    def test_finishing_again_changes_nothing_also_after_a_crash_between_the_two_files(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"x": 1}), report(1, {"x": 2})])
        progress = files.folder.trial(TRIAL) / "progress.csv"
        before = progress.read_bytes()
        files.finish(TRIAL, "Completed")
        done = contents(files.folder.trial(TRIAL))
        progress.write_bytes(before)
        files.finish(TRIAL, "Completed")
        files.finish(TRIAL, "Completed")
        assert contents(files.folder.trial(TRIAL)) == done

    def test_failures_are_told_as_ray_tells_them_each_once(self, files: Files) -> None:
        first, second = rows.Failure(1, NOON, "exit code 3\nTraceback …\n"), rows.Failure(2, NOON + 60, "killed by SIGKILL")
        for failure in (first, first, second, second):
            files.fail(TRIAL, failure)
        assert text(files, "error.txt") == (
            "Failure # 1 (occurred at 2025-11-25_12-00-00)\nexit code 3\nTraceback …\n"
            "Failure # 2 (occurred at 2025-11-25_12-01-00)\nkilled by SIGKILL\n"
        )

    def test_no_file_stays_open(self, files: Files) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(20):
            files.begin(f"digits-{number:05}", CONFIG)
            files.append(f"digits-{number:05}", [report(0, {"x": 1})])
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestEvents:
    """What TensorBoard finds."""

    def test_numbers_and_booleans_by_iteration_a_file_an_attempt(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"a": {"loss": 0.5}, "ok": True, "name": "x", "bad": float("nan")})])
        files.append(TRIAL, [report(1, {"n": 2}), report(0, {"n": 3}, attempt=1)])
        files.append(TRIAL, [report(1, {"n": 4, "training_iteration": 70}, attempt=1)])
        folder = files.folder.trial(TRIAL)
        first, second = sorted(folder.glob("events.out.tfevents.*"))
        assert (first.name, second.name) == (
            "events.out.tfevents.1764072000.digits-00012-0",
            "events.out.tfevents.1764072060.digits-00012-1",
        )
        version = {"wall_time": 1764072000.0, "file_version": b"brain.Event:2"}
        assert list(events(first.read_bytes())) == [
            version,
            {"wall_time": 1764072000.0, "step": 1, "values": {"a/loss": 0.5, "ok": 1.0}},
            {"wall_time": 1764072001.0, "step": 2, "values": {"n": 2.0}},
        ]
        assert [(one["step"], one["values"]) for one in list(events(second.read_bytes()))[1:]] == [
            (1, {"n": 3.0}),
            (70, {"n": 4.0}),
        ]

    @pytest.mark.parametrize("said", ["seven", float("nan"), float("inf"), {"a": 1}], ids=str)
    def test_an_iteration_that_is_no_number_is_replaced_by_the_count(self, said: Any) -> None:
        one = rows.row(TRIAL, {}, {"training_iteration": said, "x": 1}, {}, rows.Stamp(time=NOON, attempt=0, number=6))
        assert [event["step"] for event in events(rows.events([one], begin=False))] == [7]

    def test_none_where_they_are_not_wanted(self, tmp_path: Path) -> None:
        files = Files(ExperimentFolder.create(tmp_path, "team", "digits", UID), events=False)
        files.begin(TRIAL, CONFIG)
        files.append(TRIAL, [report(0, {"x": 1})])
        files.level(TRIAL, CONFIG, [report(0, {"x": 1})], None, [])
        assert set(contents(files.folder.trial(TRIAL))) == {"params.json", "result.json", "progress.csv"}


VALUES = st.floats() | st.booleans() | st.integers(-(2**63), 2**64) | st.text(st.sampled_from('ab,"\n\ré'), max_size=4)
METRICS = st.dictionaries(st.sampled_from(["a", "b", "c/d"]), VALUES | st.dictionaries(st.sampled_from("xy"), VALUES), min_size=1)


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[list[rows.Row]], list[rows.Failure], str | None]:
    """Draw what befalls a trial: batches of reports of one attempt after the other, failures, its end."""
    batches: list[list[rows.Row]] = []
    for attempt in range(draw(st.integers(1, 3))):
        number = 0
        for size in draw(st.lists(st.integers(1, 3), max_size=2)):
            batches.append([report(number + one, draw(METRICS), attempt) for one in range(size)])
            number += size
    failures = [
        rows.Failure(one + 1, NOON, draw(st.sampled_from(["exit code 3", "é\n\nx\n"]))) for one in range(draw(st.integers(0, 2)))
    ]
    return batches, failures, draw(st.sampled_from([None, "Completed", 'no, "why"']))


def write(files: Files, batches: Sequence[Sequence[rows.Row]], failures: Sequence[rows.Failure], reason: str | None) -> None:
    files.begin(TRIAL, CONFIG)
    for batch in batches:
        files.append(TRIAL, batch)
    for failure in failures:
        files.fail(TRIAL, failure)
    if reason is not None:
        files.finish(TRIAL, reason)


def damage(path: Path, data: st.DataObject) -> None:
    """Do to the end of a file what a crash might, and worse."""
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole)), label=path.name)
    junk = data.draw(st.binary(max_size=30), label="junk")
    kinds = {
        "cut": whole[:at],
        "junk": whole[:at] + junk,
        "twice": whole + whole[at:],
        "zeros": whole[:at] + bytes(len(whole) - at),
    }
    path.write_bytes(kinds[data.draw(st.sampled_from(sorted(kinds)))])


class TestLevel:
    """A crash leaves no trace."""

    @given(life=lives(), data=st.data())
    @settings(max_examples=50, deadline=None)
    def test_after_a_crash_at_any_byte_the_files_are_those_of_an_undisturbed_run(
        self, life: tuple[list[list[rows.Row]], list[rows.Failure], str | None], data: st.DataObject
    ) -> None:
        batches, failures, reason = life
        with tempfile.TemporaryDirectory() as root:
            whole = Files(ExperimentFolder.create(Path(root), "team", "whole", UID))
            write(whole, batches, failures, reason)
            undisturbed = contents(whole.folder.trial(TRIAL))
            hurt = Files(ExperimentFolder.create(Path(root), "team", "hurt", UID))
            seen = data.draw(st.integers(0, len(batches)), label="batches written")
            write(
                hurt,
                batches[:seen] + batches[:seen][-data.draw(st.integers(0, 1)) :],
                failures,
                data.draw(st.none() | st.just(reason)),
            )
            folder = hurt.folder.trial(TRIAL)
            for path in sorted(folder.iterdir()):
                if data.draw(st.booleans(), label=f"hurt {path.name}"):
                    damage(path, data)
            (folder / "progress.csv.tmp").write_bytes(b"half a ta")
            (folder / "stdout").write_bytes(b"not ours")
            reports = [one for batch in batches for one in batch]
            hurt.level(TRIAL, CONFIG, reports, reason, failures)
            assert contents(folder) == undisturbed | {"stdout": b"not ours"}

    def test_from_nothing(self, tmp_path: Path, files: Files) -> None:
        write(files, [[report(0, {"x": 1})], [report(1, {"y": 1})]], [rows.Failure(1, NOON, "a")], "Completed")
        anew = Files(ExperimentFolder.create(tmp_path, "team", "anew", UID))
        anew.level(TRIAL, CONFIG, [report(0, {"x": 1}), report(1, {"y": 1})], "Completed", [rows.Failure(1, NOON, "a")])
        assert contents(anew.folder.trial(TRIAL)) == contents(files.folder.trial(TRIAL))

    def test_what_is_missing_is_appended_to_the_same_file(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"x": 1})])
        result = files.folder.trial(TRIAL) / "result.json"
        before = result.stat().st_ino
        files.level(TRIAL, CONFIG, [report(0, {"x": 1}), report(1, {"x": 2})], None, [])
        assert result.stat().st_ino == before
        assert len(result.read_bytes().splitlines()) == 2

    def test_what_is_level_is_not_touched(self, files: Files) -> None:
        files.append(TRIAL, [report(0, {"x": 1})])
        folder = files.folder.trial(TRIAL)
        for path in folder.iterdir():
            os.utime(path, (0, 0))
        files.level(TRIAL, CONFIG, [report(0, {"x": 1})], None, [])
        assert {path.stat().st_mtime for path in folder.iterdir()} == {0.0}
