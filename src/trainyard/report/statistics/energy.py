"""What the readings of a run's meters come to: energy by its class, emissions, money, device hours, utilisation.

Three classes, never added: *counter*, of a whole device that shows what it takes; *model*, of CPU time and memory times
watts; *none*. The model is that of Green Algorithms (Lannelongue, Grealey and Inouye 2021,
doi:10.1002/advs.202100707): E = t (n P u + m P_m), of which t n u is the CPU time that was taken, and t m memory over
time, so that only watts are assumed. Estimates of this kind were off by up to 40 % from wattmeters (Fischer 2025,
arXiv:2509.22092).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainyard.config.settings import Energy, Prices
from trainyard.report.results.runs import Run

JOULES = 3.6e6
"""Of a kilowatt-hour."""
HOUR = 3600.0
ERROR = 0.4
"""Of the model, either way."""
ALONE = 0.9
"""Of the machine's CPU time: what a run has taken so much of, the processors' counters are about."""
Kind = Literal["counter", "model"]


@dataclass(frozen=True)
class Consumption:
    """The energy of a run.

    Attributes:
        kind: how it is known.
        kwh: of what `what` says.
        what: the devices that it is of.
    """

    kind: Kind
    kwh: float
    what: str

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where it lies if the model is off by as much as such models were found to be; None of a counter."""
        return (self.kwh * (1 - ERROR), self.kwh * (1 + ERROR)) if self.kind == "model" else None

    @property
    def label(self) -> str:
        """Its class, in a word or three."""
        return f"model ± {100 * ERROR:.0f} %" if self.kind == "model" else self.kind


@dataclass(frozen=True)
class Usage:
    """What a run has taken, in all of its attempts.

    Attributes:
        consumption: of what it computes on; None: the class none, and `reason` says why.
        reason: why nothing is known, if so.
        model: of the processors and the memory, by arithmetic.
        packages: of whole processors, by their counters, whatever else ran on them; None without.
        emissions: of `consumption`, in kg of CO2 equivalent; None without a grid.
        device_hours: of one device each.
        money: device hours times the price of one; None without a price.
        cpu_utilisation: CPU time over that of the run's threads.
        gpu_utilisation: the share of time in which a kernel ran; None on CPUs and where nothing tells.
        launches: how often it was started, interruptions included.
    """

    consumption: Consumption | None
    reason: str | None
    model: Consumption
    packages: Consumption | None
    emissions: float | None
    device_hours: float
    money: float | None
    cpu_utilisation: float
    gpu_utilisation: float | None
    launches: int


def read_usage(run: Run, settings: Energy, prices: Prices | None = None) -> Usage | None:
    """What a run has taken; None of one that nothing was started of, and of one before there were meters."""
    read: dict[str, Any] | None = run.summary.get("energy")
    if read is None:
        return None
    on_gpus = run.specification["device"] == "cuda"
    model, packages, gpus = _by_model(read, settings), _of_packages(read), _of_gpus(read)
    alone = read["cpu_seconds"] >= ALONE * read["machine_cpu_seconds"]
    consumption = gpus if on_gpus else packages if packages and alone else model
    price = prices.hour(run.specification["device"]) if prices else None
    hours = read["device_seconds"] / HOUR
    core_seconds = read["device_seconds"] * run.specification["threads"]
    return Usage(
        consumption=consumption,
        reason=read["gpu_reason"] if consumption is None else None,
        model=model,
        packages=packages,
        emissions=emissions(consumption, settings),
        device_hours=hours,
        money=None if price is None else price * hours,
        cpu_utilisation=read["cpu_seconds"] / core_seconds if core_seconds else 0.0,
        gpu_utilisation=read["gpu_busy_seconds"] / read["gpu_seconds"] if gpus and read["gpu_seconds"] else None,
        launches=read["launches"],
    )


def emissions(consumption: Consumption | None, settings: Energy) -> float | None:
    """Kilograms of CO2 equivalent: kWh x PUE x the grid's intensity; None where one of them is not known."""
    if consumption is None or settings.grid is None:
        return None
    return consumption.kwh * settings.pue * settings.grid.grams_per_kwh / 1000


def compared_kwh(runs: Sequence[Run], settings: Energy) -> list[float | None]:
    """The energy of each of several runs where all are of one class and of one kind of device; else None of each."""
    found = [usage.consumption if (usage := read_usage(run, settings)) else None for run in runs]
    if len({each and (each.kind, each.what) for each in found}) != 1:
        return [None] * len(runs)
    return [each and each.kwh for each in found]


def describe_grid(settings: Energy) -> str:
    """What emissions are computed from."""
    if settings.grid is None:
        return "energy.grid is null in config/config.yaml: no emissions are reported"
    building = "" if settings.pue == 1 else f", times {settings.pue:g} for what the building takes (PUE)"
    return f"{settings.grid.grams_per_kwh:g} g CO2e/kWh: {settings.grid.source}{building}"


def _by_model(read: dict[str, Any], settings: Energy) -> Consumption:
    joules = read["cpu_seconds"] * settings.watts_per_core
    joules += read["memory_byte_seconds"] / 1e9 * settings.watts_per_gb
    return Consumption("model", joules / JOULES, "CPU time and memory")


def _of_packages(read: dict[str, Any]) -> Consumption | None:
    joules = read["package_joules"]
    return None if joules is None else Consumption("counter", joules / JOULES, "whole processors")


def _of_gpus(read: dict[str, Any]) -> Consumption | None:
    joules = read["gpu_joules"]
    return None if joules is None else Consumption("counter", joules / JOULES, "GPUs")
