"""YAML that is none, and YAML that means harm."""

from pathlib import Path
from typing import Any

import odd
import pytest
from hypothesis import strategies as st

from trainyard.config.yaml_entries import read_yaml
from trainyard.core.errors import InputError

CONFIG = Path(__file__).resolve().parents[2] / "config"
FILES = sorted([*CONFIG.glob("*.yaml"), *CONFIG.glob("studies/*.yaml")])
LINES = [line for file in FILES for line in file.read_bytes().splitlines()]
MARKS = [
    *("{", "}", "[", "]", ",", ": ", "- ", "? ", "&a ", "*a", "<<: ", "!!", "!!int ", "!!float ", "!!bool ", "!!set "),
    *("!!binary ", "!!timestamp ", "!!omap ", "!!pairs ", "!!map ", "!!seq ", "!!str ", "!!null ", "!!merge ", "!x "),
    *("!!python/object/apply:os.system ", "!!python/name:os.system ", "!!python/object/new:os.system "),
    *("'", '"', "|\n ", ">-\n ", "%", "@", "`", "---\n", "...\n", "#", "\n", "\n  ", "\t", "\r", "\0", "\ufeff"),
    *("a", "b: ", "1", "1:60:60", "-.inf", ".nan", "0b2", "2001-99-99", "2001-01-01", "~", "yes", "9" * 5000, "=", "é"),
]


def written() -> st.SearchStrategy[bytes]:
    """Marks of YAML in any order, some lines of real files with damage, or anything."""
    marks = st.lists(st.sampled_from(MARKS), max_size=14).map(lambda parts: "".join(parts).encode())
    lines = st.tuples(st.integers(0, len(LINES) - 1), st.integers(1, 12)).map(
        lambda found: b"\n".join(LINES[found[0] : sum(found)])
    )
    return marks | lines.flatmap(odd.damaged) | st.binary(max_size=40)


def test_any_text_is_read_or_refused_by_name(fuzz: Any, refused: Any, folder: Path) -> None:
    path = folder / "s.yaml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        value = refused(lambda: read_yaml(path), rf"{path}(, line \d+: not |: should contain)")
        assert value is None or isinstance(value, dict)

    fuzz(written(), check, 4000)


def levels(first: str, next_one: str, count: int = 10) -> str:
    """Few lines, each ten times the one before."""
    return first + "".join(next_one.format(n=n, before=", ".join([f"*a{n - 1}"] * 10)) for n in range(1, count))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (levels("a0: &a0 [x]\n", "a{n}: &a{n} [{before}]\n"), "line 6: not valid YAML: it expands to more than"),
        (levels("a0: &a0 {k: 1}\n", "a{n}: &a{n} {{<<: [{before}]}}\n"), "not valid YAML: it expands to more than"),
        ("a: 1\nb: &b [*b]", "line 2: not valid YAML: it contains itself"),
        ("a: &a {<<: *a}", "line 1: not valid YAML: it contains itself"),
        ("a: " + "[" * 5_000, "line 1: not valid YAML: nested too deeply"),
        ("a: " + "{a: " * 5_000, "line 1: not valid YAML: nested too deeply"),
        ("- " * 20_000, "line 1: not valid YAML: nested too deeply"),
        ("a: 1\nb: " + "9" * 5_000, "line 2: not valid YAML: '9999"),
        ("a: 1:" + ":".join(["59"] * 20_000), "line 1: not valid YAML: a number of more than 64 bits"),
        ("a: 0x" + "f" * 100_000, "line 1: not valid YAML: a number of more than 64 bits"),
        ("a: 1\nb: 2001-99-99", "line 2: not valid YAML: '2001-99-99' can't be read as timestamp"),
        ("a: !!int ''", "line 1: not valid YAML: '' can't be read as int"),
        ("a: !!bool x", "line 1: not valid YAML: 'x' can't be read as bool"),
        ("a: !!map x", "line 1: not valid YAML: a mapping is expected here"),
        ('a: "\\ud800"', "line 1: not valid YAML: the character '\\ud800' is not allowed in text"),
        ('a: "\\U00110000"', "line 1: not valid YAML: chr() arg not in range"),
        ("a: 1\nb: \0", "line 2: not valid YAML: special characters are not allowed"),
        ("a: 1\n\tb: 2", "line 2: not valid YAML: found character '\\t'"),
        ("a: b\n---\nc: d", "line 2: not valid YAML: but found another document"),
    ],
)
def test_what_would_fill_the_memory_or_break_later_is_refused_at_its_line(
    tmp_path: Path, text: str, said: str, record_property: Any
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert said in str(error.value)
    record_property("inputs tried", 1)


def test_another_encoding_is_refused_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes("title: a\nquestion: wie schön?\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"s\.yaml, line 2: not UTF-8 text"):
        read_yaml(tmp_path / "s.yaml")
