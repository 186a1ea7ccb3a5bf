"""What models wrote: continuations and summaries beside the reference, each model's next to the others'."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from markupsafe import Markup

from trainyard.config.study import Study
from trainyard.core.files import write_text
from trainyard.metrics import METRICS
from trainyard.report.render.format import POINTS, SHORT_TITLES, decimal, plural, score
from trainyard.report.render.html import make_environment, render
from trainyard.report.results.runs import Evaluation, Run, model_labels, read_evaluations, read_runs
from trainyard.report.statistics.cost import step_of

MOST = 4  # summaries shown of each evaluation
ABSENT = "\N{REPLACEMENT CHARACTER}"  # for a character that has no picture


@dataclass(frozen=True)
class SampleText:
    """What one model wrote, or why it did not."""

    model: str
    remark: str
    text: str | None


@dataclass(frozen=True)
class Example:
    """One row of the data: what was given, how it is in truth, and what the models wrote."""

    row: int
    given: str
    reference: str
    written: list[SampleText]


@dataclass(frozen=True)
class Section:
    """One evaluation's examples.

    Attributes:
        title: dataset and split.
        how: how the texts were made.
        given: what the models were given: prompt or source.
        reference: what is beside: how the document goes on, or the summary of the data.
        examples: the rows.
        empty: why there are none.
    """

    title: str
    how: str
    given: str
    reference: str
    examples: list[Example]
    empty: str = ""


def write(study: Study, *, runs: Sequence[Path], texts: Sequence[Path], rows: Sequence[Path], output: Path) -> None:
    """Write the page of samples. All text of data and models is escaped.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json, for labels and steps.
        texts: evaluation files whose items hold texts: of `samples`, and of metrics that have texts.
        rows: the rows that those were made from: `{dataset}/rows/{split}.parquet`.
        output: the HTML page.
    """
    page_sections = make_sections(read_runs(runs), read_evaluations(texts), rows)
    body = make_environment().get_template("samples.html").render(sections=page_sections)
    write_text(output, render("page.html", title="Samples", study_title=study.title, body=Markup(body)))  # noqa: S704 (autoescaped)


def make_sections(runs: Sequence[Run], evaluations: Sequence[Evaluation], rows: Sequence[Path]) -> list[Section]:
    """The examples of each evaluation, in the order of the files."""
    sources = {(path.parents[1].name, path.stem): path for path in rows}
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    results = []
    for group in groups.values():
        raw = group[0].raw
        make = _continuations if group[0].metric == "samples" else _summaries
        results.append(make(group, model_labels(runs, group), runs, sources[raw["dataset"], raw["split"]]))
    return results


def make_visible(text: str) -> str:
    """The text without white space around it, and with control characters, which a page can't show, replaced."""
    characters = (ABSENT if unicodedata.category(each) == "Cc" and each not in "\n\t" else each for each in text)
    return "".join(characters).strip()


def _continuations(group: Sequence[Evaluation], labels: Sequence[str], runs: Sequence[Run], _rows: Path) -> Section:
    settings = group[0].raw["settings"]
    sampling = f"drawn at temperature {decimal(settings['temperature'], 2)} with seed {settings['seed']}"
    how = (
        f"The first {plural(settings['prompt_words'], 'word')} of a document, continued for at most "
        f"{plural(settings['new_tokens'], 'token')}, {sampling if settings['temperature'] else 'always the likeliest'}."
    )
    models = [(each, label, _items(each)) for each, label in zip(group, labels, strict=True)]
    examples = []
    for row in _rows_of(items for _, _, items in models):
        own = next(items[row] for _, _, items in models if row in items)
        longest = max((items[row]["target"] for _, _, items in models if row in items), key=len)
        written = [
            _make_text(each, label, runs, items.get(row), lambda item: plural(item["new_tokens"], "token"))
            for each, label, items in models
        ]
        examples.append(Example(row, make_visible(own["prompt"]), make_visible(longest), written))
    title = f"Continuations: {group[0].raw['dataset']} {group[0].raw['split']}"
    reasons = [f"{label}: {each.reason}" for each, label in zip(group, labels, strict=True)]
    return Section(title, how, "prompt", "the document goes on", examples, "" if examples else "; ".join(reasons))


def _summaries(group: Sequence[Evaluation], labels: Sequence[str], runs: Sequence[Run], rows: Path) -> Section:
    settings = group[0].raw["settings"]
    how = f"The first {MOST} rows of {group[0].raw['n']:,} that were scored."
    if "beams" in settings:
        beams = settings["beams"]
        search = f"beam search with {plural(beams, 'beam')}" if beams > 1 else "the likeliest token"
        how = f"Summaries of {settings['min_length']} to {settings['max_length']} tokens, by {search}. {how}"
    models = [(each, label, _items(each)) for each, label in zip(group, labels, strict=True)]
    sources = pq.read_table(rows, columns=["source"])["source"]
    examples = []
    for row in _rows_of(items for _, _, items in models)[:MOST]:
        own = next(items[row] for _, _, items in models if row in items)
        written = [
            _make_text(each, label, runs, items.get(row), _describe_score(each)) for each, label, items in models
        ]
        examples.append(Example(row, make_visible(sources[row].as_py()), make_visible(own["target"]), written))
    title = f"Summaries: {group[0].raw['dataset']} {group[0].raw['split']}"
    reasons = [f"{label}: {each.reason}" for each, label in zip(group, labels, strict=True)]
    return Section(title, how, "source", "summary of the data", examples, "" if examples else "; ".join(reasons))


def _describe_score(evaluation: Evaluation) -> Callable[[Mapping[str, Any]], str]:
    name = METRICS[evaluation.metric].headline
    digits = 1 if name in POINTS else None

    def describe(item: Mapping[str, Any]) -> str:
        return "not scored" if item[name] is None else f"{SHORT_TITLES[name]} {score(name, item[name], digits)}"

    return describe


def _items(evaluation: Evaluation) -> dict[int, dict[str, Any]]:
    """The items of an evaluation by row; none where there was no model."""
    return {item["row"]: item for item in pq.read_table(evaluation.path.with_suffix(".parquet")).to_pylist()}


def _rows_of(items: Iterator[Mapping[int, Any]]) -> list[int]:
    return sorted({row for items in items for row in items})


def _make_text(
    evaluation: Evaluation, label: str, runs: Sequence[Run], item: dict[str, Any] | None, measure: Any
) -> SampleText:
    if item is None:
        return SampleText(label, evaluation.reason, None)
    run = next((run for run in runs if run.name == evaluation.run), None)
    step = step_of(evaluation, run) if run else None
    at = [
        evaluation.checkpoint,
        *([f"step {step:,}"] if step is not None and evaluation.checkpoint != f"step-{step}" else []),
    ]
    return SampleText(label, ", ".join([*at, measure(item)]), make_visible(item["prediction"]))
