"""What a metric is: the names that its module in this folder has, by which every evaluation runs alike."""

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import pyarrow as pa

import evaluate
from trainyard.evaluate.generation_speed import TimedBatch
from trainyard.evaluate.result_files import Result
from trainyard.evaluate.rows import Block
from trainyard.launch.progress import Progress

if TYPE_CHECKING:  # torch is not imported before a job knows its GPUs
    from trainyard.evaluate.model import Placement

NOT_FINITE = "the model's likelihoods are not finite"


class Scorer(Protocol):
    """A model at work on rows.

    Attributes:
        columns: what it reads of a row.
        stop: how many rows from the first are scored.
    """

    columns: tuple[str, ...]
    stop: int

    def score(self, block: Block, scored: Progress) -> list[dict[str, Any]]:
        """The items of a block, in the form of the metric's SCHEMA; counts its rows as they are scored."""
        ...


@runtime_checkable
class TimedScorer(Protocol):
    """A scorer that generates, and times it."""

    def take_times(self) -> list[TimedBatch]:
        """What each batch since the last call took."""
        ...


class Metric(Protocol):
    """A module such as `trainyard.evaluate.rouge`."""

    SCHEMA: pa.Schema
    Settings: type["Placement"]

    def describe(self, settings: Any) -> str:
        """The protocol in words, as far as the settings decide it."""
        ...

    def Scorer(self, model_folder: Path, rows: Path, settings: Mapping[str, Any]) -> Scorer:  # noqa: N802
        """Load the model.

        Raises:
            InputError: the model, the rows or the settings don't do.
        """
        ...

    def summarise(self, scored: Path, settings: Any, model_folder: Path, rows: Path) -> Result:
        """What the scored items, in the Parquet file `scored`, come to.

        Raises:
            InputError: there is nothing among them that a figure could be made of.
        """
        ...


def load_metric(name: str) -> Metric:
    """The module of a metric: `hellaswag`, `perplexity`, `rouge`, `samples`."""
    return cast(Metric, importlib.import_module(f"trainyard.evaluate.{name}"))


MODULES = f"{__package__}.modules"


def compute(metric: str, **inputs: Any) -> dict[str, Any]:
    """What the module of a metric makes of its inputs; nothing is fetched.

    The module is imported where it is: `evaluate.load` would copy it into the cache of the Hugging Face hub first,
    which may be read-only.

    Args:
        metric: the folder in `modules/`.
        inputs: what the module takes, one list for each of its features, and its own keywords.
    """
    module = importlib.import_module(f"{MODULES}.{metric}.{metric}")
    (kind,) = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, evaluate.Metric))
    with tempfile.TemporaryDirectory() as cache:
        scores = kind(cache_dir=cache, keep_in_memory=True).compute(**inputs)
    assert scores is not None  # only ranks other than the first get None, and there is one
    return scores
