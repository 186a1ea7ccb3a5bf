"""What launches take of a node, as it was, by real processes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from processes import wait_for
from trainyard.launch import meter
from trainyard.launch.launch import launch
from trainyard.launch.meter import copy_energy, metered, read_energy, visible_gpus, write_energy

SOURCE = Path(meter.__file__).parents[2]
KILLED = """
import sys, time
from pathlib import Path
from trainyard.launch import meter
meter.FIRST_SECONDS = 0.05
with meter.metered(Path(sys.argv[1]), 1):
    while True:
        sum(range(10_000))
"""
POWERCAP = {"name": "package-0", "energy_uj": 1_000_000, "max_energy_range_uj": 262_143_328_850}


def burn(folder: Path, processes: int) -> tuple[dict, float]:
    """The readings of processes that compute for 1.5 s each, and the CPU time that they say they took."""
    assert launch("burner", [str(folder)], processes, 1, folder / "log", meter=folder / "energy") is None
    energy = read_energy(folder / "energy")
    assert energy is not None
    return energy, sum(float(file.read_text()) for file in folder.glob("burnt-*"))


def test_the_cpu_time_of_a_rank_counts_to_its_end(tmp_path: Path) -> None:
    before = time.monotonic()
    energy, burnt = burn(tmp_path, 1)
    # the kernel tells a process's time, and its own for it, in ticks of 10 ms; with the interpreter's end, and what
    # starts and watches it
    assert burnt - 0.02 <= energy["cpu_seconds"] < burnt + 1.5
    assert 1.5 <= energy["node_seconds"] < time.monotonic() - before
    assert energy["device_seconds"] == energy["node_seconds"]
    assert energy["launches"] == 1
    # some tens of megabytes of Python, for the time that they were there
    assert 10e6 < energy["memory_byte_seconds"] / energy["node_seconds"] < 10e9
    # the machine's own count comes in ticks of 10 ms
    assert energy["machine_cpu_seconds"] > 0.9 * burnt
    assert (energy["gpu_joules"], energy["gpu_reason"], energy["gpu_seconds"]) == (None, None, 0)


@pytest.mark.slow
def test_two_ranks_of_a_node_count_once(tmp_path: Path) -> None:
    energy, burnt = burn(tmp_path, 2)
    assert burnt > 3
    # torchrun, whose libraries take their time to load, is one of the processes
    assert burnt - 0.04 <= energy["cpu_seconds"] < 2 * burnt + 15
    assert energy["launches"] == 1
    assert energy["device_seconds"] == pytest.approx(2 * energy["node_seconds"])
    assert len(list((tmp_path / "energy").iterdir())) == 1


def test_launches_add_up_and_one_that_is_killed_keeps_what_it_had_taken(tmp_path: Path) -> None:
    folder = tmp_path / "energy"
    words = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(words, env={"PYTHONPATH": str(SOURCE)}) as process:
        wait_for(lambda: (read_energy(folder) or {"cpu_seconds": 0})["cpu_seconds"] > 0.1, 60, "a reading", process)
        process.kill()
    killed = read_energy(folder)
    assert killed is not None
    with metered(folder, 1):
        pass
    both = read_energy(folder)
    assert both is not None
    assert (killed["launches"], both["launches"]) == (1, 2)
    assert both["cpu_seconds"] >= killed["cpu_seconds"] > 0.1


def test_the_counter_of_a_processor_is_read_from_the_kernel_s_files(tmp_path: Path) -> None:
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, content in POWERCAP.items():
        (zone / name).write_text(f"{content}\n")
    with metered(tmp_path / "energy", 1, powercap=tmp_path / "powercap"):
        (zone / "energy_uj").write_text("43000000\n")
    energy = read_energy(tmp_path / "energy")
    assert energy is not None
    assert (energy["package_joules"], energy["package_reason"]) == (42, None)
    with metered(tmp_path / "energy", 1, powercap=tmp_path):
        pass
    energy = read_energy(tmp_path / "energy")
    assert energy is not None
    assert energy["package_joules"] is None  # what is unknown of one attempt is unknown of all
    assert "no energy counter" in energy["package_reason"]


def test_a_gpu_without_a_counter_says_so_and_nothing_fails(tmp_path: Path) -> None:
    with metered(tmp_path / "energy", 1, ["MIG-1"]):
        pass
    energy = read_energy(tmp_path / "energy")
    assert energy is not None
    assert (energy["gpu_joules"], energy["gpu_reason"]) == (
        None,
        "a part of a GPU (MIG) has no energy counter of its own",
    )
    assert energy["gpu_seconds"] == energy["node_seconds"]


def test_a_file_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    with metered(tmp_path, 1):
        pass
    (tmp_path / "2-0.json").write_text('{"launches": 1, "node_')
    energy = read_energy(tmp_path)
    assert energy is not None
    assert energy["launches"] == 1


def test_what_a_training_goes_on_from_counts_with_it(tmp_path: Path) -> None:
    with metered(tmp_path / "first", 1):
        pass
    write_energy(tmp_path / "state", read_energy(tmp_path / "first"))
    copy_energy(tmp_path / "state", tmp_path / "second")
    with metered(tmp_path / "second", 1):
        pass
    energy = read_energy(tmp_path / "second")
    assert energy is not None
    assert energy["launches"] == 2
    write_energy(tmp_path / "nothing", read_energy(tmp_path / "none"))
    assert not (tmp_path / "nothing").exists()


def test_a_folder_that_can_not_be_written_ends_no_launch(tmp_path: Path) -> None:
    (tmp_path / "energy").write_text("a file in its place")
    with metered(tmp_path / "energy", 1):
        pass


def test_a_machine_that_hides_its_processes_ends_no_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proc = psutil.PROCFS_PATH
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "hidden"))
    with metered(tmp_path / "energy", 1):
        pass
    assert "what this launch takes is not read: " in capsys.readouterr().err
    assert read_energy(tmp_path / "energy") is None
    monkeypatch.setattr(psutil, "PROCFS_PATH", proc)
    with metered(tmp_path / "energy", 1):
        first = read_energy(tmp_path / "energy")
        assert first is not None
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "hidden"))
    assert read_energy(tmp_path / "energy") == first  # what was read stays


def test_a_counter_that_gives_no_answer_holds_up_no_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, content in POWERCAP.items():
        (zone / name).write_text(f"{content}\n")
    monkeypatch.setattr(meter, "PATIENCE_SECONDS", 0.2)
    with metered(tmp_path / "energy", 1, powercap=tmp_path / "powercap"):
        (zone / "energy_uj").unlink()
        os.mkfifo(zone / "energy_uj")  # who reads it waits for somebody to write
        began = time.monotonic()
    assert time.monotonic() - began < 5
    (zone / "energy_uj").write_text("2000000\n")  # and so the thread ends


def test_a_draft_that_was_left_by_a_kill_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder-in-the-way").mkdir()
    with metered(tmp_path / "energy", 1):
        (file,) = (tmp_path / "energy").glob("*.json")
        file.unlink()
        (tmp_path / "folder-in-the-way").rename(file)  # what is written is not renamed, as by a launcher that is killed
    assert list((tmp_path / "energy").iterdir()) != [file]
    file.rmdir()
    assert read_energy(tmp_path / "energy") is None


def test_gpus_are_those_that_the_processes_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus({}, 2) == ["0", "1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-1,5"}, 2) == ["3", "GPU-1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3"}, 0) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert visible_gpus({}, 1) == ["7"]


def test_readings_are_json_that_anyone_reads(tmp_path: Path) -> None:
    with metered(tmp_path, 3, node=1):
        pass
    (file,) = tmp_path.iterdir()
    readings = json.loads(file.read_text())
    assert readings["launches"] == 0  # it counts on the first node
    assert readings["device_seconds"] == pytest.approx(3 * readings["node_seconds"])
