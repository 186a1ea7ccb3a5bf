"""The items of an evaluation: scored block by block, by one process or several, and gathered.

A block's items depend only on the block, not on who scores it or when: any number of
processes gives the same file, and what a killed evaluation has finished is used again.

```
work/{study}/{run}/evaluate/{evaluation}@{checkpoint}/{key}/
    task.json             what is scored, for the other processes
    000012.json           what each batch of a block took, of a metric that generates
    000012.parquet        the items of a block; whole, or not there
```
"""

import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.errors import InputError
from trainyard.core.files import atomic_file, read_json, sha256_file, sha256_json, write_json
from trainyard.core.python_environment import package_versions
from trainyard.core.repository import SOURCE
from trainyard.evaluate.generation_speed import TimedBatch, combine
from trainyard.evaluate.result_files import PACKAGES, Names, write_items
from trainyard.evaluate.rows import blocks, rows_sha256
from trainyard.evaluate.scorer import TimedScorer, load_metric
from trainyard.hardware.gpus import see_own_slice
from trainyard.launch.environment import child_environment
from trainyard.launch.progress import progress

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Task:
    """What is scored: the metric, the model, the rows and the settings, and what it is called."""

    metric: str
    model_folder: str
    rows: str
    settings: Mapping[str, Any]
    title: str


def work_folder(names: Names, model_folder: Path, rows: Sequence[Path], depends: Mapping[str, Any]) -> Path:
    """Where the blocks of an evaluation are: a name for the same model, rows, packages and all that it `depends` on.

    Raises:
        InputError: the rows can't be read.
    """
    files = sorted(file for file in model_folder.rglob("*") if file.is_file())
    key = sha256_json(
        {
            "model": {str(file.relative_to(model_folder)): sha256_file(file) for file in files},
            "rows": [rows_sha256(file) for file in rows],
            "versions": package_versions(PACKAGES),
            "depends": depends,
        }
    )
    evaluation = Path("work") / names.study / names.run / "evaluate" / f"{names.evaluation}@{names.checkpoint}"
    return evaluation / key[:16]


@contextmanager
def score_items(task: Task, processes: int, output: Path, work: Path | None) -> Iterator[dict[str, Any] | None]:
    """Score every block and write all items to `output`, for the body to read; gives it the speed of generation.

    Args:
        task: what is scored.
        processes: how many share it; with device `cuda` each has a GPU of its own.
        output: the Parquet file.
        work: where finished blocks are until the body has ended well; a temporary folder by default.

    Raises:
        InputError: model, rows or settings don't do, or a process of several failed.
    """
    with _folder(work) as folder:
        if processes == 1:
            score_share(task, folder, 0, 1)
        else:
            _in_processes(task, folder, processes)
        _gather(folder, load_metric(task.metric).SCHEMA, output)
        yield _gather_times(folder)
    if work is not None:
        shutil.rmtree(work.parent)


def score_share(task: Task, folder: Path, rank: int, processes: int) -> None:
    """Score each `processes`-th block from number `rank` on that `folder` doesn't hold yet."""
    metric = load_metric(task.metric)
    scorer = metric.Scorer(Path(task.model_folder), Path(task.rows), task.settings)
    title = f"{task.title} (process {rank + 1} of {processes})" if processes > 1 else task.title
    with progress(title, scorer.stop, processes) as counter:
        for block in blocks(Path(task.rows), scorer.columns, scorer.stop):
            file = folder / f"{block.index:06d}.parquet"
            if block.index % processes != rank or file.is_file():
                counter.skip(len(block.rows))
                continue
            items = scorer.score(block, counter)
            if isinstance(scorer, TimedScorer):  # first, since a block with items is never scored again
                batches = [asdict(batch) for batch in scorer.take_times()]
                write_json(file.with_suffix(".json"), {"processes": processes, "batches": batches})
            write_items(items, metric.SCHEMA, file)


def _in_processes(task: Task, folder: Path, processes: int) -> None:
    write_json(folder / "task.json", asdict(task))
    # by `rank` they end with this process, and keep its GPUs until they have
    command = [sys.executable, "-m", "trainyard.launch.worker", __name__, str(folder / "task.json"), str(processes)]
    environment = child_environment(SOURCE, task.settings["threads"])
    running = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(processes)]
    try:
        while None in (codes := [process.poll() for process in running]) and not any(codes):
            time.sleep(POLL_SECONDS)
    finally:
        for process in running:
            process.kill()
            process.wait()
    for rank, code in enumerate(codes):
        if code:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}, see its error above"
            raise InputError(f"{task.title}: process {rank + 1} of {processes} {ended}; run again to continue")


def _gather_times(folder: Path) -> dict[str, Any] | None:
    """The speed of generation over all blocks, whoever scored them and when; None of a metric that doesn't generate."""
    times = [file.with_suffix(".json") for file in sorted(folder.glob("*.parquet"))]
    found = [read_json(file) for file in times if file.is_file()]
    return combine([(each["processes"], [TimedBatch(**batch) for batch in each["batches"]]) for each in found])


def _gather(folder: Path, schema: pa.Schema, output: Path) -> None:
    with atomic_file(output) as draft, pq.ParquetWriter(draft, schema) as writer:
        for file in sorted(folder.glob("*.parquet")):
            writer.write_table(pq.read_table(file, schema=schema))


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    for other in work.parent.glob("*/"):  # of other settings, another model or other code
        if other != work:
            shutil.rmtree(other)
    work.mkdir(parents=True, exist_ok=True)
    yield work


def main() -> None:
    """One process of several: `python -m trainyard.launch.worker trainyard.evaluate.workers TASK PROCESSES RANK`."""
    keep_freed_memory()
    task, (processes, rank) = Task(**read_json(Path(sys.argv[1]))), map(int, sys.argv[2:])
    if task.settings["device"] == "cuda":
        task = replace(task, settings={**task.settings, "device": f"cuda:{see_own_slice(rank)}"})
    score_share(task, Path(sys.argv[1]).parent, rank, processes)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process use freed memory again and never give it back before it ends (with glibc, from 2.35 on).

    Each batch frees hundreds of megabytes that the next one asks for: given back, they are
    asked of the kernel again page by page, which takes up to a fifth of a batch's time.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    # glibc before 2.35 refuses so large a threshold: its own rule is then left as it is
    if hasattr(library, "gnu_get_libc_version") and library.mallopt(_MMAP_THRESHOLD, 1 << 30):  # bytes
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)  # bytes


if __name__ == "__main__":
    main()
