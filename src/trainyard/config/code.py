"""One hash of the code that a rule runs, so that a rule reruns when, and only when, its own code changes.

The import closure is found by parsing, not by importing. Comments, docstrings and
layout do not count: the hash is of the parsed code.
"""

import ast
import functools
import hashlib
from pathlib import Path

from trainyard.repository import SOURCE


@functools.cache
def _file(module: str) -> Path | None:
    path = SOURCE.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imported(tree: ast.AST, module: str, is_package: bool) -> list[str]:
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


@functools.cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    """The code of a module without comments and docstrings, and the local modules that it imports."""
    file = _file(module)
    assert file is not None, f"no module {module} under {SOURCE}"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = []
    for name in _imported(tree, module, file.name == "__init__.py"):
        parts = name.split(".")
        imported += [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            first.value.value = ""
    return ast.unparse(tree), tuple(dict.fromkeys(name for name in imported if _file(name)))


@functools.cache
def closure(*modules: str) -> tuple[str, ...]:
    """The local modules that `modules` import, directly or not, themselves included, sorted."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += _parsed(module)[1]
    return tuple(sorted(seen))


@functools.cache
def code_hash(*modules: str) -> str:
    """A short hash of the import closure of `modules`.

    Name every entry point: what a subprocess runs and what is imported by name at
    run time (engines, families, metrics) is in no import statement.
    """
    digest = hashlib.sha256()
    for module in closure(*modules):
        digest.update(f"{module}\0{_parsed(module)[0]}\0".encode())
    return digest.hexdigest()[:16]


def files_hash(folder: Path) -> str:
    """A short hash of every file in a folder, for code that isn't Python (templates, modules loaded by path)."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
