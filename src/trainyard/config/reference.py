"""The reference page of every key, from the typed models; `python -m trainyard.config.reference FILE` writes it."""

import sys
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trainyard.config import catalogue, study
from trainyard.config.plan import Config
from trainyard.config.prices import Prices
from trainyard.config.train import Train
from trainyard.files import write_text

SECTIONS: dict[str, list[type[BaseModel]]] = {
    "config/config.yaml": [Config, Prices],
    "config/studies/*.yaml": [
        study.Study,
        study.Grid,
        Train,
        study.Evaluate,
        study.Perplexity,
        study.Hellaswag,
        study.Rouge,
        study.Samples,
        study.Contamination,
        study.Probes,
        study.Measure,
        study.Search,
        study.Published,
    ],
    "config/datasets.yaml": [
        catalogue.Dataset,
        catalogue.HubSource,
        catalogue.FilesSource,
        catalogue.EmbeddedSource,
    ],
    "config/tokenizers.yaml": [
        catalogue.TiktokenTokenizer,
        catalogue.TransformersTokenizer,
        catalogue.BytesTokenizer,
        catalogue.BpeTokenizer,
        catalogue.ModelTokenizer,
    ],
    "config/models.yaml": [catalogue.Model, catalogue.Shape, catalogue.HubModel, catalogue.PackageFile],
    "config/parallel.yaml": [catalogue.ParallelSetting],
}


def _kind(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return _kind(typing.get_args(annotation)[0])
    arguments = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (list, tuple):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[0])} → {_kind(arguments[1])}"
    if arguments:
        return " or ".join(dict.fromkeys(_kind(argument) for argument in arguments))
    name = getattr(annotation, "__name__", str(annotation))
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(name, name)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    shown = list(value) if isinstance(value, tuple) else value
    return "" if shown in (None, "", [], {}) else f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"


def _table(model: type[BaseModel]) -> str:
    lines = [f"### {model.__name__}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        lines.append(f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {field.description or ''} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        "# Configuration",
        "Every key of every file. This page is written by `make schema` from the typed models in "
        "`src/trainyard/config`, as are the JSON Schemas in `config/schema`, which editors read. "
        "A mistake ends the call before anything runs, with file, key and the nearest name.",
        "Settings of a training override each other in this order: the grid's `train`, `overrides` of the dataset, "
        "of the model, of the parallel setting, the recipe.",
    ]
    for file, models in SECTIONS.items():
        parts += [f"## `{file}`", *map(_table, models)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
