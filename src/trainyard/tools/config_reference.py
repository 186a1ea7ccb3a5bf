"""The reference of every key, from the typed models; `python -m trainyard.tools.config_reference FILE` writes it."""

import inspect
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trainyard.config import catalogue, engine_options, study, tune
from trainyard.config.by_size import BY_SIZE, KAPLAN, OF_KAPLAN, PowerOfSize
from trainyard.config.settings import Config, Energy, PowerGrid, Prices
from trainyard.config.train import Train
from trainyard.core.files import write_text
from trainyard.core.text import markdown_table
from trainyard.estimate.families import FAMILIES, load_family
from trainyard.estimate.families.base import ShapeKey, Split


def nested_entries(entry: type[BaseModel]) -> list[type[BaseModel]]:
    """The entries that stand under the keys of an entry, in the order of the keys."""
    kinds = (kind for field in entry.model_fields.values() for kind in get_args(field.annotation))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


SECTIONS: dict[str, list[type[BaseModel]]] = {
    "config/config.yaml": [Config, Prices, Energy, PowerGrid],
    "config/studies/*.yaml": [
        study.Study,
        study.Grid,
        Train,
        *nested_entries(Train),
        PowerOfSize,
        study.Expectation,
        study.Evaluate,
        *nested_entries(study.Evaluate),
        study.Tune,
        tune.Range,
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
    "config/parallel.yaml": [
        catalogue.ParallelSetting,
        engine_options.Fsdp,
        engine_options.DeepSpeed,
        engine_options.TorchDDP,
        engine_options.LowLevelZero,
        engine_options.Gemini,
        engine_options.Hybrid,
    ],
}

VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "the GPUs that [jobs may use](../explanation/placement.md); by default all",
    "TRAINYARD_TIMEOUT_MINUTES": "how long processes that train together wait for each other; by default 30",
    "GLOO_SOCKET_IFNAME": "gloo's network interface; by default the loopback on one machine, and between nodes the "
    "interface on the way to the other node",
    "NCCL_SOCKET_IFNAME": "NCCL's network interface: read by NCCL itself",
    "HF_HOME": "the folder of the Hugging Face hub's cache: read by huggingface_hub, as are `HF_ENDPOINT` (the hub's "
    "address) and `HF_TOKEN`",
    "HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT": "seconds that an answer of the hub may take; by default 10",
    "TORCH_EXTENSIONS_DIR": "the folder of C++ extensions that are built at first use; by default "
    "~/.cache/torch_extensions",
    "TRAINYARD_MIRROR": "the mirror from which tests of `make test-long` read real data; runs take `mirror` of "
    "config/config.yaml",
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
    value = value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
    value_shown = list(value) if isinstance(value, tuple) else value
    return (
        ""
        if value_shown in (None, "", [], {})
        else f"`{str(value_shown).lower() if isinstance(value_shown, bool) else value_shown}`"
    )


def _keys(model: type[BaseModel]) -> str:
    rows = [
        (f"`{name}`", _kind(field.annotation), _default(field), field.description or "")
        for name, field in model.model_fields.items()
    ]
    described = inspect.cleandoc(model.__doc__ or "")
    return f"### {model.__name__}\n\n{described}\n\n{markdown_table(('key', 'value', 'default', 'meaning'), rows)}"


def _families() -> str:
    families = {name: load_family(name) for name in FAMILIES}
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{key}`" for key in get_args(ShapeKey) if key in family.shape_keys),
            ", ".join(f"`{split}`" for split in get_args(Split) if split in family.splits),
        )
        for name, family in families.items()
    ]
    header = ("family", "keys of its shape that others may not have", "engines that can split it")
    return f"### Families\n\n{markdown_table(header, rows)}"


def _variables() -> str:
    rows = [(", ".join(f"`{name}`" for name in names.split(", ")), what) for names, what in VARIABLES.items()]
    return markdown_table(("variable", "meaning"), rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        "# Configuration",
        "Every key of every file. `make schema` writes this page, and the JSON Schemas in `config/schema` that editors "
        "read, from the typed models in `src/trainyard/config`. A mistake ends the call before anything runs, with "
        "file, key and the nearest name.",
        "Settings of a training override each other in this order, the last one wins: the grid's `train`, the "
        "`overrides` of the dataset, of the model and of the parallel setting, the recipe. In all of them "
        f"{_listed(BY_SIZE)} may follow the model's size, by a "
        f"[power of its parameters](#powerofsize); {_listed(OF_KAPLAN)} also as "
        f"`{KAPLAN}` (Kaplan et al. 2020, along the frontier where compute is used efficiently; N without embeddings).",
    ]
    for file, models in SECTIONS.items():
        parts += [f"## `{file}`", *map(_keys, models), *([_families()] if catalogue.Model in models else [])]
    parts += [
        "## Environment variables",
        "Read where a command or a job is called; none of them is part of a run's specification.",
        _variables(),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
