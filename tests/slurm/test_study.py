"""A whole study through profiles/slurm, one of its runs on two nodes, and what jobs ask of the cluster."""

from pathlib import Path

import pytest
from cluster import Cluster
from repository import TRAIN
from submitting import Submitting

from forked import Ranks
from trainyard.core.files import read_json, read_json_lines
from trainyard.train.job import train

pytestmark = pytest.mark.slow

STUDY = {
    "title": "On a cluster",
    "question": "Do all stages run there?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "parallel": ["ddp"],
            "processes": [4],
            "train": TRAIN,
            "evaluate": {"perplexity": {"split": "test", "limit": 20}},
        }
    ],
}
RUN = "tinyworld_gpt2-tiny_ddp-x4_fp32_seed1"
SETTINGS = ("device=cpu", "processes_per_node=2", "studies=cluster")
# a table and a figure of the report, which is whole in tests/workflow
TARGETS = [f"results/cluster/{name}" for name in ("outcomes.txt", "report/comparison.html", "report/loss-by-step.svg")]
CALL = ("--config", *SETTINGS, "--", *TARGETS)


@pytest.fixture(scope="module")
def studied(repository: Submitting) -> Submitting:
    """The repository after the whole study."""
    repository.write_study("cluster", STUDY)
    repository.submit("--slurm-keep-successful-logs", *CALL)
    return repository


def test_a_study_runs_to_its_report(studied: Submitting) -> None:
    studied.snakemake("--report", "report.html", *CALL)
    assert "comparison.html" in (studied.folder / "report.html").read_text()
    assert read_json(studied.folder / "results/cluster" / RUN / "summary.json")["outcome"] == "finished"


def test_a_second_call_has_nothing_to_do(studied: Submitting) -> None:
    assert "Nothing to be done" in studied.submit(*CALL)


def test_a_run_over_two_nodes_has_the_losses_of_one_machine(studied: Submitting, ranks: Ranks, tmp_path: Path) -> None:
    there = studied.folder / "results/cluster" / RUN
    specification = read_json(there / "spec.json")
    for name, folder in specification["data"].items():
        specification["data"][name] = folder and str(studied.folder / folder)
    here = tmp_path / "results" / RUN
    with ranks.forking():
        train(specification, here, tmp_path / "work", tmp_path / "log", code="local")
    curves = [
        [(row["loss"], row["gradient_norm"], row.get("validation_loss")) for row in read_json_lines(file)]
        for file in (there / "metrics.jsonl", here / "metrics.jsonl")
    ]
    assert len(curves[0]) == TRAIN["steps"]
    assert curves[0] == curves[1]


def test_every_job_has_a_log_of_slurm_s_and_one_of_its_own(studied: Submitting) -> None:
    own = list((studied.folder / "logs" / "cluster").rglob("*.log"))
    assert len(slurm_logs(studied)) == len(own) >= 12


def test_the_run_asked_for_two_nodes_and_the_tables_for_none(studied: Submitting, cluster: Cluster) -> None:
    logs = {file.stem: file.parts for file in slurm_logs(studied)}
    jobs = {number: cluster.job(number) for number in logs}
    (trained,) = [job for number, job in jobs.items() if "rule_train" in logs[number]]
    assert (trained["NumNodes"], trained["NumTasks"], trained["CPUs/Task"]) == ("2", "2", "2")
    assert trained["Partition"] == "gpu"
    assert 5_000 < int(trained["MinMemoryNode"].removesuffix("M")) < 6_000  # of two processes, not of four
    others = [job for number, job in jobs.items() if "rule_train" not in logs[number]]
    assert {job["NumNodes"] for job in others} == {"1"}
    tables = [job for number, job in jobs.items() if "rule_comparison_table" in logs[number]]
    assert {job["Partition"] for job in tables} == {"cpu"}


def test_the_run_knows_the_job_that_is_its_own(studied: Submitting) -> None:
    (number,) = [file.stem for file in slurm_logs(studied) if "rule_train" in file.parts]
    assert read_json(studied.folder / "logs" / "cluster" / "train" / f"{RUN}.json")["slurm_job"] == number


def slurm_logs(repository: Submitting) -> list[Path]:
    """What SLURM has kept of the study's own jobs: `rule_RULE/STUDY_...WILDCARDS/JOB.log`."""
    files = (repository.folder / "logs" / "slurm").rglob("*.log")
    return [file for file in files if file.parent.name.split("_")[0] == "cluster"]
