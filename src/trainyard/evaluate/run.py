"""One evaluation, from a model and rows to its result, whatever the metric."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainyard.core.files import check_writable, sha256_json
from trainyard.evaluate.model import explain_no_model
from trainyard.evaluate.result_files import Names, Result, write_items, write_result
from trainyard.evaluate.scorer import load_metric
from trainyard.evaluate.workers import Task, score_items


def run(
    metric: str,
    model_folder: Path,
    rows: Path,
    settings: Mapping[str, Any],
    output: Path,
    names: Names,
    work: Path | None = None,
) -> None:
    """Evaluate a model on rows; write the result to `output` (JSON) and its items beside it (Parquet).

    Args:
        metric: the name of its module.
        model_folder: a folder in transformers' format, or one that a run left without a model.
        rows: a Parquet file of the kind that the metric reads.
        settings: of the metric's Settings.
        output: the JSON file.
        names: what the evaluation is called.
        work: where finished blocks outlive a kill; nowhere by default.

    Raises:
        InputError: the model, the rows or the settings don't do, or the result can't be written.
    """
    check_writable(output.parent)
    module, items = load_metric(metric), output.with_suffix(".parquet")
    parsed = module.Settings.model_validate(settings)
    if reason := explain_no_model(model_folder):
        write_items([], module.SCHEMA, items)
        result = Result(module.describe(parsed), parsed.to_record(), reason=reason)
        write_result(output, names, metric, result, model_folder, rows)
        return
    if work is not None and parsed.device != "cpu":  # blocks of another GPU's batches are done again
        work = work.with_name(f"{work.name}-{sha256_json(parsed.to_record())[:8]}")
    task = Task(metric, str(model_folder), str(rows), parsed.model_dump(mode="json"), names.title)
    with score_items(task, parsed.processes, items, work) as speed:
        result = module.summarise(items, parsed, model_folder, rows)
        if speed is not None:
            result = replace(result, extra={**(result.extra or {}), "generation": speed})
        write_result(output, names, metric, result, model_folder, rows)
