"""An evaluation that is killed, or finds the disk full, ends with the same files when it is started again."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from disks import Disk, small_disk
from kills import said_by
from trainings import SOURCE, Job

from processes import AT_ONCE, assert_gone, below, stopped, wait_for
from trainyard.core.files import read_json

pytestmark = pytest.mark.slow

SCRIPT = (
    "import sys; from pathlib import Path; from trainyard.evaluate.run import run;"
    "from trainyard.evaluate.result_files import Names; folder, rows, output, work = map(Path, sys.argv[1:5]);"
    "settings = {'context': 32, 'processes': int(sys.argv[5])};"
    "run('perplexity', folder, rows, settings, output, Names(*'abcdef'), work)"
)
TEXT = "Ada is in the kitchen. Ben took the red ball to the garden, and then he went home. "


@dataclass
class Evaluation:
    """An evaluation of a model in blocks of rows, by a process of its own."""

    model: Path
    rows: Path
    root: Path

    @property
    def output(self) -> Path:
        return self.root / "result.json"

    @property
    def work(self) -> Path:
        return self.root / "work" / "key"

    def start(self, processes: int = 1) -> subprocess.Popen[bytes]:
        self.root.mkdir(parents=True, exist_ok=True)
        words = [str(path) for path in (self.model, self.rows, self.output, self.work)]
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        command = [sys.executable, "-c", SCRIPT, *words, str(processes)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    def run(self, processes: int = 1) -> None:
        process = self.start(processes)
        said = said_by(process)
        assert process.returncode == 0, said

    def blocks(self) -> dict[Path, int]:
        """The finished blocks, and when they were written."""
        return {file: file.stat().st_mtime_ns for file in self.work.glob("[!.]*.parquet")}

    def wait_for_block(self, process: subprocess.Popen[bytes], finished: Collection[Path] = ()) -> None:
        """Wait until `process` has finished one more than those."""
        wait_for(lambda: self.blocks().keys() > set(finished), 120, "a finished block", process, every=AT_ONCE)

    def found(self) -> tuple[Any, pa.Table]:
        return read_json(self.output), pq.read_table(self.output.with_suffix(".parquet"))


@pytest.fixture(scope="module")
def whole(undisturbed: Callable[..., Job], tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """An evaluation that nobody disturbed, of several blocks."""
    folder = tmp_path_factory.mktemp("evaluation")
    texts = [TEXT * (18 + row % 3) for row in range(300)]
    pq.write_table(pa.table({"text": texts}), folder / "rows.parquet")
    made = Evaluation(undisturbed().output / "models" / "last", folder / "rows.parquet", folder / "whole")
    made.run()
    return made


@pytest.fixture
def evaluation(whole: Evaluation, tmp_path: Path) -> Evaluation:
    """The same, to be disturbed."""
    return Evaluation(whole.model, whole.rows, tmp_path / "evaluation")


def same(evaluation: Evaluation, other: Evaluation) -> None:
    (result, items), (others_result, others_items) = evaluation.found(), other.found()
    assert result == others_result
    assert items.equals(others_items)
    assert not evaluation.work.parent.exists()


@pytest.mark.parametrize(
    ("processes", "victims"), [(1, ["script", "script"]), (2, ["script", "process"])], ids=["1-process", "2-processes"]
)
def test_killed_between_its_blocks_it_goes_on_after_those_that_are_finished(
    evaluation: Evaluation,
    whole: Evaluation,
    processes: int,
    victims: list[str],
    record_property: Callable[[str, object], None],
) -> None:
    finished: dict[Path, int] = {}
    for victim in victims:
        process = evaluation.start(processes)
        evaluation.wait_for_block(process, finished)
        family = below(process)
        if victim == "script":
            process.kill()
        else:
            family[0].kill()
        said = said_by(process)
        assert victim == "script" or re.search(r"process \d of 2 was killed by signal 9; run again to continue", said)
        assert_gone(family)
        assert not evaluation.output.exists()
        later = evaluation.blocks()
        assert finished.items() <= later.items(), "a finished block was scored again"
        finished = later
    evaluation.run(processes)
    same(evaluation, whole)
    record_property("faults injected", len(victims))
    record_property("kills", len(victims))
    record_property("runs recovered", 1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def test_a_full_disk_is_named_and_with_room_it_ends_the_same(
    disk: Disk, whole: Evaluation, record_property: Callable[[str, object], None]
) -> None:
    evaluation = Evaluation(whole.model, whole.rows, disk.folder / "evaluation")
    process = evaluation.start()
    evaluation.wait_for_block(process)
    with stopped(process):
        disk.fill(process)
    said = said_by(process)
    assert process.returncode == 1
    assert re.search(rf"{evaluation.root}/\S*\.parquet: can't be written: {re.escape(disk.full)}", said)
    disk.make_room()
    evaluation.run()
    same(evaluation, whole)
    record_property("faults injected", 1)
    record_property("runs recovered", 1)
