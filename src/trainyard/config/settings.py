"""config/config.yaml: which studies to run, and the choices of a machine."""

import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trainyard.config.values import Distinct, Entry, Name, Processes

Price = Annotated[float, Field(gt=0, le=1e9)]


class Prices(Entry):
    """What one process's device costs an hour: a choice of the machine, which changes no result."""

    currency: str = Field(min_length=1, max_length=16, description="as the report writes it: EUR, USD")
    cpu: Price | None = Field(None, description="an hour of the cores of one process")
    cuda: Price | None = Field(None, description="an hour of one GPU")

    def hour(self, device: str) -> float | None:
        """The price of an hour of a device, `cpu` or `cuda`; None where none is given."""
        return {"cpu": self.cpu, "cuda": self.cuda}[device]


def _name(value: object) -> object:
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        raise ValueError(f"give the name: {Path(value).stem}")
    # YAML takes a name such as 2024, or 2024-05-20, for something else
    return str(value) if type(value) in (int, datetime.date) else value


def _names(value: object) -> object:
    # `studies=demo`, `studies=demo,opt-plugins` and `studies=[demo]` all come from the command line
    if isinstance(value, str):
        return [part for part in value.replace(",", " ").split() if part]
    return value if isinstance(value, list) or value is None else [value]


def _nothing(value: object) -> object:
    return None if value in ("", "null", "none", "None") else value


def _none(value: object) -> object:
    return {} if _nothing(value) is None else value


class PowerGrid(Entry):
    """What a kilowatt-hour from the grid has given off."""

    grams_per_kwh: float = Field(ge=0, le=10_000, description="of CO2 equivalent")
    source: str = Field(min_length=1, max_length=200, description="whose figure it is, of where and when")
    place: str | None = Field(
        None, min_length=1, max_length=80, description="where the machine stands, for the model cards: Paris, France"
    )


WORLD = PowerGrid.model_validate(
    {"grams_per_kwh": 473, "source": "world average of 2024 (Ember, Global Electricity Review 2025)"}
)


class Energy(Entry):
    """What readings of meters come to: a choice of the machine, which changes no run.

    Watts are those of Green Algorithms for a processor that it doesn't know (Lannelongue, Grealey and Inouye 2021,
    doi:10.1002/advs.202100707).
    """

    watts_per_core: float = Field(12, gt=0, le=1000, description="the TDP of the processor over its cores")
    watts_per_gb: float = Field(0.3725, ge=0, le=100, description="of memory, of 10^9 bytes")
    pue: float = Field(1, ge=1, le=10, description="what a building takes over what its machines take (PUE)")
    grid: Annotated[PowerGrid | None, BeforeValidator(_nothing)] = Field(
        WORLD, description="null: emissions are left out"
    )


ENERGY = Energy.model_validate({})
"""Where config.yaml says nothing else."""


class Estimate(Entry):
    """What the dry run takes a device for, where it says what trainings are to cost."""

    tflops: float = Field(
        gt=0, le=1e6, description="10^12 FLOP/s that training sustains on a GPU, or a thread of a CPU"
    )
    watts: float = Field(gt=0, le=1e6, description="that it takes meanwhile: its TDP is near it")


class Config(Entry):
    """config/config.yaml: which studies to run, and the choices of a machine."""

    studies: Annotated[Distinct[Annotated[Name, BeforeValidator(_name)]], BeforeValidator(_names), Field(min_length=1)]
    mirror: Annotated[str | None, BeforeValidator(_nothing)] = Field(
        None, description="a folder in the hub's layout; nothing is fetched from the hub then"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes cuda where an NVIDIA driver runs")
    interpreters: Annotated[dict[str, Path], BeforeValidator(_none)] = Field(
        default_factory=dict,
        description="the bin/python of a framework that has an environment of its own: {colossalai: PATH}",
    )
    processes_per_node: Annotated[Processes | None, BeforeValidator(_nothing)] = Field(
        None, description="under SLURM a run of more processes takes several nodes; null: one node for all"
    )
    resume: Annotated[Literal["anyway"] | None, BeforeValidator(_nothing)] = Field(
        None,
        description="anyway: an interrupted run goes on from its checkpoint though its code has changed since, and its "
        "results say so; null: it begins at step 1; no run is made anew for it",
    )
    prices: Annotated[Prices | None, BeforeValidator(_nothing)] = Field(
        None, description="of a device's hour, for quality against cost; it changes no run"
    )
    energy: Annotated[Energy, BeforeValidator(_none)] = Field(
        ENERGY, description="what an hour of a core and of memory, and a kilowatt-hour, count for"
    )
    estimate: Annotated[Estimate | None, BeforeValidator(_nothing)] = Field(
        None, description="the device that the dry run's costs are of; null: a guess that it states; it changes no run"
    )
