"""One hash of the code that a rule runs, so that a rule reruns when, and only when, its own code changes.

The import closure is found by parsing, not by importing. Comments, docstrings and
layout do not count: the hash is of the parsed code. Nor does what can change no result:
the package launch, which starts processes, ends them and tells of their progress. What was parsed is kept in
.snakemake/, because every job that Snakemake starts reads the Snakefile again.
"""

import ast
import functools
import hashlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_json
from trainyard.core.repository import SOURCE

_OF_NO_RESULT = "trainyard.launch."


@functools.cache
def find_source(module: str) -> Path | None:
    """The file of a local module or package; None if there is no such module."""
    path = SOURCE.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imported_modules(tree: ast.AST, module: str, is_package: bool) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
                base = ".".join([*parents, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _parse(module: str, file: Path, source: bytes) -> dict[str, Any]:
    """The hash of a module's code without comments and docstrings, and the names that it imports."""
    tree = ast.parse(source)
    imported = _imported_modules(tree, module, file.name == "__init__.py")
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            first.value.value = ""
    return {"code": hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), "imported": list(dict.fromkeys(imported))}


class _Cache:
    """What modules were parsed to by this version of Python, in a file that may be deleted at any time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._parsed: dict[str, dict[str, Any]] = {}
        self._is_new = False
        with suppress(InputError, OSError):
            self._parsed = read_json(file)

    def parse(self, module: str, file: Path) -> dict[str, Any]:
        """Parse a module, unless it is as it was."""
        source = file.read_bytes()
        sha256 = hashlib.sha256(source).hexdigest()
        if self._parsed.get(module, {}).get("sha256") != sha256:
            self._parsed[module] = {"sha256": sha256, **_parse(module, file, source)}
            self._is_new = True
        return self._parsed[module]

    def write(self) -> None:
        """Keep what is new; a folder that can't be written keeps nothing."""
        if self._is_new:
            with suppress(InputError, OSError):
                write_json(self._file, self._parsed)
            self._is_new = False


@functools.cache
def _load_cache() -> _Cache:
    version = "{}.{}".format(*sys.version_info)
    return _Cache(SOURCE.parent / ".snakemake" / f"code-python{version}.json")


@functools.cache
def _parse_cached(module: str) -> tuple[str, tuple[str, ...]]:
    """The hash of the code of a module, and the local modules that it imports."""
    file = find_source(module)
    assert file is not None, f"no module {module} under {SOURCE}"
    parsed = _load_cache().parse(module, file)
    imported = []
    for name in parsed["imported"]:
        parts = name.split(".")
        imported += [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return parsed["code"], tuple(dict.fromkeys(name for name in imported if find_source(name)))


@functools.cache
def import_closure(*modules: str) -> tuple[str, ...]:
    """The local modules that `modules` import, directly or not, with themselves and without those of launch, sorted."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and not f"{module}.".startswith(_OF_NO_RESULT):
            seen.add(module)
            waiting += _parse_cached(module)[1]
    return tuple(sorted(seen))


@functools.cache
def code_hash(*modules: str) -> str:
    """A short hash of the import closure of `modules`.

    Name every entry point: what a subprocess runs and what is imported by name at
    run time (engines, families, metrics) is in no import statement.
    """
    digest = hashlib.sha256()
    for module in import_closure(*modules):
        digest.update(f"{module}\0{_parse_cached(module)[0]}\0".encode())
    _load_cache().write()
    return digest.hexdigest()[:16]


def files_hash(folder: Path) -> str:
    """A short hash of every file in a folder, for code that isn't Python (templates, modules loaded by path)."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
