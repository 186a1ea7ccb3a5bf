"""What was cut of the items of an evaluation, or not scored at all: a line for each set of items."""

from collections.abc import Iterator, Sequence

from trainyard.report.render.format import join_words, plural
from trainyard.report.results.runs import Evaluation, Run, model_labels

MOST = 12
# of the settings that a result records: how many items, how many of their tokens, and what became of them
FACTS = (
    ("cut_contexts", "cut_context_tokens", "Contexts that lost their left end to fit the model"),
    ("unscored_items", "", "Items left out, since an ending has no token or more than the model takes"),
    ("documents_with_unknown", "unknown_tokens", "Documents with unknown tokens"),
    ("cut_sources", "cut_source_tokens", "Sources that lost their end to fit source_length"),
    ("unscored_targets", "", "Rows left out, since the tokenizer keeps less than half of the target's letters"),
    ("cut_prompts", "cut_prompt_tokens", "Prompts that lost their left end to fit the model"),
)


def describe_cuts(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> list[str]:
    """Of which models items were cut or left out, how many, and by how much in total."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    return [line for group in groups.values() for line in _of_group(group, model_labels(runs, group))]


def _of_group(group: Sequence[Evaluation], labels: Sequence[str]) -> Iterator[str]:
    for items, tokens, what in FACTS:
        results = []
        for each, label in zip(group, labels, strict=True):
            settings = each.raw["settings"]
            if settings.get(items):
                lost = f" ({plural(settings[tokens], 'token')})" if tokens else ""
                results.append(f"{label} {settings[items]:,} of {_rows(each):,}{lost}")
        if results:
            more = f" and {len(results) - MOST} more" if len(results) > MOST else ""
            yield f"{what} ({group[0].title}): {join_words(results[:MOST])}{more}."


def _rows(evaluation: Evaluation) -> int:
    """How many rows there were to score."""
    settings = evaluation.raw["settings"]
    return evaluation.raw["n"] + (settings.get("unscored_items") or 0) + (settings.get("unscored_targets") or 0)
