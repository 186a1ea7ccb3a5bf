"""One whole run of a small study, through Snakemake, to the report."""

import csv
import json
import re
import subprocess
import sys

import pytest
from repository import ROOT, Repository, jobs

pytestmark = pytest.mark.slow


def test_a_second_call_has_nothing_to_do(repository: Repository) -> None:
    assert "Nothing to be done" in repository.snakemake("--config", "studies=micro").stderr


def test_every_run_finished_in_an_odd_folder_and_kept_its_models(repository: Repository) -> None:
    summaries = [json.loads(path.read_text()) for path in (repository.folder / "results/micro").glob("*/summary.json")]
    assert " " in str(repository.folder)
    assert not str(repository.folder).isascii()
    assert {summary["outcome"] for summary in summaries} == {"finished"}
    assert len(summaries) == 3 + 3
    for folder in (repository.folder / "results/micro").glob("tinyworld*"):
        for name in ("best", "last"):
            assert (folder / "models" / name / "model.safetensors").is_file()
            assert (folder / "models" / name / "README.md").is_file()


def test_probes_stay_within_their_tolerance(repository: Repository) -> None:
    found = [json.loads(path.read_text()) for path in (repository.folder / "results/micro").glob("*/parity.json")]
    assert len(found) == 2
    assert all(parity["within"] for parity in found)


def test_every_job_left_a_log_a_benchmark_and_a_job_file(repository: Repository) -> None:
    logs = {path.with_suffix("") for path in (repository.folder / "logs").rglob("*.log")}
    jobs = {path.with_suffix("") for path in (repository.folder / "logs").rglob("*.json")}
    benchmarks = {
        path.with_suffix("").with_suffix("") for path in (repository.folder / "logs").rglob("*.benchmark.jsonl")
    }
    assert logs == jobs == benchmarks


def test_the_comparison_table_holds_every_run(repository: Repository) -> None:
    with (repository.folder / "results/micro/report/comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 3
    assert any("gpt2-modern-tiny" in str(row) for row in rows)


def test_two_models_on_the_same_items_are_tested_against_each_other(repository: Repository) -> None:
    with (repository.folder / "results/micro/report/differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["test"] for row in rows} == {"McNemar's exact test", "sign-flip permutation test"}
    assert all(row["verdict"] in ("better", "within noise") for row in rows)


def test_a_kept_step_is_evaluated_and_stands_in_the_table_of_quality_by_step_alone(repository: Repository) -> None:
    report = repository.folder / "results/micro/report"
    found = {}
    for name in ("quality", "comparison"):
        with (report / f"{name}.csv").open() as file:
            found[name] = [row.get("checkpoint") for row in csv.DictReader(file)]
    assert found["quality"].count("step-4") == 2
    assert "step-4" not in found["comparison"]


def test_the_samples_of_every_model_stand_on_one_page(repository: Repository) -> None:
    page = (repository.folder / "results/micro/report/samples.html").read_text()
    for part in ("Continuations: tinyworld test", "Summaries: tinyworld-dialogues test", "gpt2-modern-tiny"):
        assert part in page


def test_the_report_holds_every_figure_and_table(repository: Repository) -> None:
    repository.snakemake("--report", "whole.html", "--config", "studies=micro")
    report = (repository.folder / "whole.html").read_text()
    for product in (
        "loss-by-step.svg",
        "quality-by-step.svg",
        "quality-by-cost.svg",
        "samples.html",
        "levels.svg",
        "scaling.svg",
        "parity.svg",
        "measure.svg",
        "overview.html",
    ):
        assert product in report
    for table in (
        "comparison",
        "differences",
        "quality",
        "levels",
        "contamination",
        "scaling",
        "parity",
        "measure",
        "data",
        "models",
        "environment",
        "sources",
    ):
        assert f"{table}.html" in report
        assert f"{table}.csv" in report


def test_a_job_can_be_run_by_hand_from_its_job_file(repository: Repository) -> None:
    parity = next((repository.folder / "results/micro").glob("*/parity.json"))
    before = parity.read_text()
    parity.unlink()
    job = next((repository.folder / "logs/micro/parity").glob(f"{parity.parent.name}.json"))
    command = [sys.executable, "workflow/scripts/parity.py", str(job)]
    subprocess.run(command, cwd=repository.folder, check=True, capture_output=True, timeout=120)
    assert parity.read_text() == before


def test_every_study_dry_runs(repository: Repository) -> None:
    studies = sorted(path.stem for path in (ROOT / "config" / "studies").glob("*.yaml"))
    said = repository.snakemake("-n", "--config", f"studies={','.join(studies)}")
    planned = jobs(said)
    for study in studies:
        assert any(re.match(rf"(Train|Probe|Measure) .* of {study}(,|$)", job) for job in planned), study
        trains = any(re.match(rf"(Train|Probe) .* of {study}(,|$)", job) for job in planned)
        assert (f"{study}: what its trainings cost, done or not (" in said.stdout + said.stderr) == trains, study


def test_a_dry_run_warns_of_what_needs_more_memory_than_there_is(repository: Repository) -> None:
    grid = {"models": ["opt-1.3b"], "parallel": ["ddp"], "processes": [64], "batch": [64], "sequence_length": [2048]}
    repository.write_study("huge", {"title": "t", "question": "q", "measure": [grid]})
    said = repository.snakemake("-n", "--config", "studies=huge", "device=cpu")
    (line,) = [line for line in (said.stdout + said.stderr).splitlines() if "will need about" in line]
    assert line.startswith("huge/opt-1.3b_ddp-x64_fp32_batch64_sequence2048: ")
    assert "in each of 64 processes, and this machine has" in line


def test_the_catalogues_place_dry_runs(repository: Repository) -> None:
    repository.snakemake("-n", "-s", "workflow/Snakefile", "--config", "studies=micro")


def test_a_mistake_in_a_study_is_a_sentence_and_runs_nothing(repository: Repository) -> None:
    with repository.edited("config/studies/micro.yaml", "learning_rate", "learning_rte"):
        done = repository.snakemake("-n", "--config", "studies=micro", check=False)
    assert done.returncode == 1
    assert "no such key; did you mean 'learning_rate'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
