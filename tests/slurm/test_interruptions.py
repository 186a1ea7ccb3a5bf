"""Runs that the cluster interrupts: each ends as if it had not been, or in a row that says what happened."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import Cluster, said
from repository import TRAIN
from submitting import Submitting

from forked import Ranks
from processes import wait_for
from trainyard.core.files import read_json, read_json_lines, sha256_file
from trainyard.launch.slurm import was_killed_for_memory
from trainyard.train.job import train
from trainyard.train.work_folder import folder_key, input_hashes

pytestmark = pytest.mark.slow

GRID = {
    "datasets": ["tinyworld"],
    "models": ["gpt2-tiny"],
    "train": {**TRAIN, "steps": 200, "checkpoint_every": 10, "validate_every": 50, "keep_steps": [], "dropout": 0.1},
}
STUDY = {
    "title": "Interrupted",
    "question": "Does it continue?",
    "grids": [
        {**GRID, "recipes": {"cancelled": {}, "limited": {}}},
        {**GRID, "parallel": ["ddp"], "processes": [2], "recipes": {"moved": {}}},
    ],
    "probes": [{"models": ["gpt2-tiny"], "parallel": ["ddp"], "steps": 4}],
}
CANCELLED, LIMITED, MOVED = (
    f"tinyworld_gpt2-tiny_{setting}_fp32_{recipe}_seed1"
    for setting, recipe in (("single-x1", "cancelled"), ("single-x1", "limited"), ("ddp-x2", "moved"))
)
PROBE = "probe_tinyworld_gpt2-tiny_reference-x1_fp32_ranks2_seed1"
GREEDY = "x = bytearray(2 * 10**8)"
STUDIES = ("--config", "device=cpu", "processes_per_node=1", "studies=interrupted")


class Interrupted:
    """What became of the study.

    Attributes:
        folder: the results.
        repository: where it ran.
        jobs: the numbers of the jobs that were struck first, by run.
        held: the steps that each had taken when it was struck last.
        saved: how many steps later than it was seen the preempted run had saved; less than 0 if it had not.
    """

    def __init__(self, repository: Submitting, jobs: dict[str, str], held: dict[str, int], saved: int) -> None:
        self.folder = repository.folder / "results" / "interrupted"
        self.repository = repository
        self.jobs = jobs
        self.held = held
        self.saved = saved

    def continued(self, run: str) -> int:
        """After which step the last job of a run went on."""
        return went_on(self.repository, run)


def went_on(repository: Submitting, run: str) -> int:
    """After which step the job of a run went on; Snakemake deletes the log of the job before."""
    log = repository.folder / "logs" / "interrupted" / "train" / f"{run}.log"
    (step,) = re.findall(r"rank 0: resuming after step (\d+)", log.read_text())
    return int(step)


@pytest.fixture(scope="module")
def interrupted(repository: Submitting, cluster: Cluster) -> Interrupted:
    """The study after every strike.

    One run is cancelled, one comes to its time limit, one on two nodes loses first one of them to a job
    of higher priority and then one that is set down; a probe gets less memory than it needs.
    """
    repository.write_study("interrupted", STUDY)
    runs = (CANCELLED, LIMITED, MOVED)
    targets = [f"results/interrupted/{run}/summary.json" for run in (*runs, PROBE)]
    jobs = {}
    with (
        repository.edited("profiles/slurm/config.yaml", "  probe:\n", "  probe:\n    mem_mb: 450\n"),
        repository.submitted(*STUDIES, "--", *targets) as process,
    ):
        held = repository.hold("interrupted", runs, 21, process)
        for run in runs:
            (jobs[run],) = repository.jobs("train", run)
        said("scancel", jobs[CANCELLED])
        limit(cluster, jobs[LIMITED])
        preempt(nodes(cluster, jobs[MOVED])[1])
        restarted(cluster, jobs[MOVED], 1)
        preempted = held[MOVED]
        held |= repository.hold("interrupted", [MOVED], 61, process)
        after_preemption = went_on(repository, MOVED)
        cluster.control("update", f"NodeName={nodes(cluster, jobs[MOVED])[1]}", "State=DOWN", "Reason=struck")
        restarted(cluster, jobs[MOVED], 2)
        repository.ended(process)
    return Interrupted(repository, jobs, held, after_preemption - preempted)


def limit(cluster: Cluster, job: str) -> None:
    """Let the time of a job be up in one to two minutes, so that SLURM's warning is due."""
    hours, minutes, _ = map(int, cluster.job(job)["RunTime"].split(":"))
    cluster.control("update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")


def nodes(cluster: Cluster, job: str) -> list[str]:
    """The nodes that a job runs on."""
    return cluster.control("show", "hostnames", cluster.job(job)["NodeList"]).split()


def preempt(node: str) -> None:
    """Take a node for a job of higher priority, until that has ended."""
    said(
        "sbatch",
        "--wait",
        "--partition=urgent",
        f"--nodelist={node}",
        "--exclusive",
        "--output=/dev/null",
        "--wrap=true",
    )


