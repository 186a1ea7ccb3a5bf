"""Processes on two nodes of one job."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cluster import Cluster, said

from processes import wait_for
from trainyard.launch.meter import read_energy

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
# as in a job of Snakemake's executor, which leaves no more than the job's number of what SLURM sets
LAUNCH = (
    'for name in $(compgen -v SLURM_ | grep -v "^SLURM_JOB_ID$"); do unset $name; done; exec {python} {file} {words}'
)
Submit = Callable[..., str]


@pytest.fixture
def submit(cluster: Cluster, tmp_path: Path) -> Submit:
    """Submits a launch of four ranks over two nodes; gives the number of the job."""

    def make(deed: str, *options: str, device: str = "cpu", killed: bool = False) -> str:
        line = LAUNCH.format(python=sys.executable, file=HERE / "on_nodes.py", words=f"{deed} {tmp_path} {device}")
        (tmp_path / "launch.sh").write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / "job.sh").write_text(f"#!/bin/bash\nbash {tmp_path}/launch.sh & \nlauncher=$!\n")
        with (tmp_path / "job.sh").open("a") as file:
            file.write(
                f"until [ -e {tmp_path}/kill ]; do sleep 0.1; done; kill -9 $launcher; sleep 60\n"
                if killed
                else "wait\n"
            )
        words = ["sbatch", "--parsable", "--nodes=2", "--ntasks=2", "--cpus-per-task=2", f"--output={tmp_path}/said"]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src")}
        done = subprocess.run(
            [*words, *options, str(tmp_path / "job.sh")], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return make


def ended(cluster: Cluster, job: str) -> Callable[[], bool]:
    """Whether a job is over."""
    return lambda: cluster.job(job)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING")


def ranks(folder: Path) -> list[psutil.Process]:
    """The living ranks of a launch, and what started them on their nodes."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "trainyard.launch.worker" in words[:4] and "on_nodes" in words and str(folder) in words:
            found.append(process)
    return found


def test_each_rank_has_its_place_and_a_gpu_of_its_own_node(submit: Submit, cluster: Cluster, tmp_path: Path) -> None:
    job = submit("tell", "--mem=3000", "--gres=gpu:2", device="cuda")
    wait_for(ended(cluster, job), 120, "the launch")
    assert (tmp_path / "end").exists(), (tmp_path / "said").read_text() + (tmp_path / "log").read_text()
    assert (tmp_path / "end").read_text() == "None"
    told = [json.loads((tmp_path / f"rank-{number}.json").read_text()) for number in range(4)]
    assert [(each["SLURM_NODEID"], each["LOCAL_RANK"]) for each in told] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
    ]
    assert {each["CUDA_VISIBLE_DEVICES"] for each in told} == {"0,1"}
    assert {each["WORLD_SIZE"] for each in told} == {"4"}
    assert {each["OMP_NUM_THREADS"] for each in told} == {"1"}
    assert {each["GLOO_SOCKET_IFNAME"] for each in told} == {"lo"}  # the way to the other node, which is this machine
    # one meter a node
    assert len(list((tmp_path / "energy").glob("*.json"))) == 2
    energy = read_energy(tmp_path / "energy")
    assert energy is not None
    assert energy["launches"] == 1
    assert energy["device_seconds"] == energy["gpu_seconds"] == pytest.approx(2 * energy["node_seconds"])
    assert energy["cpu_seconds"] > 0


def test_ranks_on_every_node_end_when_the_launcher_is_killed(
    submit: Submit, cluster: Cluster, tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    job = submit("wait", "--mem=3000", killed=True)
    wait_for(lambda: len(list(tmp_path.glob("rank-*.json"))) == 4, 120, "four ranks")
    assert len(ranks(tmp_path)) >= 4
    (tmp_path / "kill").touch()
    wait_for(lambda: not ranks(tmp_path), 30, "no rank left")
    assert cluster.job(job)["JobState"] == "RUNNING"
    said("scancel", job)
    record_property("faults injected", 1)


def test_memory_that_runs_out_on_another_node_is_the_reason(
    submit: Submit, cluster: Cluster, tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    job = submit("eat", "--mem=900")
    wait_for(ended(cluster, job), 120, "the launch")
    assert (tmp_path / "end").exists(), (tmp_path / "said").read_text() + (tmp_path / "log").read_text()
    assert "the kernel ended a process for lack of memory" in (tmp_path / "end").read_text()
    record_property("faults injected", 1)
