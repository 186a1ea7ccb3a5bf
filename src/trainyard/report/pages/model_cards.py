"""Model cards with what is known when a study is done: scores, energy and emissions, as the hub reads them.

The card beside the weights is written while they are trained, before anything is scored and with the same bytes
whenever the run is repeated; this one is that card with more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import Study
from trainyard.core.files import atomic_folder, write_text
from trainyard.models.model_card import extend_model_card
from trainyard.report.render.format import TITLES, significant
from trainyard.report.results.runs import Evaluation, Run, read_evaluations, read_runs
from trainyard.report.statistics.energy import Usage, describe_grid, read_usage

CARD = "README.md"


def write_cards(
    study: Study, *, runs: Sequence[Path], evaluations: Sequence[Path], energy: Energy = ENERGY, output: Path
) -> None:
    """Write `RUN/MODEL/README.md` for each model of each run into a folder.

    Args:
        study: gives title and question.
        runs: folders with spec.json, summary.json and the models with their cards.
        evaluations: evaluation files of the runs' models.
        energy: watts, and the grid.
        output: the folder.
    """
    scored = read_evaluations(evaluations)
    with atomic_folder(output) as draft:
        for run in read_runs(runs):
            usage = read_usage(run, energy)
            for name in run.summary["models"]:
                own = [each for each in scored if (each.run, each.checkpoint) == (run.name, name) and each.scores]
                file = run.folder / "models" / name / CARD
                if not file.is_file():  # models may be deleted to make room, and the report made again
                    continue
                card = file.read_text(encoding="utf-8")
                header: dict[str, Any] = {"model-index": [_index(run, own)]} if own else {}
                if emitted := _emissions(run, usage, energy):
                    header["co2_eq_emissions"] = emitted
                tables = {"Study": {study.title: study.question}, "Evaluation": _scores(own)}
                tables["Energy of the whole run"] = _energy(usage, energy)
                write_text(draft / run.name / name / CARD, extend_model_card(card, header, tables))


def _index(run: Run, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """An entry of `model-index`, in the form of huggingface_hub's `eval_results_to_model_index`."""
    task = "summarization" if run.specification["task"] == "summarisation" else "text-generation"
    results = []
    for each in evaluations:
        settings = {key: value for key, value in each.raw["settings"].items() if isinstance(value, str | int | float)}
        dataset = {"name": each.title, "type": each.raw["dataset"], "split": each.raw["split"]}
        results.append(
            {
                "task": {"type": task},
                "dataset": dataset | {"args": settings | {"n": each.raw["n"]}},
                "metrics": [
                    {"type": key, "value": score.value, "name": TITLES[key]} for key, score in each.scores.items()
                ],
            }
        )
    return {"name": run.name, "results": results}


def _emissions(run: Run, usage: Usage | None, energy: Energy) -> dict[str, Any] | None:
    """`co2_eq_emissions`, in grams; None where they are not known."""
    if usage is None or usage.consumption is None or usage.emissions is None:
        return None
    start = run.specification["train"].get("initial", "scratch")
    emitted = {
        "emissions": 1000 * usage.emissions,
        "source": f"Trainyard, {usage.consumption.label}, of {usage.consumption.what}; {describe_grid(energy)}",
        "training_type": "pre-training" if start == "scratch" else "fine-tuning",
        "hardware_used": f"{run.specification['processes']} x {run.summary['device_name']}",
    }
    if energy.grid and energy.grid.place:
        emitted["geographical_location"] = energy.grid.place
    return emitted


def _scores(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    rows = {}
    for each in evaluations:
        for key, score in each.scores.items():
            error = f" ± {score.error:.2g}" if score.error else ""
            rows[f"{TITLES[key]}, {each.title}"] = f"{score.value:.6g}{error}"
    return rows


def _energy(usage: Usage | None, energy: Energy) -> dict[str, Any]:
    if usage is None or usage.consumption is None:
        return {}
    rows = {
        "kWh": f"{significant(usage.consumption.kwh)}, {usage.consumption.label}, of {usage.consumption.what}",
        "device hours": significant(usage.device_hours),
        "launches": usage.launches,
    }
    if usage.emissions is not None:
        rows["kg CO2e"] = f"{significant(usage.emissions)}; {describe_grid(energy)}"
    return rows
