"""From the `measure` settings of a study to the cells that are measured one by one."""

import itertools
from dataclasses import dataclass

from trainyard.config.load import choose
from trainyard.config.machine import Device
from trainyard.config.runs import RESULTS, Catalogues, Execution
from trainyard.config.study import Measure
from trainyard.errors import InputError


@dataclass(frozen=True)
class Cell(Execution):
    """One measurement."""

    @property
    def file(self) -> str:
        """Where its result stands."""
        return f"{RESULTS}/{self.study}/measure/{self.name}.json"


def cells(study: str, measure: Measure, catalogues: Catalogues, device: Device, place: str) -> dict[str, Cell]:
    """Every cell of the grid by name.

    Raises:
        InputError: a name that no catalogue has, or a sequence longer than the model reads.
    """
    found = {}
    for model_name, parallel, processes, precision, batch, length in itertools.product(
        measure.models,
        measure.parallel,
        measure.processes,
        measure.precision,
        measure.batch,
        measure.sequence_length,
    ):
        model = choose(model_name, catalogues.models, "model", f"{place}.models")
        setting = choose(parallel, catalogues.parallel, "parallel setting", f"{place}.parallel")
        if length > model.shape.context:
            raise InputError(
                f"{place}.sequence_length: {length}, but {model_name} reads {model.shape.context} tokens at most"
            )
        if setting.one_process and processes > 1:
            continue
        name = f"{model_name}_{parallel}-x{processes}_{precision}_batch{batch}_sequence{length}"
        found[name] = Cell(
            study,
            name,
            {
                "study": study,
                "cell": name,
                "model": {"name": model_name, **model.for_job(pretrained=False)},
                "parallel": {"name": parallel, **setting.for_job()},
                "processes": processes,
                "threads": measure.threads,
                "device": device,
                "precision": precision,
                "batch": batch,
                "sequence_length": length,
                "steps": measure.steps,
                "warmup_steps": measure.warmup_steps,
                "activation_checkpointing": measure.activation_checkpointing,
            },
        )
    return found
