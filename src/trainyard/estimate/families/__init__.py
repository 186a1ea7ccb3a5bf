"""The families of models: a file each, found by its name, beside the file of the same name in `trainyard.models`.

They are imported by name, as engines are, so that a new family changes the code of no job of another.
"""

import importlib.util
from pathlib import Path
from typing import get_args

from trainyard.config.catalogue import Model, Shape
from trainyard.config.yaml_entries import suggest
from trainyard.core.errors import InputError, one_line
from trainyard.estimate.families.base import Family, ShapeKey

_FOLDER = Path(__file__).parent
FAMILIES = tuple(sorted(file.stem for file in _FOLDER.glob("*.py") if file.stem not in ("__init__", "base")))
"""Their names."""


def family_module(name: str) -> str:
    """The importable name of a family's file; what depends on a family names it for the hash of its code."""
    return f"trainyard.estimate.families.{name}"


def load_family(name: str) -> Family:
    """A family by its name.

    Raises:
        InputError: there is no such family, or its file lacks something.
    """
    check_name(name, "config/models.yaml: family")
    file = f"src/trainyard/estimate/families/{name}.py"
    try:
        family = getattr(importlib.import_module(family_module(name)), "FAMILY", None)
    except Exception as error:  # of the class Family, or whatever somebody's file leads Python to
        raise InputError(f"{file}: {one_line(error)}; docs/how-to/add-a-model.md lists what it holds") from error
    if not isinstance(family, Family):
        raise InputError(f"{file}: FAMILY: this is missing; docs/how-to/add-a-model.md shows what it is")
    return family


def check_name(name: str, place: str) -> None:
    """See that there is such a family; `place` is the file and key that name it.

    Raises:
        InputError: there is none.
    """
    if name not in FAMILIES:
        raise InputError(
            f"{place}: no family of models is called {name!r}{suggest(name, FAMILIES)}; a new one is two files, in "
            "src/trainyard/estimate/families and src/trainyard/models (docs/how-to/add-a-model.md)"
        )


def check_model(model: Model, place: str) -> None:
    """See that a model's family is there, and its shape one that the family has; `place` is its file and name.

    Raises:
        InputError: it isn't.
    """
    check_name(model.family, f"{place}.family")
    if importlib.util.find_spec(f"trainyard.models.{model.family}") is None:
        raise InputError(
            f"{place}.family: src/trainyard/models/{model.family}.py: no such file; docs/how-to/add-a-model.md shows it"
        )
    own = load_family(model.family).shape_keys
    for key in get_args(ShapeKey):
        if key not in own and getattr(model.shape, key) != Shape.model_fields[key].default:
            others = ", ".join(name for name in FAMILIES if key in load_family(name).shape_keys)
            raise InputError(f"{place}.shape.{key}: {model.family} has none ({others} do); leave it out")
    head_width = model.shape.head_width or model.shape.width // model.shape.heads
    if "rope_base" in own and head_width % 2:
        raise InputError(
            f"{place}.shape.heads: heads of {head_width}, and rotary angles go by pairs; make width / heads even"
        )
