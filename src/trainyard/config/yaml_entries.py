"""Reading YAML into typed entries, with errors that name file, key and remedy."""

import datetime
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Tag, TypeAdapter, ValidationError

from trainyard.config.values import FORMS, Name
from trainyard.core.errors import InputError

T = TypeVar("T")


MOST_VALUES = 100_000  # of one file, with every alias written out
_LARGEST_BITS = 64
_OLD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|.*:.*)")
"""What YAML 1.1 takes for a number in base 8 or 60, and nobody else does."""
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError)  # what yaml's constructors raise besides its own


class _Loader(yaml.SafeLoader):
    """The safe loader; a key given twice and a file that stands for more than it should are errors too."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except _MALFORMED:
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise _make_error(f"{str(node.value)[:40]!r} can't be read as {kind}", node) from None
        if isinstance(value, str) and (unprintable := self.NON_PRINTABLE.search(value)):
            raise _make_error(f"the character {unprintable[0]!r} is not allowed in text", node)
        if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
            raise _make_error(f"a number of more than {_LARGEST_BITS} bits", node)
        if type(value) in (int, float) and (unprintable := _OLD_NUMBER.fullmatch(str(node.value))):
            raise _make_error(f"{unprintable[0]} is {value} to YAML; write {value}, or put a name in quotes", node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _make_error("a mapping is expected here", node)
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise _make_error(f"the key {key!r} appears twice in one mapping", key_node)
            seen.add(key if isinstance(key, str) else id(key))
        return super().construct_mapping(node, deep)


def _make_error(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _count(node: yaml.Node, counts: dict[int, int | None]) -> int:
    """How many values a node stands for; aliases of aliases may be few lines and billions of values."""
    known = counts.get(id(node), 0)
    if known is None:
        raise _make_error("it contains itself", node)
    if known:
        return known
    counts[id(node)] = None
    inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1 + (sum(_count(part, counts) for part in inner) if isinstance(node, yaml.CollectionNode) else 0)
    if total > MOST_VALUES:
        raise _make_error(f"it expands to more than {MOST_VALUES:,} values", node)
    counts[id(node)] = total
    return total


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        InputError: the file is missing, is no YAML, repeats a key, or holds something else.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    value = _construct(path, text)
    if not isinstance(value, dict):
        raise InputError(f"{path}: should contain `key: value` lines, but contains {type(value).__name__}")
    return value


def _construct(path: Path, text: str) -> Any:
    line = 0
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        except (RecursionError, ValueError) as error:
            line = loader.line
            problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    except yaml.reader.ReaderError as error:
        line, problem = text.count("\n", 0, error.position), f"{error.reason} ({chr(error.character)!r})"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, problem = mark.line if mark else 0, error.problem
    raise InputError(f"{path}, line {line + 1}: not valid YAML: {problem}")


def suggest(name: object, allowed: Iterable[str]) -> str:
    """A hint such as `; did you mean 'ddp'? (allowed: ddp, fsdp)`."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(str(name), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (allowed: {', '.join(allowed)})"


def quote_key(key: object) -> str:
    """A key as an error names it: as it is, or in quotes where it isn't one word."""
    return str(key) if re.fullmatch(r"[\w.-]+", str(key)) else repr(key)


