"""The specification of a run, as its typed parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from trainyard.config.catalogue import Model, ParallelSetting, Precision
from trainyard.config.train import Train
from trainyard.core.errors import InputError


@dataclass(frozen=True)
class Data:
    """The folders that a run reads; `start` is the state that another training left, for one that goes on from it."""

    train: Path
    validation: Path | None
    tokenizer: Path | None
    weights: Path | None
    start: Path | None = None


@dataclass(frozen=True)
class Specification:
    """Everything that a run depends on, resolved.

    Attributes:
        until: of a member of a search, the step after which it ends and leaves its state, though its schedule goes on.
    """

    study: str
    run: str
    kind: Literal["run", "probe", "member"]
    task: str
    dataset: str
    model_name: str
    model: Model
    parallel_name: str
    parallel: ParallelSetting
    processes: int
    threads: int
    device: Literal["cpu", "cuda"]
    precision: Precision
    recipe: str
    seed: int
    train: Train
    data: Data
    until: int | None = None

    @property
    def probe(self) -> bool:
        """Whether it is a probe: no dropout, no validation, no models, unequal batches."""
        return self.kind == "probe"

    @classmethod
    def parse(cls, value: dict[str, Any], location: str = "spec.json") -> "Specification":
        """The typed parts of a spec.json.

        Raises:
            InputError: a part is missing or doesn't fit; the message names it.
        """
        try:
            folders = {name: Path(folder) if folder else None for name, folder in value["data"].items()}
            train_folder = folders["train"]
            if train_folder is None:
                raise InputError(f"{location}: data.train names no folder")
            same = ("study", "run", "kind", "task", "dataset", "processes", "threads", "device", "precision", "recipe")
            return cls(
                **{name: value[name] for name in same},
                seed=value["seed"],
                model_name=value["model"]["name"],
                model=Model.from_spec(value["model"]),
                parallel_name=value["parallel"]["name"],
                parallel=ParallelSetting.from_spec(value["parallel"]),
                train=Train.model_validate(value["train"]),
                data=Data(
                    train_folder,
                    folders.get("validation"),
                    folders.get("tokenizer"),
                    folders.get("weights"),
                    folders.get("start"),
                ),
                until=value.get("until"),
            )
        except KeyError as error:
            raise InputError(f"{location}: the key {error} is missing") from None
        except ValidationError as error:
            raise InputError(f"{location}: {error}") from None
