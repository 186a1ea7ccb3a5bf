import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from trainyard.core.errors import InputError
from trainyard.evaluate import perplexity
from trainyard.evaluate import rows as blocks_module
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.rows import blocks
from trainyard.evaluate.run import run
from trainyard.evaluate.workers import work_folder
from trainyard.launch.progress import progress

Write = Callable[..., Path]
SOURCE = Path(perplexity.__file__).parents[2]
TEXT = "Ada is in the kitchen. Ben took the red ball to the garden, and then he went home. "


def documents(count: int) -> list[dict[str, Any]]:
    """Documents of which some two hundred fill a block."""
    return [{"text": TEXT * (18 + row % 3)} for row in range(count)]


def evaluate(folder: Path, rows: Path, names: Names, work: Path | None = None, **settings: object) -> tuple[Any, Any]:
    output = rows.with_name("out.json")
    run("perplexity", folder, rows, {"context": 32, **settings}, output, names, work)
    return json.loads(output.read_text(encoding="utf-8")), pq.read_table(output.with_suffix(".parquet"))


def test_blocks_hold_each_row_once_and_in_order(write_rows: Write):
    path = write_rows(documents(500))
    found = list(blocks(path, ("text",), 450))
    assert [block.index for block in found] == list(range(len(found)))
    assert len(found) > 2
    assert [block.first for block in found] == [sum(len(each.rows) for each in found[:at]) for at in range(len(found))]
    assert [row for block in found for row in block.rows] == documents(450)
    for block in found[:-1]:
        assert sum(len(row["text"]) for row in block.rows[:-1]) < blocks_module.CHARACTERS


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_files(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows(documents(500))
    alone = evaluate(causal_folder, path, names, limit=480)
    together = evaluate(causal_folder, path, names, limit=480, processes=3)
    assert alone[0] == together[0]
    assert alone[1].equals(together[1])
    assert alone[1]["row"].to_pylist() == list(range(480))


def test_blocks_outlive_an_error_after_the_last_of_them(
    causal_folder: Path, write_rows: Write, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, work = write_rows(documents(2)), tmp_path / "work/a-key"

    def fail(*_: object) -> None:
        raise RuntimeError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr("trainyard.evaluate.run.write_result", fail)
        with pytest.raises(RuntimeError, match="no space left"):
            evaluate(causal_folder, path, names, work)
    assert [file.name for file in work.iterdir()] == ["000000.parquet"]
    assert evaluate(causal_folder, path, names, work)[0]["n"] == 2
    assert not work.exists()


def test_blocks_of_other_settings_are_not_used(causal_folder: Path, write_rows: Write, names: Names, tmp_path: Path):
    path, other = write_rows(documents(2)), tmp_path / "work/another-key"
    other.mkdir(parents=True)
    (other / "000000.parquet").write_bytes(b"nothing of use")
    assert evaluate(causal_folder, path, names, tmp_path / "work/a-key")[0]["n"] == 2
    assert not other.exists()


def test_the_working_folder_changes_with_model_rows_and_settings(
    causal_folder: Path, write_rows: Write, names: Names, tmp_path: Path
):
    rows, others = write_rows(documents(2)), write_rows(documents(3), "others.parquet")
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"1")
    found = {work_folder(names, causal_folder, [rows], {"code": "1"}), work_folder(names, model, [rows], {"code": "1"})}
    found |= {
        work_folder(names, causal_folder, [others], {"code": "1"}),
        work_folder(names, model, [rows], {"code": "2"}),
    }
    (model / "model.safetensors").write_bytes(b"2")
    found.add(work_folder(names, model, [rows], {"code": "1"}))
    assert len(found) == 5
    assert {folder.parent for folder in found} == {Path("work/demo/tiny/evaluate/an-evaluation@best")}


@pytest.mark.slow
def test_a_process_that_fails_ends_the_evaluation(
    causal_folder: Path, write_rows: Write, names: Names, capfd: pytest.CaptureFixture[str]
):
    path = write_rows(documents(2))
    with pytest.raises(InputError, match=r"process [12] of 2 ended with 1, see its error above; run again"):
        evaluate(causal_folder, path, names, processes=2, device="cuda", context=32)
    assert "torch sees no GPU here; use device cpu" in capfd.readouterr().err


def test_the_processes_of_an_evaluation_have_their_own_threads_and_our_code_and_load_none_from_data(
    causal_folder: Path, write_rows: Write, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    python, told = tmp_path / "python", tmp_path / "environment"
    python.write_text(f"#!/bin/sh\nenv > {told}-$$ && mv {told}-$$ {told}\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pytest.raises(InputError, match="ended with 1"):
        evaluate(causal_folder, write_rows(documents(2)), names, processes=2, threads=3)
    variables = dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)
    assert variables["PYTHONPATH"] == str(SOURCE)
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["PYTHONNOUSERSITE"] == variables["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"


def test_progress_says_what_is_done_and_what_is_left(capsys: pytest.CaptureFixture[str]):
    with pytest.MonkeyPatch.context() as patch, progress("perplexity of demo", 1000, processes=2) as counter:
        start = time.monotonic()
        counter.skip(100)
        patch.setattr(time, "monotonic", lambda: start + 10)
        counter.update(100)
        patch.setattr(time, "monotonic", lambda: start + 20)
        done = counter.update_by_piece(200, 4)
        done(1)
        done(3)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "perplexity of demo: row 250 of 1,000, 7.5 rows/s, 50 s left" in line


ENDINGS = {"id": "", "level": "", "label": 0, "activity_label": "Ball games", "ctx_a": TEXT, "ctx_b": "", "ctx": TEXT}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "row"), [("perplexity", {"text": TEXT * 4}), ("hellaswag", {**ENDINGS, "endings": [TEXT[:20]] * 4})]
)
def test_memory_stays_flat_in_the_number_of_rows(
    causal_folder: Path, write_rows: Write, tmp_path: Path, metric: str, row: dict[str, Any]
):
    script = (
        "import resource, sys; from pathlib import Path; from trainyard.evaluate.run import run;"
        "from trainyard.evaluate.result_files import Names;"
        f"run({metric!r}, Path(sys.argv[1]), Path(sys.argv[2]), {{}}, Path(sys.argv[3]), Names(*'abcdef'));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(count: int) -> int:
        rows = write_rows([row] * count, f"{count}.parquet")
        command = [sys.executable, "-c", script, str(causal_folder), str(rows), str(tmp_path / "peak.json")]
        environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    few, many = peak(1_000), peak(8_000)
    assert many - few < 20_000  # kilobytes
