"""One process of a training: `python -m trainyard.train.worker FOLDER`, as many times as there are ranks.

FOLDER is a working folder that holds spec.json. The outcome is written into it. An
interruption, memory that runs out and a bug end the process with an exception,
which the launcher reports.
"""

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainyard.config.train import check_last_step
from trainyard.core.code_versions import CodeVersion, cut
from trainyard.core.errors import InputError, one_line
from trainyard.core.files import clear_drafts, read_json, write_json
from trainyard.core.timeouts import DEAF_SECONDS
from trainyard.data.loader import Loader
from trainyard.estimate.frozen import count_frozen
from trainyard.estimate.lora import count_adapters, target_names
from trainyard.estimate.parameters import MFU_FORMULA, flops_per_token, parameters
from trainyard.hardware.device import device_name
from trainyard.hardware.memory_usage import peak_host_memory
from trainyard.hardware.tf32 import set_tf32
from trainyard.launch.failures import is_lost_connection, is_out_of_memory
from trainyard.launch.signals import heed_sigterm
from trainyard.models.build import build, start_token
from trainyard.models.freeze import freeze, frozen_weights
from trainyard.models.lora import Adapters, adapt
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import Engine, EngineSettings, load_engine
from trainyard.train.checkpoint import load_checkpoint, newest_step, restore_best, seed_rank
from trainyard.train.early_stopping import describe_stop
from trainyard.train.export import Exporter
from trainyard.train.loop import DivergedError, Loop, StoppedError
from trainyard.train.metrics import MetricsFile
from trainyard.train.spec import Specification
from trainyard.train.work_folder import WorkFolder


def main(folder: WorkFolder) -> None:
    """Train in this process, as the rank that the environment says.

    Raises:
        InputError: the user can do something about it; an interruption too.
    """
    leads = process_group.rank() == 0
    with folder.lock() if leads else nullcontext():
        specification = Specification.parse(read_json(folder.specification), str(folder.specification))
        torch.set_num_threads(specification.threads)
        engine_class = load_engine(specification.parallel.engine)
        engine_class.start(specification.device)
        set_tf32(specification.train.tf32)
        # an orphan that held the lock may have come to its end meanwhile
        if process_group.broadcast(int(leads and folder.outcome() is not None)):
            process_group.stop()
            return
        if leads:
            for folder_path in (folder.path, folder.models):
                clear_drafts(folder_path)
        with MetricsFile(folder.metrics) if leads else nullcontext() as metrics:
            _train(specification, folder, engine_class, metrics)


def _train(
    specification: Specification, folder: WorkFolder, engine_class: type[Engine], metrics: MetricsFile | None
) -> None:
    """Build, resume, train; record the outcome."""
    loader, validation = _loaders(specification)
    if metrics:
        write_json(folder.started, found_at_start(specification, loader))
    objective, adapters = _objective(specification)
    frozen = frozen_weights(objective.model) if metrics else {}
    engine = engine_class(objective, engine_settings(specification, loader, folder.swap))
    seed_rank(specification.seed, engine.data_rank)  # the processes of one copy drop out alike
    step = process_group.broadcast(newest_step(folder.checkpoints, len(metrics.rows)) if metrics else 0)
    if specification.data.start and not step:
        raise InputError(
            f"{folder.path}: none of its checkpoints can be read any more; run again, and it begins from "
            f"{specification.data.start} anew"
        )
    versions = cut(folder.versions(), step)
    if metrics:
        metrics.cut(step)
        restore_best(folder.checkpoints, step, folder.best)
        folder.write_origin(folder.inputs(), versions)
    if step:
        print(f"rank {process_group.rank()}: resuming after step {step}", flush=True)
        _resume(folder, step, engine, versions)
    export = None
    if not specification.probe:
        export = Exporter(
            read_json(folder.specification), specification.model, folder.models, engine, versions, frozen, adapters
        )
    loop = Loop(
        specification.train,
        engine,
        loader,
        metrics,
        folder.checkpoints,
        validation,
        export,
        folder.best,
        folder.validations,
        specification.until,
    )
    heed_sigterm(partial(_stop, loop), DEAF_SECONDS)
    outcome, reason = "finished", None
    try:
        loop.run(step)
        if loop.stopped_early is not None and specification.train.patience is not None:
            reason = describe_stop(loop.stopped_early, loop.steps, specification.train.patience)
    except DivergedError as error:
        outcome, reason = "diverged", str(error)
    except StoppedError as error:
        raise InputError(f"{folder.path}: interrupted; run again, and it continues after step {error.step}") from None
    host, device = process_group.max_over_ranks([peak_host_memory(), loop.peak_device_memory])
    if metrics:
        metrics.sync()
        folder.end(outcome, reason, peak_host_memory=int(host), peak_device_memory=int(device) or None)
    engine.close()


