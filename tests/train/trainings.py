"""Small data and specifications, and trainings of them in processes of their own; for tests of several folders."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from processes import AT_ONCE, wait_for
from trainyard.config.catalogue import BytesTokenizer, ParallelSetting
from trainyard.config.yaml_entries import parse_entries
from trainyard.core.files import read_json, read_json_lines, sha256_file, write_json
from trainyard.data.pairs import SCHEMA
from trainyard.data.shards import write_shards
from trainyard.data.tokenizers import make_tokenizer
from trainyard.plan.capabilities import Machine, explain_unsupported
from trainyard.train.job import train

SOURCE = Path(__file__).parents[2] / "src"
VOCABULARY = 260
PAD, END, END_OF_TEXT, FIRST_BYTE = 0, 2, 3, 4


def write_text_data(folder: Path, documents: int, seed: int) -> None:
    """Documents that count up from a random byte in steps of 3: easy to predict but for the first token."""
    folder.mkdir(parents=True)
    starts = np.random.default_rng(seed).integers(0, 256, documents)
    tokens = [
        np.append(END_OF_TEXT, FIRST_BYTE + (start + 3 * np.arange(30)) % 256).astype(np.uint16) for start in starts
    ]
    shards = write_shards(folder, tokens, 500)
    write_json(folder / "index.json", {"kind": "text", "tokens": 31 * documents, "shards": shards})


def write_pairs_data(folder: Path, rows: int, seed: int) -> None:
    """Sources of random length whose first bytes, in reverse, are the target."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    sources = [random.integers(FIRST_BYTE, VOCABULARY, random.integers(4, 20)) for _ in range(rows)]
    table = {
        "id": [str(number) for number in range(rows)],
        "source_ids": [[*source.tolist(), END] for source in sources],
        "target_ids": [[*source[:4][::-1].tolist(), END] for source in sources],
    }
    pq.write_table(pa.table(table, schema=SCHEMA), folder / "pairs.parquet", row_group_size=128)
    files = [{"file": "pairs.parquet", "sha256": sha256_file(folder / "pairs.parquet")}]
    special_tokens = {"pad": PAD, "end": END, "end_of_text": END_OF_TEXT, "separator": [FIRST_BYTE, FIRST_BYTE + 1]}
    framing = {"before": 0, "after": 1}
    write_json(
        folder / "index.json",
        {"kind": "pairs", "rows": rows, "files": files, "framing": framing, **special_tokens},
    )


def write_tokenizer(folder: Path) -> None:
    make_tokenizer("bytes", BytesTokenizer(title="Bytes", kind="bytes", vocabulary=VOCABULARY), folder)


SHAPE = {"layers": 2, "width": 32, "heads": 2, "context": 32, "vocabulary": VOCABULARY, "dropout": 0.1}
TRAIN = {
    "steps": 12,
    "batch": 4,
    "micro_batch": 1,
    "sequence_length": 16,
    "source_length": 16,
    "target_length": 8,
    "learning_rate": 3e-3,
    "warmup_steps": 2,
    "validate_every": 4,
    "validation_tokens": 200,
    "checkpoint_every": 3,
}


ENTRIES = parse_entries(ParallelSetting, Path(__file__).parents[2] / "config" / "parallel.yaml")


def processes_of(setting: ParallelSetting) -> int:
    """The fewest processes over which a parallel setting spreads a run."""
    return 1 if setting.one_process else max(2, setting.tensor * setting.pipeline)


def runs_here(setting: ParallelSetting) -> bool:
    """Whether a parallel setting trains on this machine's CPU."""
    capabilities = Machine("cpu").capabilities(setting, compiled=False)
    return explain_unsupported(setting, "gpt2", "fp32", processes_of(setting), capabilities) is None


