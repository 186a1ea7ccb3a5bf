"""What the code of a rule of the data stage holds, and so what makes it run again."""

import pytest

from trainyard.plan.code_hash import import_closure


def holds(module: str, *names: str) -> list[str]:
    return [
        part for part in import_closure(module) if part.startswith(tuple(f"trainyard.data.{name}" for name in names))
    ]


def test_downloads_know_no_embedded_world() -> None:
    assert not holds("trainyard.data.download", "tinyworld")


def test_tokens_know_nothing_of_where_rows_come_from() -> None:
    assert not holds("trainyard.data.tokenize", "tinyworld", "hub", "mirror", "sources", "rows", "slices", "tokenizers")


@pytest.mark.parametrize("module", ["tokenizers", "statistics", "loader"])
def test_nothing_after_the_rows_knows_how_they_were_made(module: str) -> None:
    assert not holds(f"trainyard.data.{module}", "tinyworld", "hub", "sources", "rows")


def test_an_embedded_world_s_name_stands_for_all_of_its_code() -> None:
    assert len(holds("trainyard.data.tinyworld", "tinyworld.")) == 5
