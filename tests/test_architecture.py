"""The page docs/explanation/architecture.md: packages import downwards alone, and the files that it names are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainyard.metrics import METRICS, PUBLISHED_SCORES, SCORES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = re.findall(r"^\| `trainyard\.([a-z_]+)` \|", PAGE, re.MULTILINE)
REPORT = re.findall(r"^\| `trainyard\.report\.([a-z_]+)` \|", PAGE, re.MULTILINE)


def imported(file: Path) -> Iterator[tuple[str, ...]]:
    """The names of our own modules that a file imports, by their parts below the package trainyard."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = file.relative_to(SOURCE).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *filter(None, [node.module])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (tuple(name.split(".")[1:]) for name in names if name.startswith("trainyard."))


def upwards(folder: Path, layers: list[str], depth: int) -> list[str]:
    """Imports of a layer that is above the importing one in the table."""
    return [
        f"{file.relative_to(SOURCE)} imports {'.'.join(names)}"
        for layer in layers
        for file in (folder / layer).rglob("*.py")
        for names in imported(file)
        if names[:depth] == folder.relative_to(SOURCE).parts[1:] and len(names) > depth and names[depth] in layers
        if layers.index(names[depth]) < layers.index(layer)
    ]


def test_every_package_stands_in_the_table() -> None:
    assert set(PACKAGES) == {file.parent.name for file in SOURCE.glob("trainyard/*/__init__.py")}
    assert set(REPORT) == {file.parent.name for file in SOURCE.glob("trainyard/report/*/__init__.py")}


def test_a_package_imports_those_that_stand_below_it_alone() -> None:
    assert not upwards(SOURCE / "trainyard", PACKAGES, 0)
    assert not upwards(SOURCE / "trainyard" / "report", REPORT, 1)


def test_nothing_that_plans_or_reports_names_a_metric() -> None:
    # of the scaling law it is a column of its own: the exponential of the fitted loss
    files = [file for package in ("plan", "report", "tools") for file in (SOURCE / "trainyard" / package).rglob("*.py")]
    naming = {
        f"{file.name}: {name}"
        for file in files
        for node in ast.walk(ast.parse(file.read_bytes()))
        for name in [node.value if isinstance(node, ast.Constant) else getattr(node, "attr", None)]
        if name in {*METRICS, *SCORES, *PUBLISHED_SCORES}
    }
    assert naming == {"scaling.py: perplexity"}


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`((?:src|rules|config|tests|docs|workflow|report)/[^`*{]+)`", PAGE)))
)
def test_every_file_that_the_page_names_is_there(name: str) -> None:
    assert (ROOT / name).exists()
