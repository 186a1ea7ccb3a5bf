"""What jobs ask of a cluster, by their size."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainyard.plan.configuration import Plan
from trainyard.plan.jobs import Dag
from trainyard.plan.preflight import host_memory
from trainyard.plan.resources import evaluation_minutes, megabytes

STUDY = {
    "title": "t",
    "question": "q",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "parallel": ["ddp"],
            "processes": [2, 4, 6],
            "train": {"steps": 10, "batch": 24, "sequence_length": 64, "learning_rate": 1e-3},
        }
    ],
}
Make = Callable[..., Dag]


@pytest.fixture
def dag(plan: Callable[..., Plan]) -> Make:
    """The jobs of `STUDY`."""

    def make(cluster: bool = True, **config: Any) -> Dag:
        return Dag(plan(STUDY, **config), Path("envs"), conda=False, cluster=cluster, predicted=host_memory)

    return make


def of(jobs: Dag, processes: int) -> SimpleNamespace:
    (run,) = [name for name, run in jobs.plan.studies["s"].runs.items() if run.specification["processes"] == processes]
    return SimpleNamespace(study="s", run=run)


def test_a_run_that_fits_on_a_node_asks_for_none_and_a_larger_one_for_as_many_as_it_needs(dag: Make) -> None:
    jobs = dag(processes_per_node=4)
    assert jobs.over_nodes
    assert [jobs.nodes(of(jobs, processes)) for processes in (2, 4, 6)] == [None, None, 2]
    assert [jobs.mpi(of(jobs, processes)) for processes in (2, 4, 6)] == [None, None, "srun"]


def test_cores_memory_and_gpus_are_those_of_a_node(dag: Make) -> None:
    jobs, whole = dag(processes_per_node=3), dag()
    six = of(jobs, 6)
    assert (whole.threads(six), whole.gres(six), whole.slots(six)) == (6, "gpu:6", 6)
    assert (jobs.threads(six), jobs.gres(six), jobs.slots(six)) == (3, "gpu:3", 3)
    assert jobs.memory(six) < whole.memory(six)


def test_without_a_cluster_all_processes_are_on_this_machine(dag: Make) -> None:
    jobs = dag(cluster=False, processes_per_node=2)
    assert not jobs.over_nodes
    assert jobs.nodes(of(jobs, 6)) is None
    assert jobs.threads(of(jobs, 6)) == 6


def test_nodes_stand_in_nothing_that_a_run_depends_on(dag: Make) -> None:
    jobs, other = dag(processes_per_node=2), dag(processes_per_node=3)
    six = of(jobs, 6)
    assert jobs.specification(six) == other.specification(six)
    assert jobs.capabilities(six) == other.capabilities(six)


def test_memory_grows_with_the_model_and_with_activations_on_a_cpu() -> None:
    assert megabytes(1_000_000, 2) == 2_000 + 2 * (1_500 + 24)
    assert megabytes(1_000_000, 2, predicted=8_000_000_000) == 2_000 + 2 * (1_500 + 10_000)


def test_minutes_of_an_evaluation_grow_with_its_rows_shots_and_model() -> None:
    few = {"limit": 20, "device": "cpu", "shots": 0}
    assert evaluation_minutes("hellaswag", few, 1_000_000, 1) == 30
    all_rows = evaluation_minutes("hellaswag", {**few, "limit": None}, 124_000_000, 8)
    assert all_rows > 600
    assert evaluation_minutes("hellaswag", {**few, "limit": None, "shots": 10}, 124_000_000, 8) > 5 * all_rows
    assert evaluation_minutes("hellaswag", {**few, "limit": None, "device": "cuda"}, 124_000_000, 1) < 60
