"""The Python of README and docs: it imports what is there, and calls it with arguments that it takes."""

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"^```python\n(.*?)^```$|<<'EOF'\n(.*?)^EOF$", re.MULTILINE | re.DOTALL)


def snippets() -> Iterator[tuple[str, str]]:
    """Each block of Python that imports from trainyard, with its page."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for parts in PYTHON.findall(page.read_text(encoding="utf-8")):
            code = "".join(parts)
            if re.search(r"^from trainyard", code, re.MULTILINE) and not code.startswith("configfile"):
                yield str(page.relative_to(ROOT)), code


def find(module: str, name: str) -> Any:
    """What a module calls by a name, or the module of that name in a package."""
    parent = importlib.import_module(module)
    return getattr(parent, name) if hasattr(parent, name) else importlib.import_module(f"{module}.{name}")


@pytest.mark.parametrize(("page", "code"), list(snippets()))
def test_what_a_snippet_imports_takes_the_arguments_that_it_is_called_with(page: str, code: str) -> None:
    tree = ast.parse(code)
    imported = {
        alias.name: find(node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("trainyard")
        for alias in node.names
    }
    assert imported
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            function = imported.get(call.func.id)
            assert not inspect.ismodule(function)
            if inspect.isfunction(function) or (isinstance(function, type) and dataclasses.is_dataclass(function)):
                arguments = {keyword.arg: None for keyword in call.keywords if keyword.arg}
                inspect.signature(function).bind(*call.args, **arguments)