def parse(kind: Any, value: Any, location: str) -> Any:
    """Check `value` against a pydantic model or type.

    Args:
        kind: a pydantic model or any type that pydantic can check.
        value: what was read.
        location: the file, and the key in it, that the value was read from.

    Raises:
        InputError: one line a mistake, each with place, key and what is allowed.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        lines = [_describe(kind, value, problem, location) for problem in error.errors()]
        raise InputError("\n".join(dict.fromkeys(lines))) from None


def parse_entries(kind: type[T] | Any, path: Path) -> dict[str, Any]:
    """Read a catalogue: a mapping from names to entries of one kind."""
    entries = read_yaml(path)
    for name in entries:
        parse(Name, name, f"{path}: {quote_key(name)}: as a name")
    return {name: parse(kind, value, f"{path}: {quote_key(name)}") for name, value in entries.items()}


def choose(name: str, entries: Mapping[Any, T], what: str, location: str) -> T:
    """Look a name up.

    Raises:
        InputError: there is no such entry; the message gives the nearest name.
    """
    if name not in entries:
        raise InputError(f"{location}: no {what} named {name!r}{suggest(name, entries)}")
    return entries[name]


def _describe(kind: Any, value: Any, problem: Any, config_location: str) -> str:
    location = _keys(problem["loc"], value, problem.get("input"), problem["type"] == "missing")
    key = ".".join(quote_key(part) for part in location)
    where = (
        f"{config_location}.{key}"
        if key and ": " in config_location
        else f"{config_location}: {key}"
        if key
        else config_location
    )
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tag = problem["ctx"]
        key = tag["discriminator"].strip("'")
        if "tag" not in tag:
            return f"{where}.{key}: this key is missing"
        allowed = [name.strip(" '") for name in tag["expected_tags"].split(",")]
        return f"{where}.{key}: no such kind: {tag['tag']!r}{suggest(tag['tag'], allowed)}"
    if problem["type"] == "extra_forbidden":
        fields = _fields(kind, location[:-1], problem["loc"])
        if fields is None:
            return f"{where}: no such key"
        return f"{where}: no such key{suggest(location[-1], fields) if fields else '; there are none'}"
    if problem["type"] == "missing":
        return f"{where}: this key is missing"
    return f"{where}: {_describe_mistake(problem)}"


def _describe_mistake(problem: Any) -> str:
    """What is wrong with a value, and what to write."""
    given, what = problem.get("input"), problem["type"]
    if what in ("list_type", "tuple_type") and isinstance(given, str | int | float):
        return f"should be a list: write [{given}]"
    if what == "string_type" and isinstance(given, bool | int | float | datetime.date):
        return f"should be text, and YAML makes {given!r} of it: put it in quotes"
    if what == "too_short":
        return f"is empty; name {problem['ctx']['min_length']} or more"
    if what in ("model_type", "model_attributes_type", "dict_type"):
        return f"should contain `key: value` lines, but contains {'nothing' if given is None else repr(given)}"
    if what == "literal_error" and isinstance(given, str):
        return _describe_choice(given, problem["ctx"]["expected"])
    form = FORMS.get(problem["ctx"]["pattern"]) if what == "string_pattern_mismatch" else None
    message = f"should be {form}" if form else problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    show_value = isinstance(given, str | int | float | bool | None) and repr(given) not in message
    return f"{message} (given: {given!r})" if show_value else message


def _describe_choice(given: str, expected: str) -> str:
    """What is wrong with a word; `expected` are those that are allowed, as pydantic lists them."""
    allowed = [word.strip() for word in expected.replace(" or ", ",").split(",")]
    if given in allowed:  # those that are texts are there in quotes
        return f"{given!r} is a text: write {given}, without quotes"
    words = sorted(word.strip("'") for word in allowed)
    hint = suggest(given, words)
    # of few words the nearest may be another than is meant: gpu is near cpu
    return f"{given!r} is not allowed{hint}" + (f" (allowed: {', '.join(words)})" if "did you" in hint else "")


def _keys(location: tuple[int | str, ...], value: Any, given: Any, missing: bool) -> list[int | str]:
    """The location without the names of a union's branches, which pydantic puts between the keys."""
    if missing:
        return [*_keys(location[:-1], value, given, missing=False), location[-1]]
    ways = list(_possible_locations(location, value))
    return next((keys for keys, end in ways if end is given), ways[0][0])


def _possible_locations(location: tuple[int | str, ...], value: Any) -> Iterator[tuple[list[int | str], Any]]:
    """What a location may mean, each of its parts being a key or none, with as many keys as can be first."""
    if not location:
        yield [], value
        return
    part, *rest = location
    inner: Mapping[Any, Any] = (
        value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list | tuple) else ()))
    )
    if part in inner:
        yield from (([part, *keys], end) for keys, end in _possible_locations(tuple(rest), inner[part]))
    yield from _possible_locations(tuple(rest), value)


def _fields(kind: Any, location: Sequence[int | str], branches: Sequence[int | str]) -> set[str] | None:
    """The keys that the models at `location` inside `kind` allow; None where there is no model.

    Args:
        kind: a pydantic model or a type.
        location: keys.
        branches: the names of the branches of unions that were taken, among other words.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        matching = [option for option in options if any(tag in branches for tag in _tags(option))] or options
        fields = [_fields(option, location, branches) for option in matching]
        return set().union(*(fields for fields in fields if fields is not None)) if any(fields) else None
    if typing.get_origin(kind) is typing.Annotated:
        return _fields(typing.get_args(kind)[0], location, branches)
    if typing.get_origin(kind) in (list, dict, tuple):
        return _fields(typing.get_args(kind)[-1], location[1:], branches) if location else None
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    if not location:
        return set(kind.model_fields)
    field = kind.model_fields.get(str(location[0]))
    return _fields(field.annotation, location[1:], branches) if field else None


def _tags(option: Any) -> list[str]:
    """How a union calls one of its branches."""
    return [part.tag for part in getattr(option, "__metadata__", ()) if isinstance(part, Tag)]
