"""The Python of README and docs: it imports what is there, and calls it with arguments that it takes."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"^```python\n(.*?)^```$|<<'EOF'\n(.*?)^EOF$", re.MULTILINE | re.DOTALL)


def snippets() -> Iterator[tuple[str, str]]:
    """Each block of Python that imports from trainyard, with its page."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for parts in PYTHON.findall(page.read_text(encoding="utf-8")):
            code = "".join(parts)
            if "from trainyard" in code:
                yield str(page.relative_to(ROOT)), code


@pytest.mark.parametrize(("page", "code"), list(snippets()))
def test_what_a_snippet_imports_takes_the_arguments_that_it_is_called_with(page: str, code: str) -> None:
    tree = ast.parse(code)
    imported = {
        alias.asname or alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("trainyard")
        for alias in node.names
    }
    assert imported
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in imported:
            arguments = {keyword.arg: None for keyword in call.keywords if keyword.arg}
            inspect.signature(imported[call.func.id]).bind(*call.args, **arguments)