def make_specification(
    data: Path, family: str = "gpt2", processes: int = 1, parallel: str | None = None, **train: Any
) -> dict[str, Any]:
    """A run of 12 steps with dropout, a checkpoint every 3 and a validation every 4; `parallel` is of the catalogue."""
    parallel = parallel or ("single" if processes == 1 else "ddp")
    setting = ENTRIES[parallel]
    return {
        "study": "study",
        "run": "run",
        "kind": "run",
        "task": "language-modelling" if family == "gpt2" else "summarisation",
        "dataset": "counting",
        "model": {"name": "tiny", "title": "Tiny", "family": family, "tokenizer": "bytes", "shape": SHAPE},
        "parallel": {"name": parallel, **setting.to_spec()},
        "processes": max(processes, processes_of(setting)),
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "recipe": "base",
        "seed": 1,
        "train": TRAIN | train,
        "data": {
            "train": str(data / "train"),
            "validation": str(data / "validation"),
            "tokenizer": str(data / "tokenizer"),
            "weights": None,
        },
    }


@dataclass
class Job:
    """A training below `root`, by a process of its own that can be killed, or in this one."""

    root: Path
    specification: dict[str, Any]
    log_name: str = "train.log"
    code: str = "code"
    resume_anyway: bool = False

    @property
    def output(self) -> Path:
        return self.root / "results"

    @property
    def above(self) -> list[str]:
        """What the new process is started by, if by anything."""
        return []

    @property
    def log(self) -> Path:
        return self.root / self.log_name

    @property
    def folder(self) -> Path:
        """Its working folder; there is one alone."""
        (folder,) = (self.root / "work").glob("*/*/*")
        return folder

    def run(self, **more: Any) -> dict[str, Any]:
        """Train to the end; the summary."""
        work, resume = self.root / "work", self.resume_anyway
        train(self.specification, self.output, work, self.log, self.code, resume_anyway=resume, **more)
        return read_json(self.output / "summary.json")

    def start(self) -> subprocess.Popen[bytes]:
        """Start `run` in a new process."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.root / "job.json", self.specification)
        words = [str(self.root / "job.json"), str(self.output), str(self.root / "work"), str(self.log), self.code]
        words += ["anyway"] if self.resume_anyway else []
        program = (
            "import json, sys; from pathlib import Path; from trainyard.train.job import train; "
            "s, o, w, l = map(Path, sys.argv[1:5]); "
            "train(json.loads(s.read_text()), o, w, l, sys.argv[5], resume_anyway='anyway' in sys.argv[6:])"
        )
        environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*self.above, sys.executable, "-c", program, *words], env=environment, stderr=subprocess.PIPE
        )

    def rows(self) -> list[dict[str, Any]]:
        return read_json_lines(self.output / "metrics.jsonl")

    def curve(self) -> list[tuple]:
        """What must be bitwise the same however often the run was interrupted."""
        names = ("step", "tokens", "loss", "learning_rate", "gradient_norm", "validation_loss")
        return [tuple(row.get(name) for name in names) for row in self.rows()]

    def validation(self) -> dict[str, list]:
        """The losses by row of the best and the last validation: the columns of their file."""
        return pq.read_table(self.output / "validation.parquet").to_pydict()

    def models(self) -> dict[str, str]:
        """The hash of each file of the models; their cards tell of the machine and the commit."""
        files = (file for file in self.output.glob("models/*/*") if file.name != "README.md")
        return {str(file.relative_to(self.output)): sha256_file(file) for file in sorted(files)}

    def steps(self) -> int:
        """The rows written so far by a training that still continues."""
        return sum(path.read_bytes().count(b"\n") for path in (self.root / "work").glob("*/*/*/metrics.jsonl"))

    def wait_for_steps(self, count: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until `process` has taken so many."""
        wait_for(lambda: self.steps() >= count, 120, f"{count} steps", process, every=AT_ONCE)


def write_small_text(folder: Path) -> Path:
    """Tokens to train on and to validate on, and a tokenizer."""
    write_text_data(folder / "train", 200, 1)
    write_text_data(folder / "validation", 20, 2)
    write_tokenizer(folder / "tokenizer")
    return folder
