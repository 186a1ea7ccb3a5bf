import os
from pathlib import Path

import psutil

from trainyard.hardware.memory_usage import find_rooms, free_host_memory, host_memory, peak_host_memory


def test_memory_is_that_of_this_process():
    ballast = bytearray(os.urandom(1)) * 50_000_000
    assert 50_000_000 < host_memory() <= peak_host_memory()
    del ballast


def test_what_is_free_is_less_than_what_the_machine_has():
    free = free_host_memory()
    assert free is not None
    assert 0 < free < psutil.virtual_memory().total


def write_group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(content)


def test_a_control_group_leaves_what_its_limit_does_with_the_files_that_it_keeps(tmp_path: Path):
    write_group(tmp_path / "job", max="9000\n", current="5000\n", stat="anon 4000\ninactive_file 700\n")
    write_group(tmp_path / "job" / "step", max="max\n", current="100\n", stat="")
    assert list(find_rooms("0::/job/step\n", tmp_path)) == [4700]


def test_so_does_one_of_the_first_version_as_clusters_have(tmp_path: Path):
    statistics = "inactive_file 1\ntotal_inactive_file 700\n"
    step = tmp_path / "memory" / "slurm" / "job_7" / "step_0"
    write_group(step, limit_in_bytes="9223372036854771712\n", usage_in_bytes="10\n", stat=statistics)
    (step.parent / "memory.limit_in_bytes").write_text("9000\n")
    (step.parent / "memory.usage_in_bytes").write_text("5000\n")
    groups = "12:pids:/\n9:cpu,memory:/slurm/job_7/step_0\n1:name=systemd:/x\n0::/\n"
    assert min(find_rooms(groups, tmp_path)) == 9000 - 5000
