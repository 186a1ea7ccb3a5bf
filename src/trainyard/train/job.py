"""One training from its specification to its declared outputs, whatever becomes of it."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainyard.core.code_versions import CodeVersion
from trainyard.core.errors import InputError
from trainyard.core.failure_counts import FAILED, record_failure
from trainyard.core.files import (
    atomic_folder,
    check_writable,
    clear_drafts,
    read_json,
    read_json_lines,
    write_json,
    write_text,
)
from trainyard.core.python_environment import TRAINING, package_versions
from trainyard.core.repository import describe_repository
from trainyard.data.shards import verify
from trainyard.launch.failures import oom_kill_count
from trainyard.launch.launch import LaunchError, launch
from trainyard.launch.meter import read_energy
from trainyard.launch.slurm import was_killed_for_memory
from trainyard.train.metrics import Row, format_row
from trainyard.train.progress import progress
from trainyard.train.resume import choose_start
from trainyard.train.row_losses import RowLosses, load_row_losses, write_row_losses
from trainyard.train.spec import Specification
from trainyard.train.state import write_state
from trainyard.train.summary import find_validations, summarise
from trainyard.train.work_folder import WorkFolder, folder_key, input_hashes

NO_MODEL = "NONE.txt"


def train(
    specification: dict[str, Any],
    output: Path,
    work: Path,
    log: Path,
    code: str,
    unsupported: str | None = None,
    python: str = sys.executable,
    nodes: int = 1,
    slurm_job: str | None = None,
    resume_anyway: bool = False,
    forecast: Path | None = None,
) -> None:
    """Train what `specification` says, or continue an interrupted job of the same specification.

    Writes spec.json, metrics.jsonl, summary.json and, for a run, validation.parquet and models/ into `output`, for a
    member of a search its state/. Out of memory, divergence, a framework that crashes and an unsupported parallel
    setting are outcomes that are in summary.json.

    Args:
        specification: the content of spec.json.
        output: the folder of the declared outputs.
        work: the root of the working folders; this one's is `{study}/{run}/{key}` below it.
        log: where the output of the trainer goes.
        code: a hash of the code that trains.
        unsupported: why this machine can't do it, if so; then nothing is started.
        python: the interpreter that trains, which has the packages of the parallel setting.
        nodes: of the SLURM job that this process is the script of; 1: it trains on this machine alone.
        slurm_job: the number of that job, which is this training's own, and is followed by another when it fails.
        resume_anyway: whether to go on from a checkpoint of the same specification and data that other code made.
        forecast: what its loss is expected to be. summary.json holds it as it is when the training begins, whatever
            becomes of the file.

    Raises:
        InputError: the user can do something about it: an interruption (run again), a working
            folder that another trainer holds, unusable data or settings.
        LaunchError: the training failed in any other way; with the end of the log.
    """
    if unsupported is not None:
        write_ended(specification, output, {"outcome": "unsupported", "reason": unsupported})
        return
    outputs = Outputs(specification, output)
    check_writable(output)
    folder = WorkFolder(work / outputs.study / outputs.run / folder_key(specification, outputs.inputs, code, python))
    with folder.lock():
        if folder.complete.exists():
            folder.clear()
        write_json(folder.specification, specification)
        choose_start(folder, outputs.inputs, _version(code, python), resume_anyway, outputs.start)
        if forecast is not None and not folder.forecast.exists():
            write_json(folder.forecast, read_json(forecast))
        _record_job(folder, slurm_job)
    if folder.outcome() is None:
        _check_data(specification["data"])
        _launch(specification, folder, log, python, nodes, slurm_job)
    with folder.lock():
        clear_drafts(output)
        content = folder.outcome()
        assert content is not None
        if not folder.complete.exists():  # else another job of the same specification was quicker
            outputs.copy_out(folder)
            if content["outcome"] == FAILED:
                record_failure(output / "summary.json", content["reason"])
            folder.finish()


def write_ended(specification: dict[str, Any], output: Path, outcome: dict[str, Any]) -> None:
    """Write the outputs of a training that never starts; `outcome` and `reason` say why."""
    Outputs(specification, output).write(outcome, {}, [], {}, [], [])


def _version(code: str, python: str) -> CodeVersion:
    """The code of today, before it has taken a step."""
    found = describe_repository()
    return CodeVersion(1, code, found["commit"], found["dirty"], package_versions(TRAINING, python))


def _record_job(folder: WorkFolder, job: str | None) -> None:
    """Write down which job of SLURM this is; of the one before, that it ran out of memory, if so."""
    before = folder.slurm_job.read_text(encoding="utf-8") if folder.slurm_job.exists() else None
    if before and before != job and folder.outcome() is None and was_killed_for_memory(before):
        folder.end("out-of-memory", f"SLURM killed its job {before} for lack of memory (OUT_OF_MEMORY)")
    if job:
        write_text(folder.slurm_job, job)


def _check_data(data: dict[str, str | None]) -> None:
    """Compare the tokens with the hashes of their indexes."""
    for name in ("train", "validation"):
        if folder := data[name]:
            verify(Path(folder))


def _launch(
    specification: dict[str, Any], folder: WorkFolder, log: Path, python: str, nodes: int, slurm_job: str | None
) -> None:
    """Run the trainer until there is an outcome."""
    kills = oom_kill_count()
    try:
        with progress(folder, f"{specification['study']}/{specification['run']}"):
            out_of_memory = launch(
                "trainyard.train.worker",
                [str(folder.path)],
                specification["processes"],
                specification["threads"],
                log,
                device=specification["device"],
                python=python,
                nodes=nodes,
                meter=folder.energy,
            )
    except LaunchError as error:
        if error.interruption:
            raise InputError(f"{folder.path}: {error.interruption}; {folder.describe_continuation()}") from None
        if error.crash is None:
            raise
        with folder.lock():
            folder.end(FAILED, error.crash)
        return
    if out_of_memory is not None:
        with folder.lock():
            folder.end("out-of-memory", out_of_memory)
        if slurm_job and oom_kill_count() > kills:
            raise InputError(
                f"{folder.path}: {out_of_memory}; SLURM fails a job in which that happened, whatever it writes: "
                "the next attempt writes the run's row, so run again"
            )
    if folder.outcome() is None:
        raise RuntimeError(f"the trainer exited normally, but {folder.path} contains no outcome")


class Outputs:
    """The outputs of a training, and what they are made of besides its working folder."""

    def __init__(self, specification: dict[str, Any], output: Path) -> None:
        self.specification = specification
        parsed = Specification.parse(specification)
        self.study, self.run, self.kind, self.start = parsed.study, parsed.run, parsed.kind, parsed.data.start
        self.inputs = input_hashes(specification["data"])
        self._output = output

    def copy_out(self, folder: WorkFolder) -> None:
        """Write the outputs from what the trainer left."""
        outcome = folder.outcome()
        assert outcome is not None
        rows = read_json_lines(folder.metrics) if folder.metrics.exists() else []
        content = read_json(folder.started) if folder.started.exists() else {}
        finished = outcome["outcome"] == "finished"
        models = sorted(folder.models.glob("[!.]*")) if finished else []
        steps = {name: row["step"] for name, row in find_validations(rows).items()}
        loaded = {name: load_row_losses(folder.validations, step) for name, step in steps.items()}
        validations = {name: losses for name, losses in loaded.items() if losses}
        state, energy = folder if finished else None, read_energy(folder.energy)
        forecast = read_json(folder.forecast) if folder.forecast.exists() else None
        self.write(outcome, content, rows, validations, models, folder.versions(), state, energy, forecast)

    def write(
        self,
        outcome: dict[str, Any],
        facts: dict[str, Any],
        rows: list[Row],
        validations: Mapping[str, RowLosses],
        models: list[Path],
        trained_by: list[CodeVersion],
        state: WorkFolder | None = None,
        energy: dict[str, Any] | None = None,
        forecast: dict[str, Any] | None = None,
    ) -> None:
        """Write the outputs, each whole."""
        if self.kind == "member":
            write_state(self._output / "state", state)
        elif self.kind == "run":
            with atomic_folder(self._output / "models") as draft:
                for model in models:
                    shutil.copytree(model, draft / model.name)
                if not models:
                    (draft / NO_MODEL).write_text(f"{outcome['outcome']}: {outcome['reason']}\n", encoding="utf-8")
            write_row_losses(self._output / "validation.parquet", validations)
        write_json(self._output / "spec.json", self.specification)
        write_text(self._output / "metrics.jsonl", "".join(map(format_row, rows)))
        names = [model.name for model in models]
        summary = summarise(self.specification, facts, rows, outcome, names, trained_by, energy)
        write_json(self._output / "summary.json", summary | ({"forecast": forecast} if forecast else {}))
