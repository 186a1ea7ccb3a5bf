"""Reading YAML into typed entries, with errors that name file, key and remedy."""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from trainyard.errors import InputError

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """The safe loader, with a key given twice as an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice in one mapping", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        InputError: the file is missing, is no YAML, repeats a key, or holds something else.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{place}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: should hold `key: value` lines, holds {type(value).__name__}")
    return value


def nearest(name: object, allowed: Iterable[str]) -> str:
    """A hint such as `; did you mean 'ddp'? (allowed: ddp, fsdp)`."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(str(name), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (allowed: {', '.join(allowed)})"


def parse(kind: Any, value: Any, place: str) -> Any:
    """Check `value` against a pydantic model or type.

    Args:
        kind: a pydantic model or any type that pydantic can check.
        value: what was read.
        place: the file, and the key in it, that the value was read from.

    Raises:
        InputError: one line a mistake, each with place, key and what is allowed.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        lines = [_describe(kind, value, problem, place) for problem in error.errors()]
        raise InputError("\n".join(dict.fromkeys(lines))) from None


def parse_entries(kind: type[T] | Any, path: Path) -> dict[str, Any]:
    """Read a catalogue: a mapping from names to entries of one kind."""
    return {str(name): parse(kind, value, f"{path}: {name}") for name, value in read_yaml(path).items()}


def choose(name: str, entries: Mapping[Any, T], what: str, place: str) -> T:
    """Look a name up.

    Raises:
        InputError: there is no such entry; the message gives the nearest name.
    """
    if name not in entries:
        raise InputError(f"{place}: no {what} is called {name!r}{nearest(name, entries)}")
    return entries[name]


def _describe(kind: Any, value: Any, problem: Any, place: str) -> str:
    location = _keys(problem["loc"], value, problem["type"] == "missing")
    key = ".".join(str(part) for part in location)
    where = f"{place}.{key}" if key and ": " in place else f"{place}: {key}" if key else place
    if problem["type"] == "union_tag_invalid":
        tag = problem["ctx"]
        allowed = [name.strip(" '") for name in tag["expected_tags"].split(",")]
        key = tag["discriminator"].strip("'")
        return f"{where}.{key}: no such kind: {tag['tag']!r}{nearest(tag['tag'], allowed)}"
    if problem["type"] == "extra_forbidden":
        fields = _fields(kind, location[:-1])
        return f"{where}: no such key{nearest(location[-1], fields) if fields else ''}"
    if problem["type"] == "missing":
        return f"{where}: this key is missing"
    given = problem.get("input")
    if problem["type"] == "literal_error" and isinstance(given, str):
        allowed = [word.strip("' ") for word in problem["ctx"]["expected"].replace(" or ", ",").split(",")]
        return f"{where}: {given!r} is not allowed{nearest(given, allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | None) else ""
    return f"{where}: {message}{shown}"


def _keys(location: tuple[int | str, ...], value: Any, missing: bool) -> list[int | str]:
    """The location without the names of a union's branches, which pydantic puts between the keys."""
    keys: list[int | str] = []
    for number, part in enumerate(location):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if not (missing and number == len(location) - 1):
                continue
        keys.append(part)
    return keys


def _fields(kind: Any, location: list[int | str]) -> set[str]:
    """The keys that the models at `location` inside `kind` allow."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return set().union(*(_fields(option, location) for option in typing.get_args(kind)))
    if typing.get_origin(kind) is typing.Annotated:
        return _fields(typing.get_args(kind)[0], location)
    if typing.get_origin(kind) in (list, dict, tuple):
        return _fields(typing.get_args(kind)[-1], location[1:]) if location else set()
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return set()
    if not location:
        return set(kind.model_fields)
    field = kind.model_fields.get(str(location[0]))
    return _fields(field.annotation, location[1:]) if field else set()
