"""What the README shows is so: its experiment is valid, its commands and its links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubetune import cli
from kubetune_operator.checked import MUTABLE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/README.md"]


def test_its_experiment_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert example
    file = tmp_path / "digits.yaml"
    file.write_text(example[1])
    assert cli.main(["validate", str(file)]) == 0


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", code((ROOT / page).read_text()))}
    assert named >= {"demo", "test"}
    assert sorted(named - targets) == []


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()] == []


def test_its_exit_codes_are_those_of_the_help() -> None:
    table = re.findall(r"^\| (\d+) \| (.*?) \|", README, re.MULTILINE)
    told = re.findall(r"^  (\d+) +(.*(?:\n       +\S.*)*)", cli.EXIT_CODES, re.MULTILINE)
    assert [(number, " ".join(words.split())) for number, words in told] == [
        (number, words.replace("`", "")) for number, words in table
    ]
    assert len(table) == 5


def test_what_may_be_changed_is_what_it_names() -> None:
    sentence = re.search(r"A changed YAML is refused, except (.*?):", README, re.DOTALL)
    assert sentence
    assert set(re.findall(r"`(\w+)`", sentence[1])) == {*MUTABLE} - {"suspend"}, "there is nothing to suspend on this machine"


def code(text: str) -> str:
    """Give what a page shows as code, blocks and words alike."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
