"""What real trainings have taken, in their summaries."""

from typing import Any

import pytest
from kills import kill_with_checkpoints
from trainings import Job

from trainyard.core.files import read_json


def energy_of(job: Job) -> dict[str, Any]:
    return read_json(job.output / "summary.json")["energy"]


def test_a_training_tells_what_its_processes_have_taken(baseline: Job) -> None:
    energy, rows = energy_of(baseline), baseline.rows()
    assert energy["launches"] == 1
    assert energy["node_seconds"] == energy["device_seconds"] > rows[-1]["elapsed_seconds"]
    computed = sum(row["step_seconds"] for row in rows)
    # one thread, which computes all the time but while others have the processor
    assert 0.2 * computed < energy["cpu_seconds"] <= 1.5 * energy["node_seconds"]
    assert energy["memory_byte_seconds"] > 50e6 * energy["node_seconds"]


def test_a_training_that_is_not_started_has_taken_nothing(specification: Any, new_job: Any) -> None:
    job = new_job("unsupported", specification())
    assert job.run(unsupported="fp16 needs a GPU")["energy"] is None


@pytest.mark.slow
def test_what_was_killed_has_been_taken_too(baseline: Job, new_job: Any) -> None:
    job = new_job("killed", baseline.specification)
    kill_with_checkpoints(job, "launcher", count=2)
    (reading,) = job.folder.glob("energy/*.json")
    killed = read_json(reading)
    job.run()
    energy = energy_of(job)
    assert energy["launches"] == 2
    assert energy["cpu_seconds"] > killed["cpu_seconds"] > 0
    assert energy["node_seconds"] > killed["node_seconds"]