def restarted(cluster: Cluster, job: str, times: int) -> None:
    """Wait until SLURM has queued a job again so many times."""
    wait_for(lambda: int(cluster.job(job)["Restarts"]) >= times, 90, f"job {job} queued again")


@pytest.fixture(scope="module")
def undisturbed(
    repository: Submitting, ranks: Ranks, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict], Path]:
    """Trains a specification here, without a cluster."""

    def make(specification: dict) -> Path:
        folder = tmp_path_factory.mktemp("undisturbed")
        data = {name: part and str(repository.folder / part) for name, part in specification["data"].items()}
        with ranks.forking():
            train({**specification, "data": data}, folder / "run", folder / "work", folder / "log", code="local")
        return folder / "run"

    return make


def end(folder: Path) -> tuple:
    """The curve of a run and the hash of its weights."""
    keys = ("step", "tokens", "loss", "gradient_norm", "learning_rate", "validation_loss")
    curve = [tuple(row.get(key) for key in keys) for row in read_json_lines(folder / "metrics.jsonl")]
    return curve, sha256_file(folder / "models" / "last" / "model.safetensors")


def test_a_cancelled_run_is_submitted_again_and_ends_as_if_it_had_not_been(
    interrupted: Interrupted,
    undisturbed: Callable[[dict], Path],
    cluster: Cluster,
    record_property: Callable[[str, int], None],
) -> None:
    assert cluster.job(interrupted.jobs[CANCELLED])["JobState"] == "CANCELLED"
    assert interrupted.continued(CANCELLED) >= interrupted.held[CANCELLED]  # it saved when it was told to end
    folder = interrupted.folder / CANCELLED
    assert end(folder) == end(undisturbed(read_json(folder / "spec.json")))
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


def test_a_run_at_its_time_limit_saves_ends_and_goes_on_in_another_job(
    interrupted: Interrupted, cluster: Cluster, record_property: Callable[[str, int], None]
) -> None:
    job = cluster.job(interrupted.jobs[LIMITED])
    assert job["JobState"] == "FAILED"  # it ended itself, before SLURM would have ended it (TIMEOUT)
    assert interrupted.continued(LIMITED) >= interrupted.held[LIMITED]
    assert end(interrupted.folder / LIMITED) == end(interrupted.folder / CANCELLED)
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


def test_a_run_on_two_nodes_outlives_preemption_and_the_loss_of_a_node(
    interrupted: Interrupted,
    undisturbed: Callable[[dict], Path],
    cluster: Cluster,
    record_property: Callable[[str, int], None],
) -> None:
    assert int(cluster.job(interrupted.jobs[MOVED])["Restarts"]) == 2
    assert interrupted.saved >= 0  # when it was preempted
    assert interrupted.continued(MOVED) >= 60  # a node that fails leaves no time to save
    folder = interrupted.folder / MOVED
    assert end(folder) == end(undisturbed(read_json(folder / "spec.json")))
    record_property("faults injected", 2)
    record_property("runs recovered", 2)


def test_a_run_that_is_killed_for_want_of_memory_is_a_row_that_says_so(
    interrupted: Interrupted, record_property: Callable[[str, int], None]
) -> None:
    summary = read_json(interrupted.folder / PROBE / "summary.json")
    assert summary["outcome"] == "out-of-memory"
    assert "the kernel ended a process for lack of memory" in summary["reason"]
    record_property("faults injected", 1)


def test_slurm_tells_a_job_that_it_has_ended_for_want_of_memory(cluster: Cluster) -> None:
    jobs = {name: submitted(code) for name, code in (("greedy", GREEDY), ("bug", "raise KeyError"), ("fine", ""))}
    found = {name: was_killed_for_memory(job) for name, job in jobs.items()}
    assert found == {"greedy": True, "bug": False, "fine": False}


def test_the_attempt_after_a_job_that_slurm_killed_whole_writes_the_row(
    interrupted: Interrupted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, int], None],
) -> None:
    monkeypatch.chdir(interrupted.repository.folder)
    specification = read_json(interrupted.folder / CANCELLED / "spec.json")
    key = folder_key(specification, input_hashes(specification["data"]), "code")
    folder = tmp_path / "work" / "interrupted" / specification["run"] / key
    folder.mkdir(parents=True)
    job = submitted(GREEDY)
    (folder / "slurm-job").write_text(job)
    train(specification, tmp_path / "results", tmp_path / "work", tmp_path / "log", code="code")
    summary = read_json(tmp_path / "results" / "summary.json")
    assert summary["outcome"] == "out-of-memory"
    assert summary["reason"] == f"SLURM killed its job {job} for lack of memory (OUT_OF_MEMORY)"
    record_property("faults injected", 1)


def submitted(code: str) -> str:
    """The number of a job of little memory that has run some Python."""
    line = ["sbatch", "--parsable", "--wait", "--mem=60", "--output=/dev/null", f'--wrap=exec python3 -c "{code}"']
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
