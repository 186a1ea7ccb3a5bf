import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from processes import assert_gone, below, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
TOO_MUCH = (
    *("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "psutil", "snakemake", "datasets"),
    *("pyarrow", "matplotlib", "deepspeed", "tiktoken", "evaluate"),
)
TINY = ["--device", "cpu", "--cases", "tiny"]


def environment():
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHON")}


def command(python, output):
    return [str(python), "-m", "trainyard.tools.gpu_check", *TINY, "--output", str(output)]


def start(folder, python, carried, output, log):
    return subprocess.Popen(
        command(python, output),
        cwd=folder,
        env=environment() | {"PYTHONPATH": f"src:{carried}"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """What the check needs of the repository, and not git, so that no other test writes where it does."""
    folder = tmp_path_factory.mktemp("repository")
    for part in ("src", "config"):
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Makefile", folder)
    return folder


@pytest.fixture(scope="module")
def calls(repository, lean_python, carried, tmp_path_factory):
    """A call killed after its first case, a second one by `make`, and the state between them."""
    output = tmp_path_factory.mktemp("benchmarks")
    state = output / "gpu-check-cpu.state.jsonl"
    log = output / "first.log"
    with log.open("wb") as file, start(repository, lean_python, carried, output, file) as first:
        try:
            wait_for(lambda: list(output.glob("*.md")), 120, "the page after the first case", first, log)
            family = wait_for(lambda: below(first), 60, "the next case's process", first, log)
        finally:
            first.send_signal(signal.SIGKILL)
    assert_gone(family, 20)
    done = [json.loads(line) for line in lines(state)]
    (written,) = (json.loads(path.read_text()) for path in output.glob("gpu-check-cpu-*.json"))
    (page,) = (path.read_text() for path in output.glob("gpu-check-cpu-*.md"))
    assert [row["name"] for row in written["cases"] if row["outcome"] == "finished"]
    assert "## Operators" in page
    arguments = [f"PYTHON={lean_python}", f"ARGS={' '.join([*TINY, '--output', str(output)])}"]
    second = subprocess.run(
        ["make", "gpu-check", *arguments],
        check=False,
        cwd=repository,
        env=environment() | {"PYTHONPATH": str(carried)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    (found,) = output.glob("gpu-check-cpu-*.json")
    return output, done, second, json.loads(found.read_text())


@pytest.mark.slow
def test_packages_that_the_check_can_do_without_are_not_there_when_it_is_tested(lean_python):
    asked = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    done = subprocess.run([lean_python, "-c", asked, *TOO_MUCH], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_it_needs_torch_transformers_numpy_safetensors_and_a_carried_pydantic_alone(calls):
    _, _, second, found = calls
    assert second.returncode == 0, second.stdout + second.stderr
    assert found["versions"]["torch"]
    assert found["versions"]["deepspeed"] is None


@pytest.mark.slow
def test_a_second_call_goes_on_where_a_killed_one_stopped(calls):
    output, done, second, found = calls
    lines_after = (output / "gpu-check-cpu.state.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines_after[: len(done)]] == done
    finished = [row for row in found["cases"] if row["outcome"] not in ("unsupported", "not run")]
    assert len(lines_after) == len(finished)
    assert len(re.findall(r"^\[ *\d+/\d+\] ", second.stdout, re.MULTILINE)) == len(finished) - len(done)


@pytest.mark.slow
def test_every_setting_that_runs_here_is_within_its_tolerance_and_what_cannot_run_says_why(calls):
    parity = [row for row in calls[3]["cases"] if row["kind"] == "parity"]
    assert len(parity) == 2 * 2 * 3  # settings, models, precisions
    for row in parity:
        if row["outcome"] == "unsupported":
            assert row["precision"] == "fp16"
            assert "fp16" in row["reason"]
        else:
            assert row["within"], row["name"]
            assert len(row["by_step"]) == row["compared_steps"] == 20
    assert {row["precision"] for row in parity if row.get("within")} >= {"fp32", "bf16"}


@pytest.mark.slow
def test_batches_of_one_engine_are_measured_each_with_memory_speed_and_sources(calls):
    rows = [row for row in calls[3]["cases"] if row["kind"] == "measure"]
    assert [row["batch"] for row in rows] == [2, 4]
    for row in rows:
        assert row["outcome"] == "finished"
        assert row["tokens_per_second"] == pytest.approx(row["samples_per_second"] * row["sequence_length"])
        assert 0 < row["mfu"] < 1
        assert row["peak_source"]
        error = row["predicted_memory"]["total"] / row["host_memory_increase"] - 1
        assert row["prediction_error"] == pytest.approx(error)


@pytest.mark.slow
def test_the_first_case_tells_its_slowest_operators(calls):
    row, *_ = (row for row in calls[3]["cases"] if row["kind"] == "operators")
    assert row["outcome"] == "finished"
    assert row["operators"][0]["milliseconds"] >= row["operators"][-1]["milliseconds"] > 0
    assert "aten::addmm" in {each["name"] for each in row["operators"]}


@pytest.mark.slow
def test_memory_that_runs_out_under_a_limit_is_a_row_and_as_it_should_be(calls):
    (row,) = (row for row in calls[3]["cases"] if row["kind"] == "limit")
    assert (row["outcome"], row["right"]) == ("out-of-memory", True)
    assert "can't allocate memory" in row["reason"]
    assert row["memory_limit"]["kind"] == "host"


@pytest.mark.slow
def test_the_page_says_what_the_terminal_says_with_versions_date_and_command(calls):
    output, _, second, found = calls
    (page,) = (path.read_text() for path in output.glob("gpu-check-cpu-*.md"))
    counts = re.search(r"^\d+ of \d+ parity cases.*$", second.stdout, re.MULTILINE)
    assert counts
    assert counts[0] in page
    assert f"| torch | {found['versions']['torch']} |" in page
    assert found["date"] in page
    assert "--cases tiny" in page
    assert "| fsdp | 2 | opt-tiny |" in page
    assert "## Levers" in page
    assert re.search(r"^\| attention without a mask \|  \| \d+ \| \d+ \| \d\.\d\d \|$", page, re.MULTILINE)


def test_without_a_gpu_it_says_so_and_what_can_be_done(tmp_path):
    if shutil.which("nvidia-smi"):
        pytest.skip("for want of a machine without a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "trainyard.tools.gpu_check", "--output", str(tmp_path)],
        cwd=REPOSITORY,
        env=environment() | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "found no NVIDIA GPU here" in done.stderr
    assert "--device cpu" in done.stderr
    assert list(tmp_path.iterdir()) == []
