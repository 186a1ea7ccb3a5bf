"""JSON Schema of every YAML file, for editors; `python -m trainyard.tools.json_schema FOLDER` writes them."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from trainyard.config.catalogue import Dataset, Model, ParallelSetting, Tokenizer
from trainyard.config.settings import Config
from trainyard.config.study import Grid, Probes, Study
from trainyard.config.train import Train
from trainyard.core.files import write_text
from trainyard.estimate.families import FAMILIES
from trainyard.fetch.lock import Lock

KINDS: dict[str, Any] = {
    "config": Config,
    "datasets": dict[str, Dataset],
    "tokenizers": dict[str, Tokenizer],
    "models": dict[str, Model],
    "parallel": dict[str, ParallelSetting],
    "study": Study,
    "data.lock": Lock,
}


def schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of one file.

    A grid's settings are described as those of `Train`, none of them required; a family is one of those that are there.
    """
    value = TypeAdapter(kind).json_schema()
    if kind is Study:
        settings = TypeAdapter(Train).json_schema()
        settings.pop("required", None)
        value["$defs"] |= {**settings.pop("$defs", {}), "Train": settings}
        for holder in (Grid, Probes):
            value["$defs"][holder.__name__]["properties"]["train"] = {"$ref": "#/$defs/Train"}
    for holder, key in ((Model, "family"), (ParallelSetting, "families")):
        if holder.__name__ in value.get("$defs", {}):
            described = value["$defs"][holder.__name__]["properties"][key]
            described.get("anyOf", [{}])[0].get("items", described)["enum"] = list(FAMILIES)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **value}


def write_schemas(folder: Path) -> None:
    """Write one schema a kind of file into `folder`."""
    for name, kind in KINDS.items():
        write_text(folder / f"{name}.schema.json", json.dumps(schema(kind), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
