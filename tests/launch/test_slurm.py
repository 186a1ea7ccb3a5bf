"""Processes over several nodes, as far as one machine tells; tests/slurm has the rest."""

import socket
from pathlib import Path

import pytest

from trainyard.core.errors import InputError
from trainyard.launch.environment import child_environment
from trainyard.launch.launch import build_command, launch
from trainyard.launch.slurm import (
    find_interface,
    rendezvous_port,
    share,
    srun_command,
    torchrun_arguments,
    was_killed_for_memory,
)


@pytest.mark.parametrize(("processes", "nodes", "shares"), [(4, 2, [2, 2]), (7, 2, [4, 3]), (8, 3, [3, 3, 2])])
def test_nodes_share_processes_evenly(processes: int, nodes: int, shares: list[int]) -> None:
    assert [share(processes, nodes, node) for node in range(nodes)] == shares


def test_steps_of_jobs_that_run_at_once_meet_at_different_ports() -> None:
    ports = {rendezvous_port(job, step) for job in range(700_000, 700_500) for step in range(16)}
    assert len(ports) == 500 * 16
    assert min(ports) >= 20_000
    assert max(ports) < 32_000  # where Linux begins with those that it gives to anybody


def test_a_step_has_one_task_a_node_with_the_cores_of_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    words = srun_command(2, 7, 3, "cpu", 20.0, "module", ["argument"], "/bin/python")
    assert {"srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=12"} <= set(words)
    assert words[words.index("/bin/python") :] == [
        *["/bin/python", "-m", "trainyard.launch.worker", "trainyard.launch.slurm"],
        *["7", "cpu", "20", "module", "argument"],
    ]


def test_several_nodes_without_slurm_are_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(InputError, match=r"4 processes on 2 nodes need SLURM: .* processes_per_node: null"):
        launch("worker", [], 4, 1, tmp_path / "log", nodes=2)


def test_gloo_takes_the_interface_on_the_way_to_the_other_node() -> None:
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    assert find_interface("127.0.0.1") == loopback


def test_gloo_is_kept_on_this_machine_only_where_all_processes_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert "GLOO_SOCKET_IFNAME" in child_environment("src", 1)
    assert "GLOO_SOCKET_IFNAME" not in child_environment("src", 1, here_alone=False)


def test_one_machine_and_several_start_ranks_alike() -> None:
    here = build_command("module", ["argument"], 2)
    there = torchrun_arguments(2, [], "module", ["argument"])
    assert here[-4:] == there[-4:] == ["-m", "trainyard.launch.worker", "module", "argument"]


def program(folder: Path, name: str, prints: str, status: int = 0) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("state", "expected"), [("OUT_OF_MEMORY\nOUT_OF_MEMORY", True), ("FAILED\nFAILED", False), ("", False)]
)
def test_the_accounting_is_asked_where_the_controller_has_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, expected: bool
) -> None:
    program(tmp_path, "scontrol", "slurm_load_jobs error: Invalid job id specified", 1)
    program(tmp_path, "sacct", state)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert was_killed_for_memory("42") == expected


def test_without_slurm_s_programs_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not was_killed_for_memory("42")
