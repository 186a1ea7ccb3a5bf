"""Where every number comes from: specification, log and data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.config.study import Study
from trainyard.core.files import read_json
from trainyard.report.render.format import truncate
from trainyard.report.render.html import Cell, Column, Row, Table, write_table

FILES = (
    ("spec.json", "specification"),
    ("metrics.jsonl", "every step"),
    ("summary.json", "summary"),
    ("provenance.json", "provenance"),
)
ORIGIN = ("study", "run", "step", "origin", "source", "revision")  # what says where a model is from


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    parity: Sequence[Path],
    cells: Sequence[Path],
    shortcuts: Sequence[Path],
    statistics: Sequence[Path],
    contamination: Sequence[Path] = (),
    duplicates: Sequence[Path] = (),
    table: Path,
    numbers: Path,
) -> None:
    """Write the paths behind every number of the report as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders of runs and probes.
        evaluations: evaluation files.
        parity: parity.json of the probes.
        cells: measure/*.json.
        shortcuts: shortcuts/*.json.
        statistics: statistics.json of each dataset under each tokenizer.
        contamination: contamination/*/*.json.
        duplicates: rows/duplicates/*.json of the datasets that were trained on.
        table: the HTML page.
        numbers: the CSV.
    """
    rows = [row for folder in runs for row in _run(folder)]
    rows += [row for path in evaluations for row in _evaluation(path)]
    rows += [row for path in parity for row in _with_log("parity", path.parent.name, "difference by step", path)]
    rows += [row for path in cells for row in _with_log("measure", path.stem, "speed and memory", path)]
    rows += [row for path in shortcuts for row in _with_log("shortcuts", path.stem, "baselines", path)]
    rows += [row for path in contamination for row in _contamination(path)]
    rows += [_file("data", path.parents[1].name, f"statistics under {path.parent.name}", path) for path in statistics]
    rows += [_file("data", path.parents[2].name, f"training rows in {path.stem}", path) for path in duplicates]
    columns = [
        Column("kind", "figure", text=True),
        Column("name", "of", text=True, shown=False),
        Column("what", "what", text=True),
        Column("path", "file, from the repository's root", text=True),
        Column("sha256", "SHA-256", text=True, shown=any("sha256" in row.cells for row in rows)),
    ]
    page = Table("Where the numbers come from", columns, rows, empty="This study has no results.")
    write_table(page, study.title, table, numbers)


def _run(folder: Path) -> Iterator[Row]:
    specification = read_json(folder / "spec.json")
    kind = specification["kind"]
    for name, what in FILES:
        yield _file(kind, folder.name, what, folder / name)
    if kind == "run":
        yield _file(kind, folder.name, "validation by row", folder / "validation.parquet")
    yield from _log(kind, folder.name, folder.parent, Path("train", folder.name))
    for name, path in specification["data"].items():
        if path:
            yield _file(kind, folder.name, f"input: {name}", Path(path))


def _evaluation(path: Path) -> Iterator[Row]:
    run, results = path.parents[1].name, path.parents[3]
    evaluation = read_json(path)
    yield _file("evaluation", run, path.stem, path)
    items = path.with_suffix(".parquet")
    if items.is_file():
        yield _file("evaluation", run, "item by item", items)
    rows = results / "data" / evaluation["dataset"] / "rows" / f"{evaluation['split']}.parquet"
    yield _file("evaluation", run, "input: rows", rows, evaluation.get("rows_sha256"))
    if origin := evaluation.get("model_origin"):
        pretrained = evaluation["checkpoint"] == "pretrained"
        model = results / "models" / run if pretrained else path.parents[1] / "models" / evaluation["checkpoint"]
        yield _file("evaluation", run, f"input: model ({_origin(origin)})", model)
    yield from _log("evaluation", run, path.parents[2], Path("evaluate", run, path.stem))


def _contamination(path: Path) -> Iterator[Row]:
    content, results = read_json(path), path.parents[3]
    yield _file("contamination", path.stem, f"overlap with {content['training']}", path)
    yield _file("contamination", path.stem, "item by item", path.with_suffix(".parquet"))
    for dataset, split, sha256 in (
        (content["training"], "train", content["training_sha256"]),
        (content["dataset"], content["split"], content["rows_sha256"]),
    ):
        rows = results / "data" / dataset / "rows" / f"{split}.parquet"
        yield _file("contamination", path.stem, f"input: rows of {dataset}", rows, sha256)
    yield from _log("contamination", path.stem, path.parents[2], Path("contamination", path.parent.name, path.stem))


def _origin(origin: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {origin[key]}" for key in ORIGIN if origin.get(key) is not None)


def _with_log(kind: str, name: str, what: str, path: Path) -> Iterator[Row]:
    yield _file(kind, name, what, path)
    yield from _log(kind, name, path.parents[1], Path(kind, name))


def _log(kind: str, name: str, study: Path, place: Path) -> Iterator[Row]:
    """The record and the log of a job, where they were kept: under the same name, with the study's and the rule's."""
    record = study / "provenance" / f"{place}.json"
    log = study.parents[1] / "logs" / study.name / f"{place}.log"
    for what, path in (("provenance", record), ("log", log)):
        if path.is_file():
            yield _file(kind, name, what, path)


def _file(kind: str, name: str, what: str, path: Path, sha256: str | None = None) -> Row:
    texts = {"kind": kind, "name": name, "what": what}
    cells = {key: Cell(text, text) for key, text in texts.items()}
    cells["path"] = Cell(path.as_posix(), path.as_posix(), kind="path")
    if sha256:
        cells["sha256"] = Cell(truncate(sha256, 13), sha256, tip=sha256, kind="code")
    return Row(cells)
