"""What is in data, titles and sources is text in the report: a real browser runs none of it."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import EXPLORE, Browser, browser
from hostile_study import HARMS, STUDY, TITLE
from repository import Repository

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium on the path, as Debian's package chromium has it")
    with browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def pages(hostile_run: Repository) -> Path:
    return hostile_run.folder / "results/hostile/report"


def harmless(page: Any, folder: Path) -> None:
    """Nothing ran, nothing was asked for elsewhere, and no link leads out of the repository's folder."""
    assert page.seen["ran"] is None
    assert page.dialogs == []
    assert page.seen["handlers"] == []
    for address in (*page.requests, *page.seen["sources"], *page.seen["links"]):
        parts = urlsplit(address)
        assert parts.scheme in ("file", "data"), address
        assert parts.scheme == "data" or Path(unquote(parts.path)).is_relative_to(folder), address


@pytest.mark.parametrize("name", ["script", "image", "drawing", "closing tags", "frame", "attribute"])
def test_a_page_that_does_not_escape_is_caught(tmp_path: Path, chromium: Browser, name: str) -> None:
    harm = HARMS[name]
    body = f'<td title="{harm}">x</td>' if name == "attribute" else harm
    (tmp_path / "page.html").write_text(f"<!doctype html><body><table><tr>{body}</tr></table></body>")
    with pytest.raises(AssertionError):
        harmless(chromium.open(f"file://{tmp_path}/page.html"), tmp_path)


@pytest.mark.parametrize("name", ["link", "refresh", "elsewhere"])
def test_a_page_that_leads_elsewhere_is_caught(tmp_path: Path, chromium: Browser, name: str) -> None:
    (tmp_path / "page.html").write_text(f"<!doctype html><body>{HARMS[name]}</body>")
    with pytest.raises(AssertionError):
        harmless(chromium.open(f"file://{tmp_path}/page.html"), tmp_path)


def test_no_page_of_the_report_runs_what_stands_in_data(
    hostile_run: Repository, pages: Path, chromium: Browser, record_property: Any
) -> None:
    shown = {}
    for path in sorted(pages.glob("*.html")):
        page = chromium.open(f"file://{path}")
        harmless(page, hostile_run.folder)
        assert page.seen["scripts"] == 1, f"{path.name}: ours alone, which sorts tables"
        shown[path.stem] = page.seen["text"]
    record_property("inputs tried", len(HARMS))
    assert shown.keys() >= {"overview", "comparison", "samples", "data", "models", "environment", "sources"}
    for harm in HARMS.values():
        words = " ".join(harm.split())
        assert all(words in " ".join(shown[name].split()) for name in ("overview", "comparison", "samples")), harm


def test_snakemakes_report_runs_none_of_it_and_asks_for_nothing(hostile_run: Repository, chromium: Browser) -> None:
    page = chromium.open(f"file://{hostile_run.folder}/report.html", EXPLORE)
    assert page.seen["ran"] is None
    assert page.seen["handlers"] == []
    assert page.dialogs == []
    elsewhere = [address for address in page.requests if urlsplit(address).scheme not in ("file", "data", "blob")]
    assert elsewhere == []


def test_what_a_model_writes_and_why_a_run_failed_are_text(
    hostile_run: Repository, chromium: Browser, tmp_path: Path
) -> None:
    from trainyard.config.study import Study  # noqa: PLC0415  (these need no browser where the rest is skipped)
    from trainyard.report.pages import comparison, samples  # noqa: PLC0415

    results = hostile_run.folder / "results"
    (run,) = (path.parent for path in (results / "hostile").glob("*/summary.json"))
    (texts,) = run.glob("evaluate/samples-*.json")
    items = pq.read_table(texts.with_suffix(".parquet"))
    written = pa.array([list(HARMS.values())[row % len(HARMS)] for row in range(len(items))])
    made = tmp_path / "results/hostile/run/evaluate" / texts.name
    made.parent.mkdir(parents=True)
    made.write_bytes(texts.read_bytes())
    column = items.column_names.index("prediction")
    pq.write_table(items.set_column(column, "prediction", written), made.with_suffix(".parquet"))
    for file in ("spec.json", "summary.json", "metrics.jsonl"):
        (made.parents[1] / file).write_bytes((run / file).read_bytes())
    summary = json.loads((run / "summary.json").read_text()) | {
        "outcome": "diverged",
        "reason": " ".join(HARMS.values()),
    }
    (made.parents[1] / "summary.json").write_text(json.dumps(summary))
    study = Study.model_validate(STUDY)
    rows = [results / "data/hostile-text/rows/test.parquet"]
    samples.write(study, runs=[made.parents[1]], texts=[made], rows=rows, output=tmp_path / "samples.html")
    page, numbers = tmp_path / "comparison.html", tmp_path / "comparison.csv"
    comparison.tabulate(study, runs=[made.parents[1]], evaluations=[], parity=[], table=page, numbers=numbers)
    for name in ("samples", "comparison"):
        page = chromium.open(f"file://{tmp_path}/{name}.html")
        harmless(page, tmp_path)
        for harm in HARMS.values():
            assert " ".join(harm.split()) in " ".join(page.seen["text"].split()), (name, harm)


def test_no_cell_of_a_csv_begins_as_a_formula_does(pages: Path) -> None:
    found = 0
    for path in sorted(pages.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), f"{path.name}: {cell}"
                    found += "source " in cell and "cmd|" in cell
    assert found, "the published source, whose text begins so"


def test_a_title_is_shown_as_it_was_written(pages: Path, chromium: Browser) -> None:
    page = chromium.open(f"file://{pages}/overview.html")
    assert " ".join(page.seen["title"].split()) == " ".join(TITLE.split())
