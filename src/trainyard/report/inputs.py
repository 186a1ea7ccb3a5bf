"""From the named inputs of a rule to the arguments of the report's functions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.settings import Energy, Prices
from trainyard.config.study import Study

FILES = (
    "evaluations",
    "parity",
    "cells",
    "peaks",
    "shortcuts",
    "statistics",
    "contamination",
    "duplicates",
    "texts",
    "rows",
    "generations",
    "members",
)


def collect_arguments(files: Mapping[str, Sequence[str]], params: Mapping[str, Any]) -> dict[str, Any]:
    """The study, its runs' folders (from a file in each), models, prices, watts and result files, where given."""
    given: dict[str, Any] = {"study": Study.model_validate(params["study"])}
    if "runs" in files:
        given["runs"] = [Path(file).parent for file in files["runs"]]
    if "models" in params:
        given["models"] = {name: Model.model_validate(entry) for name, entry in params["models"].items()}
    if "prices" in params:
        given["prices"] = Prices.model_validate(params["prices"]) if params["prices"] else None
    if "energy" in params:
        given["energy"] = Energy.model_validate(params["energy"])
    return given | {name: [Path(file) for file in files[name]] for name in FILES if name in files}
