"""From the `measure` grids of a study to the cells that are measured one by one."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config.catalogue import ParallelSetting
from trainyard.config.engine_options import Options, parse_options
from trainyard.config.study import Measure
from trainyard.config.yaml_entries import choose
from trainyard.core.errors import InputError
from trainyard.plan.capabilities import Device, never
from trainyard.plan.checks import check_spread
from trainyard.plan.runs import RESULTS, Catalogues, Execution


@dataclass(frozen=True)
class Cell(Execution):
    """One measurement, or one search for the largest batch."""

    @property
    def file(self) -> str:
        """Where its result is."""
        return f"{RESULTS}/{self.study}/measure/{self.name}.json"


def cells(study: str, grids: Sequence[Measure], catalogues: Catalogues, device: Device, place: str) -> dict[str, Cell]:
    """Every cell of the grids by name, and one for each search; without those that a setting never is in.

    Raises:
        InputError: a name that no catalogue has, a sequence longer than the model reads, or a cell given twice.
    """
    found = {}
    for number, grid in enumerate(grids):
        specifications = list(_grid(grid, catalogues, device, f"{place}.{number}"))
        if not specifications:
            raise InputError(
                f"{place}.{number}.parallel: none of these trains in this precision and number of processes; change one"
            )
        for specification in specifications:
            name = _name(specification, grid)
            if name in found:
                raise InputError(f"{place}: the cell {name} appears in two grids; remove it from one")
            found[name] = Cell(study, name, {"study": study, "cell": name, **specification})
    return found


def _grid(grid: Measure, catalogues: Catalogues, device: Device, place: str) -> Iterator[dict[str, Any]]:
    batches: list[int | None] = [*grid.batch, *([None] if grid.search else [])]
    for model_name, parallel, processes, precision, length, batch in itertools.product(
        grid.models, grid.parallel, grid.processes, grid.precision, grid.sequence_length, batches
    ):
        model = choose(model_name, catalogues.models, "model", f"{place}.models")
        setting = choose(parallel, catalogues.parallel, "parallel setting", f"{place}.parallel")
        if length > model.shape.context:
            raise InputError(
                f"{place}.sequence_length: {length}, but {model_name} reads {model.shape.context} tokens at most"
            )
        if precision not in setting.precision or (setting.one_process and processes > 1):
            continue
        if never(setting, model.family, precision, processes) is None:
            rows = batch or (grid.search.largest if grid.search else 1)
            check_spread(setting, parallel, (model_name, model), rows, f"{place}.parallel")
        yield {
            "kind": "cell" if batch else "search",
            "model": {"name": model_name, **model.for_job(pretrained=False)},
            "parallel": {"name": parallel, **setting.for_job()},
            "processes": processes,
            "threads": grid.threads,
            "device": device,
            "precision": precision,
            "batch": batch,
            "sequence_length": length,
            "activation_checkpointing": grid.activation_checkpointing,
            "initial_loss_scale": grid.initial_loss_scale,
            "memory_limit": _limit(grid, device),
            **(
                {"steps": grid.steps, "warmup_steps": grid.warmup_steps, "profiled_steps": grid.profiled_steps}
                if grid.search is None or batch
                else {"search": {"smallest": _smallest_batch(setting), **grid.search.model_dump()}}
            ),
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
        *(["checkpointed"] if grid.activation_checkpointing else []),
        *(f"{kind}{gigabytes:g}gb" for kind, gigabytes in limits.items() if gigabytes),
    )
    return "_".join(parts)
