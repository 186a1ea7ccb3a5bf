"""From the `measure` grids of a study to the cells that are measured one by one."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.config.catalogue import ParallelSetting
from trainyard.config.engine_options import Options, parse_options
from trainyard.config.study import Measure, Study
from trainyard.config.train import Train, fill_required
from trainyard.config.yaml_entries import choose, parse
from trainyard.core.errors import InputError
from trainyard.estimate.families import load_family
from trainyard.plan.by_size import resolve_by_size
from trainyard.plan.capabilities import Device, explain_never_supported
from trainyard.plan.checks import check_lora, check_spread
from trainyard.plan.runs import RESULTS, Catalogues, Execution, merge_settings

_OF_THE_CELL = {
    "steps",
    "tokens",
    "epochs",
    "batch",
    "batch_tokens",
    "micro_batch",
    "sequence_length",
    "source_length",
    "initial",
    "learning_rate",
    "warmup_steps",
    "warmup_ratio",
    "warmup_start",
    "decay",
    "decay_ratio",
    "final_fraction",
    "order",
    "validate_every",
    "validation_tokens",
    "patience",
    "min_improvement",
    "checkpoint_every",
    "keep_steps",
}
"""Settings of a training that are no matter of what a step costs, or that the coordinates of a cell say."""


@dataclass(frozen=True)
class Cell(Execution):
    """One measurement, in several launches, or one search for the largest batch.

    Attributes:
        launches: how many.
    """

    launches: int = 1

    @property
    def file(self) -> str:
        """Where its result is."""
        return f"{RESULTS}/{self.study}/measure/{self.name}.json"

    @property
    def launch_files(self) -> list[str]:
        """Where the results of its launches are."""
        return [self.launch_file(number) for number in range(1, self.launches + 1)]

    def launch_file(self, number: int) -> str:
        """Where the result of one launch is."""
        return f"{RESULTS}/{self.study}/measure/{self.name}/launch{number}.json"

    def launch_specification(self, number: int) -> dict[str, Any]:
        """What one launch depends on. The first is profiled: where time goes is no matter of chance."""
        profiled = {} if number == 1 else {"profiled_steps": 0}
        return {**self.specification, "launch": number} | (profiled if self.specification["kind"] == "cell" else {})


def expand_cells(name: str, study: Study, catalogues: Catalogues, device: Device, location: str) -> dict[str, Cell]:
    """Every cell that a study measures by name, and one for each search; without those that a setting never is in.

    Raises:
        InputError: a name that no catalogue has, a sequence longer than the model reads, settings of training that
            can't be, or a cell given twice.
    """
    results = {}
    for number, grid in enumerate(study.measure):
        here = f"{location}: measure.{number}"
        parse(Train, fill_required(grid.train), f"{here}.train")
        for key in grid.train.keys() & _OF_THE_CELL:
            raise InputError(f"{here}.train.{key}: every cell has its own {key}; remove the line")
        specifications = list(_grid(study, grid, catalogues, device, here))
        if not specifications:
            raise InputError(
                f"{here}.parallel: none of these trains in this precision and number of processes; change one"
            )
        for specification in specifications:
            cell = _name(specification, grid)
            if cell in results:
                raise InputError(f"{location}: measure: the cell {cell} appears in two grids; remove it from one")
            launches = grid.launches if specification["kind"] == "cell" else 1
            results[cell] = Cell(name, cell, {"study": name, "cell": cell, **specification}, launches=launches)
    return results


def _grid(
    study: Study, grid: Measure, catalogues: Catalogues, device: Device, location: str
) -> Iterator[dict[str, Any]]:
    batches: list[int | None] = [*grid.batch, *([None] if grid.search else [])]
    for model_name, parallel, processes, precision, length, batch in itertools.product(
        grid.models, grid.parallel, grid.processes, grid.precision, grid.sequence_length, batches
    ):
        model = choose(model_name, catalogues.models, "model", f"{location}.models")
        setting = choose(parallel, catalogues.parallel, "parallel setting", f"{location}.parallel")
        if length > model.shape.context:
            raise InputError(
                f"{location}.sequence_length: {length}, but {model_name} reads {model.shape.context} tokens at most"
            )
        if precision not in setting.precision or (setting.one_process and processes > 1):
            continue
        if explain_never_supported(setting, model.family, precision, processes) is None:
            rows = batch or (grid.search.largest if grid.search else 1)
            check_spread(setting, parallel, (model_name, model), rows, f"{location}.parallel")
        settings = _inherited(study, model_name, parallel, catalogues, location) | grid.train
        rows = batch or _smallest_batch(setting)
        train = parse(Train, settings | _of_the_cell(rows, setting.data_ranks(processes), length), f"{location}.train")
        check_lora(train.lora, model_name, model, f"{location}.train.lora")
        if load_family(model.family).is_encoder_decoder and train.target_length > model.shape.context:
            raise InputError(
                f"{location}.train.target_length: {train.target_length}, but {model_name} reads {model.shape.context} "
                "tokens at most; make it smaller"
            )
        yield {
            "kind": "cell" if batch else "search",
            "model": {"name": model_name, **model.to_spec(pretrained=False)},
            "parallel": {"name": parallel, **setting.to_spec()},
            "processes": processes,
            "threads": grid.threads,
            "device": device,
            "precision": precision,
            "batch": batch,
            "sequence_length": length,
            "train": train.model_dump(mode="json"),
            "memory_limit": _limit(grid, device),
            **(
                {"steps": grid.steps, "warmup_steps": grid.warmup_steps, "profiled_steps": grid.profiled_steps}
                if grid.search is None or batch
                else {"search": {"smallest": _smallest_batch(setting), **grid.search.model_dump()}}
            ),
        }


def _inherited(study: Study, model: str, parallel: str, catalogues: Catalogues, location: str) -> dict[str, Any]:
    """The settings of the runs that a cell stands for, but for what the cell has of its own."""
    own = next((grid for grid in study.grids if model in grid.models), study.grids[0] if study.grids else None)
    if own is None:
        return {}
    settings = resolve_by_size(
        merge_settings(own, own.datasets[0], model, parallel), catalogues.models[model], location
    )
    return {key: value for key, value in settings.items() if key not in _OF_THE_CELL}


def _of_the_cell(rows: int, ranks: int, length: int) -> dict[str, Any]:
    """One step of `rows` sequences a data rank, of random tokens, which no rate teaches anything."""
    return {
        "steps": 1,
        "batch": rows * ranks,
        "micro_batch": rows,
        "sequence_length": length,
        "source_length": length,
        "learning_rate": 1e-5,
    }


def _smallest_batch(setting: ParallelSetting) -> int:
    """The fewest sequences that one copy of a model takes at once."""
    options: Options = parse_options(setting.engine, setting.options)
    return setting.pipeline if options.row_for_each_stage else 1


def _limit(grid: Measure, device: Device) -> dict[str, Any] | None:
    """The memory that a process may take where it computes."""
    gigabytes = grid.device_memory_gb if device == "cuda" else grid.host_memory_gb
    kind = "device" if device == "cuda" else "host"
    return None if gigabytes is None else {"kind": kind, "bytes": round(gigabytes * 10**9)}


def _name(cell: dict[str, Any], grid: Measure) -> str:
    """The coordinates of a cell in one word."""
    limits = {"host": grid.host_memory_gb, "device": grid.device_memory_gb}
    parts = (
        cell["model"]["name"],
        f"{cell['parallel']['name']}-x{cell['processes']}",
        cell["precision"],
        f"batch{cell['batch']}" if cell["batch"] else "largest-batch",
        f"sequence{cell['sequence_length']}",
        *(["checkpointed"] if cell["train"]["activation_checkpointing"] else []),
        *(["compiled"] if cell["train"]["compile"] else []),
        *(["tf32"] if cell["train"]["tf32"] else []),
        *(["-".join(["frozen", *cell["train"]["freeze"]])] if cell["train"]["freeze"] else []),
        *([_name_lora(cell["train"]["lora"])] if "lora" in cell["train"] else []),
        *([f"window{cell['train']['attention']['window']}"] if "attention" in cell["train"] else []),
        *(f"{kind}{gigabytes:g}gb" for kind, gigabytes in limits.items() if gigabytes),
    )
    return "_".join(parts)


def _name_lora(lora: Mapping[str, Any]) -> str:
    """Rank and targets in one word: what else is said of adapters changes neither time nor memory, but dropout."""
    targets = lora["targets"] or []
    words = [f"lora{lora['rank']}", *([targets] if isinstance(targets, str) else targets)]
    return "-".join([*words, *(["dropout"] if lora["dropout"] else [])])
