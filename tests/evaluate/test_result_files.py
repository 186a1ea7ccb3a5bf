"""What every result says of where it is from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainyard.core.files import sha256_file, write_json
from trainyard.evaluate.result_files import Names, Result, write_result
from trainyard.evaluate.run import run


@pytest.fixture
def write(tmp_path: Path, write_rows: Callable[..., Path], names: Names) -> Callable[[], dict[str, Any]]:
    """A result of the model folder `model` and of rows, read back."""
    rows = write_rows([{"text": "Ada is in the kitchen."}])

    def written() -> dict[str, Any]:
        result = Result("", {})
        write_result(tmp_path / "out.json", names, "perplexity", result, tmp_path / "model", rows)
        return json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))

    return written


def test_a_result_holds_the_hash_of_its_rows(tmp_path: Path, write: Callable[[], dict[str, Any]]):
    assert write()["rows_sha256"] == sha256_file(tmp_path / "rows.parquet")


def test_the_hash_that_a_download_recorded_is_taken(tmp_path: Path, write: Callable[[], dict[str, Any]]):
    write_json(tmp_path / "rows.json", {"sha256": "of the download"})
    assert write()["rows_sha256"] == "of the download"


@pytest.mark.parametrize(
    ("file", "origin"),
    [
        ("trainyard.json", {"study": "demo", "run": "tiny", "step": 40, "validation_loss": 2.5}),
        ("origin.json", {"model": "tiny", "origin": "hub", "revision": "0" * 40}),
    ],
)
def test_a_result_leads_back_to_its_model(
    tmp_path: Path, write: Callable[[], dict[str, Any]], file: str, origin: dict[str, Any]
):
    assert write()["model_origin"] is None
    write_json(tmp_path / "model" / file, origin)
    assert write()["model_origin"] == origin


def test_the_threads_of_the_settings_are_used_and_recorded(
    causal_folder: Path, write_rows: Callable[..., Path], names: Names
):
    before, rows = torch.get_num_threads(), write_rows([{"text": "Ada is in the kitchen."}])
    try:
        run("perplexity", causal_folder, rows, {"threads": before + 1}, rows.with_name("out.json"), names)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert json.loads(rows.with_name("out.json").read_text())["settings"]["threads"] == before + 1
