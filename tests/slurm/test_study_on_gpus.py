"""What jobs ask of a cluster for GPUs: they are looked at in the queue of a partition that starts none."""

from collections.abc import Iterator
from functools import partial

import pytest
from cluster import Cluster, said
from repository import TRAIN
from submitting import Submitting

from processes import wait_for

pytestmark = pytest.mark.slow

STUDY = {
    "title": "On GPUs",
    "question": "Does each job ask for its own?",
    "grids": [
        {"datasets": ["tinyworld"], "models": ["gpt2-tiny"], "parallel": ["ddp"], "processes": [4], "train": TRAIN}
    ],
    "measure": [
        {"models": ["gpt2-tiny"], "parallel": ["ddp"], "processes": [2], "batch": [2], "sequence_length": [64]}
    ],
}
RUN = "tinyworld_gpt2-tiny_ddp-x4_fp32_seed1"
CELL = "gpt2-tiny_ddp-x2_fp32_batch2_sequence64"
TARGETS = (f"results/gpus/{RUN}/summary.json", f"results/gpus/measure/{CELL}/launch1.json")
SETTINGS = ("--config", "device=cuda", "processes_per_node=2", "studies=gpus")


@pytest.fixture(scope="module")
def asked(repository: Submitting, cluster: Cluster) -> Iterator[dict[str, dict[str, str]]]:
    """What the cluster says of the jobs that wait for GPUs, by rule."""
    repository.write_study("gpus", STUDY)
    cluster.control("update", "PartitionName=gpu", "State=DOWN")
    found: dict[str, list[str]] = {}
    try:
        with repository.submitted(*SETTINGS, "--", *TARGETS) as process:
            for rule, name in {"train": RUN, "measure": CELL}.items():
                queued = partial(repository.jobs, rule, name)
                found[rule] = wait_for(queued, 300, f"the job of {name}", process, repository.output)
        yield {rule: cluster.job(number) for rule, (number,) in found.items()}
    finally:
        said("scancel", *(number for numbers in found.values() for number in numbers))
        cluster.control("update", "PartitionName=gpu", "State=UP")


def test_a_run_over_two_nodes_asks_each_for_a_gpu_a_process(asked: dict[str, dict[str, str]]) -> None:
    job = asked["train"]
    assert (job["JobState"], job["Partition"]) == ("PENDING", "gpu")
    assert (job["NumNodes"].split("-")[0], job["TresPerNode"]) == ("2", "gres:gpu:2")
    assert job["OverSubscribe"] == "OK"


def test_a_measurement_asks_for_its_gpus_and_for_a_node_of_its_own(asked: dict[str, dict[str, str]]) -> None:
    job = asked["measure"]
    assert (job["JobState"], job["Partition"]) == ("PENDING", "gpu")
    assert (job["NumNodes"].split("-")[0], job["TresPerNode"]) == ("1", "gres:gpu:2")
    assert job["OverSubscribe"] == "NO"