def _resume(folder: WorkFolder, step: int, engine: Engine, versions: list[CodeVersion]) -> None:
    """Load the checkpoint of `step`.

    Raises:
        InputError: other code made it, which wrote it in another form.
    """
    try:
        load_checkpoint(folder.checkpoints, step, engine)
    except Exception as error:
        of_other_code = step < versions[-1].step
        if not of_other_code or isinstance(error, InputError) or is_out_of_memory(error) or is_lost_connection(error):
            raise
        raise InputError(
            f"{folder.path}: today's code can't read the checkpoint after step {step} that {versions[-2]} made "
            f"({type(error).__name__}: {one_line(error)}); without resume=anyway the run begins at step 1, and nothing "
            "is lost: the checkpoint stays in the working folder of that code"
        ) from error


def _stop(loop: Loop) -> None:
    loop.stop = True


def _objective(specification: Specification) -> tuple[Objective, Adapters | None]:
    train, adapters = specification.train, None
    model = build(
        specification.model,
        specification.model_name,
        dropout=0.0 if specification.probe else train.dropout,
        seed=specification.seed,
        weights=specification.data.weights,
        activation_checkpointing=train.activation_checkpointing,
        window=train.window,
    )
    freeze(model, train.freeze)
    if train.lora is not None:
        targets = target_names(specification.model, train.lora)
        base = getattr(specification.model.weights, "hub", None)
        adapters = adapt(model, train.lora, targets, specification.seed, base)
    return Objective(model, train.label_smoothing), adapters


def _loaders(specification: Specification) -> tuple[Loader, Loader | None]:
    """The rows to train on and, for a run that has some, those held out."""
    train, data = specification.train, specification.data
    start = start_token(specification.model)
    loader = Loader(data.train, train, specification.seed, start, unequal=specification.probe)
    # before anything costly: do batch, data, processes and steps fit?
    loader.micro_batch(data_ranks(specification))
    check_last_step(train, loader.steps)
    if specification.probe or data.validation is None:
        return loader, None
    return loader, Loader(data.validation, train, specification.seed, start)


def found_at_start(specification: Specification, loader: Loader) -> dict[str, Any]:
    """Steps, parameters, the device and the parts of the MFU that are the model's: the content of started.json.

    A token of the MFU's formula is a position that is read and predicted. Of pairs
    other tokens are read than are predicted: they get no MFU. Nor do models of which parts are frozen or that attend
    within a window, for which the formula counts products that nobody makes, nor runs in TF32, whose peak is not known.
    """
    train, every = specification.train, parameters(specification.model)
    trained = every - count_frozen(specification.model, train.freeze).parameters
    found: dict[str, Any] = {
        "steps": specification.until or loader.steps,
        "parameters": every,
        "trained_parameters": count_adapters(specification.model, train.lora) or trained,
        "device_name": device_name(process_group.device(specification.device)),
    }
    if specification.task == "summarisation" or train.freeze or train.lora or train.attention or train.tf32:
        return found
    flops = flops_per_token(specification.model, train.sequence_length)
    return found | {"flops_per_token": flops, "mfu_formula": MFU_FORMULA}


def data_ranks(specification: Specification) -> int:
    """How many shares a batch is cut into."""
    return specification.parallel.data_ranks(specification.processes)


def engine_settings(specification: Specification, loader: Loader, scratch: Path) -> EngineSettings:
    """What the engine needs to know of a specification; `scratch` is made for what it swaps to a disk."""
    train, ranks = specification.train, data_ranks(specification)
    scratch.mkdir(exist_ok=True)
    return EngineSettings(
        precision=specification.precision,
        train=train,
        parallel=specification.parallel,
        micro_batch=loader.micro_batch(ranks),
        accumulation=loader.accumulation(ranks),
        family=specification.model.family,
        device=specification.device,
        scratch=scratch,
    )


if __name__ == "__main__":
    main(WorkFolder(Path(sys.argv[1])))
