"""What the report says, read back: the text of its figures, the rows of its tables and its sentences."""

import csv
import xml.etree.ElementTree as ET
from pathlib import Path

from trainyard.report.pages.findings import collect_findings
from trainyard.report.results.measurements import read_cells, read_searches
from trainyard.report.results.probes import read_comparisons
from trainyard.report.results.runs import read_all, read_evaluations, read_runs
from trainyard.report.results.searches import read_recipe_searches
from trainyard.report.results.shortcuts import read_shortcuts
from trainyard.report.statistics.study import Evidence

from .sample_results import Results


def svg_text(path: Path) -> str:
    """All text of a figure, its words parted by one space."""
    return " ".join(" ".join(ET.parse(path).getroot().itertext()).split())


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def evidence_of(results: Results) -> Evidence:
    """All that was found, read from its files."""
    runs = read_runs(results.runs)
    return Evidence(
        results.study,
        runs,
        read_evaluations(results.evaluations),
        read_comparisons(results.parity),
        read_cells(results.cells),
        read_searches(results.cells),
        read_shortcuts(results.shortcuts),
        results.models,
        read_all(results.duplicates),
        read_recipe_searches(results.study, results.generations, results.members, runs),
    )


def sentences(results: Results) -> dict[str, str]:
    """What is said of the results, by topic."""
    return {finding.topic: " ".join(finding.sentences) for finding in collect_findings(evidence_of(results))}
