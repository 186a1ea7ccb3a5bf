"""The first page of a study: its question, what the results answer, and what went wrong."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainyard.config.catalogue import Model
from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import Study
from trainyard.core.files import write_text
from trainyard.report.pages.comparison import compare
from trainyard.report.pages.findings import collect_findings
from trainyard.report.pages.key_figures import make_cards
from trainyard.report.render.html import render, render_fragment
from trainyard.report.results.contamination import read_overlaps
from trainyard.report.results.measurements import read_cells, read_searches
from trainyard.report.results.probes import read_comparisons
from trainyard.report.results.runs import read_all, read_evaluations, read_runs
from trainyard.report.results.searches import read_recipe_searches
from trainyard.report.results.shortcuts import read_shortcuts
from trainyard.report.statistics.study import Evidence


def write(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    parity: Sequence[Path],
    cells: Sequence[Path],
    shortcuts: Sequence[Path],
    contamination: Sequence[Path] = (),
    duplicates: Sequence[Path] = (),
    peaks: Sequence[Path] = (),
    generations: Sequence[Path] = (),
    members: Sequence[Path] = (),
    models: Mapping[str, Model],
    energy: Energy = ENERGY,
    figures: Mapping[str, Path],
    output: Path,
) -> None:
    """Write the overview of a study: one page that needs no other file.

    Args:
        study: gives title, question and published results.
        runs: folders with spec.json and summary.json.
        evaluations: evaluation files of runs and of pretrained models.
        parity: parity.json of the probes.
        cells: measure/*.json.
        shortcuts: shortcuts/*.json.
        contamination: contamination/*/*.json.
        duplicates: rows/duplicates/*.json of the datasets that were trained on.
        peaks: peaks/*.json.
        generations: tune/*/generation*.json of its searches.
        members: summary.json of their members.
        models: the catalogue.
        energy: watts, and the grid.
        figures: SVG files by title, in their order on the page.
        output: the HTML page.
    """
    known = read_runs(runs)
    evidence = Evidence(
        study=study,
        runs=known,
        evaluations=read_evaluations(evaluations),
        parity=read_comparisons(parity),
        cells=read_cells(cells),
        searches=read_searches(cells),
        shortcuts=read_shortcuts(shortcuts),
        models=models,
        duplicates=read_all(duplicates),
        tuned=read_recipe_searches(study, generations, members, known),
        energy=energy,
    )
    overlaps = read_overlaps(contamination)
    peaks_read = read_all(peaks)
    table = compare(study, known, evidence.evaluations, evidence.parity, overlaps, peaks_read, energy)
    page = render(
        "overview.html",
        study=study,
        cards=make_cards(evidence),
        findings=collect_findings(evidence),
        table=render_fragment(table) if table.rows else "",
        figures=[(title, _address(path)) for title, path in figures.items()],
    )
    write_text(output, page)


def _address(svg: Path) -> str:
    """The drawing as a data address: as an image it can't run scripts, and its ids meet no other drawing's."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"
