"""JSON Schema of every YAML file, for editors; `python -m trainyard.tools.json_schema FOLDER` writes them."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from trainyard.config.by_size import BY_SIZE, KAPLAN, OF_KAPLAN, PowerOfSize
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

    A grid's settings are described as those of `Train`, none of them required, and some may follow the model's size; a
    family is one of those that are there.
    """
    value = TypeAdapter(kind).json_schema()
    if kind is Study:
        settings = TypeAdapter(Train).json_schema()
        settings.pop("required", None)
        value["$defs"] |= {**settings.pop("$defs", {}), "Train": settings, "GridTrain": _following_size(settings)}
        value["$defs"]["PowerOfSize"] = TypeAdapter(PowerOfSize).json_schema()
        for holder, described in ((Grid, "GridTrain"), (Probes, "Train")):
            value["$defs"][holder.__name__]["properties"]["train"] = {"$ref": f"#/$defs/{described}"}
    for holder, key in ((Model, "family"), (ParallelSetting, "families")):
        if holder.__name__ in value.get("$defs", {}):
            described = value["$defs"][holder.__name__]["properties"][key]
            described.get("anyOf", [{}])[0].get("items", described)["enum"] = list(FAMILIES)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **value}


def _following_size(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a training, with the other forms of those that may follow the model's size."""
    properties = dict(settings["properties"])
    for name in BY_SIZE:
        forms = [{"$ref": "#/$defs/PowerOfSize"}, *([{"const": KAPLAN}] if name in OF_KAPLAN else [])]
        number = {key: value for key, value in properties[name].items() if key in ("anyOf", "type") or "imum" in key}
        about = {key: value for key, value in properties[name].items() if key not in number}
        properties[name] = {**about, "anyOf": [*number.get("anyOf", [number]), *forms]}
    return {**settings, "properties": properties}


def write_schemas(folder: Path) -> None:
    """Write one schema a kind of file into `folder`."""
    for name, kind in KINDS.items():
        write_text(folder / f"{name}.schema.json", json.dumps(schema(kind), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
