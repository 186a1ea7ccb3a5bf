"""What the runs ran on: code, versions and hardware."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.config.study import Study
from trainyard.core.code_versions import read_versions, with_commits
from trainyard.core.files import read_json
from trainyard.report.render.format import plural, size, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, write_table

TITLES = {
    "commit": "commit of the code",
    "code": "hash of the training code",
    "platform": "operating system",
    "cpu": "processor",
    "gpu": "accelerator",
    "cores": "cores",
    "memory": "memory",
}


def tabulate(study: Study, *, runs: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write code, versions and hardware as HTML and CSV: a line for each value, with the runs that had it.

    Args:
        study: gives the title.
        runs: folders with provenance.json, of runs and probes.
        table: the HTML page.
        numbers: the CSV.
    """
    values: dict[tuple[str, str], dict[str, list[str]]] = {}
    for folder in runs:
        for key, value in _flat(read_json(folder / "provenance.json")).items():
            values.setdefault(key, {}).setdefault(value, []).append(folder.name)
    rows = [
        _row(group, name, value, holders, len(runs))
        for (group, name), holders in sorted(values.items(), key=lambda item: _order(item[0]))
        for value, holders in holders.items()
    ]
    columns = [
        Column("kind", "about", text=True),
        Column("name", "name", text=True),
        Column("value", "value", text=True),
        Column("runs", "runs", text=True, tip="hover over a number for the names"),
    ]
    notes = ["Each run's provenance.json holds all of this, with its command and the hashes of its inputs."]
    write_table(Table("Environment", columns, rows, notes, "Nothing was run."), study.title, table, numbers)


def _flat(provenance: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """What makes one environment differ from another, as (kind, name) to text."""
    flat = {}
    for key, title in TITLES.items():
        value = provenance.get(key)
        if value is None:
            continue
        text = size(value) if key == "memory" else str(value)
        if key == "commit" and provenance.get("dirty"):
            text += " with changes that are not committed"
        flat["code" if key in ("commit", "code") else "hardware", title] = text
    if mixed := with_commits(read_versions(provenance.get("code_versions"))):
        flat["code", "versions of the code"] = mixed
    for group, key in (("versions", "versions"), ("settings", "environment")):
        flat |= {(group, name): str(value) for name, value in (provenance.get(key) or {}).items() if value is not None}
    return flat


def _order(key: tuple[str, str]) -> tuple[int, str]:
    return ["code", "hardware", "versions", "settings"].index(key[0]), key[1]


def _row(group: str, name: str, value: str, holders: Sequence[str], every: int) -> Row:
    whole = len(holders) == every
    names = ", ".join(holders)
    return Row(
        {
            "kind": Cell(group, group),
            "name": Cell(name, name),
            "value": Cell(value, value, kind="code"),
            "runs": Cell(
                "all" if whole else plural(len(holders), "run"),
                len(holders),
                {"names": names},
                tip=truncate(names, 600),
            ),
        }
    )
