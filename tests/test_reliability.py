"""docs/reliability.md promises nothing that no test holds."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line
    for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_promise_names_its_tests() -> None:
    assert ROWS
    assert [row for row in ROWS if not TEST.search(row)] == []


@pytest.mark.parametrize(("file", "name"), sorted({found for row in ROWS for found in TEST.findall(row)}))
def test_a_named_test_is_there(file: str, name: str) -> None:
    wanted = f"def {name}(" if name else "def test_"
    assert wanted in (ROOT / file).read_text(encoding="utf-8")
