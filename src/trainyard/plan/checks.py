"""Whether settings that are each allowed fit together: what would otherwise end a job, after hours, ends the call.

All of it is arithmetic on the catalogues and a study. What only the data can tell (how many rows, how long a
document) is found where it is read.
"""

from collections.abc import Iterable

from trainyard.config.catalogue import LARGEST_VOCABULARY, Dataset, Model, ParallelSetting, Task, Tokenizer
from trainyard.config.engine_options import Options, parse_options
from trainyard.config.lora import Lora
from trainyard.config.model_parts import parse_part
from trainyard.config.protocols import ROWS_FOR_SHOTS
from trainyard.config.study import Evaluate
from trainyard.config.train import Train, check_last_step, joined_length, rows_per_step
from trainyard.core.errors import InputError
from trainyard.estimate.blocks import decoder_layers
from trainyard.estimate.families import load_family
from trainyard.estimate.lora import linear_names, target_names, target_shapes
from trainyard.estimate.parameters import feed_forward_width
from trainyard.plan.evaluations import Evaluation

LONGEST_NAME = 255 - 24
"""Bytes of a file's name without the endings that logs, tables and unfinished files have."""


def task_of(dataset: Dataset) -> Task:
    """Source and target pairs are for summarisation, text is for language modelling."""
    return "summarisation" if dataset.kind == "pairs" else "language-modelling"


def check_training(
    train: Train, dataset: tuple[str, Dataset], model: tuple[str, Model], tokenizer: Tokenizer, location: str
) -> None:
    """See that a model can be trained so on a dataset; both with their names, `location` is the grid's file and key.

    Raises:
        InputError: it can't.
    """
    (dataset_name, data), (model_name, entry) = dataset, model
    if data.kind == "choices":
        raise InputError(f"{location}.datasets: {dataset_name} holds multiple-choice items, nothing to train on")
    task = task_of(data)
    if load_family(entry.family).is_encoder_decoder and task != "summarisation":
        raise InputError(
            f"{location}.models: {model_name} ({entry.family}) is no model for {task}, "
            f"which {dataset_name} is for; put them into grids of their own"
        )
    if "train" not in data.splits:
        raise InputError(f"{location}.datasets: {dataset_name} has no split 'train' to train on")
    if train.initial == "pretrained" and entry.weights is None:
        raise InputError(f"{location}.train.initial: {model_name} has no pretrained weights in config/models.yaml")
    if task == "language-modelling" and tokenizer.vocabulary > LARGEST_VOCABULARY:
        raise InputError(
            f"{location}.models: {model_name}: text is stored in tokens of 16 bits, and {entry.tokenizer} has more "
            f"than "
            f"{LARGEST_VOCABULARY:,}; take another model"
        )
    _check_lengths(train, task, model_name, entry, f"{location}.train")
    _check_freeze(train, model_name, entry, f"{location}.train.freeze")
    check_lora(train.lora, model_name, entry, f"{location}.train.lora")
    _check_steps(train, task, f"{location}.train")
    if train.patience is not None and "validation" not in data.splits:
        raise InputError(
            f"{location}.train.patience: {dataset_name} has no split 'validation' to judge by; leave it out"
        )
    rows = data.count_rows("train")
    if task == "summarisation" and rows is not None and rows < rows_per_step(train, f"{location}.train"):
        raise InputError(
            f"{location}.train.batch: {train.batch} pairs per step, and {dataset_name} has {rows}; make it smaller"
        )


def _check_lengths(train: Train, task: Task, model_name: str, model: Model, location: str) -> None:
    if task != "summarisation" and train.order != "random":
        raise InputError(f"{location}.order: windows of text are all as long, so {train.order} is random: leave it out")
    if task == "summarisation" and not load_family(model.family).is_encoder_decoder:
        if (length := joined_length(train)) > model.shape.context:
            raise InputError(
                f"{location}.source_length: {train.source_length}, with a separator and target_length "
                f"{train.target_length}, makes texts of {length} tokens, but {model_name} reads "
                f"{model.shape.context} at most; make one of them smaller"
            )
        return
    names = ("source_length", "target_length") if task == "summarisation" else ("sequence_length",)
    for name in names:
        length = getattr(train, name)
        if length > model.shape.context:
            raise InputError(
                f"{location}.{name}: sequences of {length} tokens, but {model_name} reads {model.shape.context} at "
                f"most; "
                "make it smaller"
            )


def _check_freeze(train: Train, model_name: str, model: Model, location: str) -> None:
    """See that the model has the parts that are frozen, and is left something to train."""
    shape = model.shape
    depths = {"": shape.layers}
    if load_family(model.family).is_encoder_decoder:
        depths = {"encoder": shape.layers, "decoder": decoder_layers(shape)}
    for name in train.freeze:
        part = parse_part(name)
        if part.stack != "embeddings" and part.stack not in depths:
            parts = "encoder, decoder, encoder.blocks.0" if "encoder" in depths else "blocks.0"
            raise InputError(
                f"{location}: {model_name} ({model.family}) has no {name}; its parts are embeddings, {parts}"
            )
        if part.blocks is not None and part.blocks[-1] >= depths[part.stack]:
            raise InputError(f"{location}: {name}: the last block of {model_name} is {depths[part.stack] - 1}")
    if {"embeddings", "encoder", "decoder"} <= set(train.freeze):
        raise InputError(f"{location}: leaves nothing of {model_name} to train; leave a part out")


def check_lora(lora: Lora | None, model_name: str, model: Model, location: str) -> None:
    """See that the model has the layers that adapters are added to, and that none of these has a lower rank."""
    if lora is None:
        return
    names = linear_names(model)
    if not names:
        raise InputError(
            f"{location}: src/trainyard/estimate/families/{model.family}.py: FAMILY.adapted: this is missing, so that "
            f"{model_name} can't have adapters"
        )
    if unknown := [name for name in target_names(model, lora) if name not in names]:
        raise InputError(
            f"{location}.targets: {model_name} ({model.family}) has no linear layer {unknown[0]} in its blocks; it has "
            f"{', '.join(names)}"
        )
    for name, _, inputs, outputs in target_shapes(model, lora):
        if lora.rank > min(inputs, outputs):
            raise InputError(
                f"{location}.rank: {lora.rank} is more than {name} of {model_name} can have, which maps {inputs} to "
                f"{outputs}; make it {min(inputs, outputs)} or less"
            )


def _check_steps(train: Train, task: Task, location: str) -> None:
    if task == "summarisation":
        for name, instead in (("batch_tokens", "batch (pairs)"), ("tokens", "steps or epochs")):
            if getattr(train, name) is not None:
                raise InputError(f"{location}.{name}: source/target pairs differ in length; give {instead} instead")
    rows = rows_per_step(train, location)
    last = train.steps
    if train.tokens is not None:
        last = train.tokens // (rows * train.sequence_length)
        if not last:
            raise InputError(
                f"{location}.tokens: {train.tokens} is less than one step of {rows} x {train.sequence_length}; give "
                f"{rows * train.sequence_length} or more"
            )
    if last is not None:
        check_last_step(train, last, location)


def check_spread(
    setting: ParallelSetting,
    name: str,
    model: tuple[str, Model],
    rows: int,
    location: str,
) -> None:
    """See that a model, with its name, can be spread so; `rows` are those of one copy of it in one step.

    Raises:
        InputError: heads or widths can't be shared out, or blocks or rows are fewer than the pipeline's stages.
    """
    model_name, entry = model
    shape, share = entry.shape, setting.tensor
    counts = {
        "heads": shape.heads,
        "key_value_heads": shape.key_value_heads or shape.heads,
        "feed_forward": feed_forward_width(entry),
    }
    for what, count in counts.items():
        if count % share:
            raise InputError(
                f"{location}: {name} shares each matrix of {model_name} among {share} processes (tensor), and its "
                f"{what}, "
                f"{count}, is not a multiple of that; take another setting, or another shape in config/models.yaml"
            )
    blocks = min(shape.layers, shape.decoder_layers or shape.layers)
    if blocks < setting.pipeline:
        raise InputError(
            f"{location}: {name} lays {model_name} over {setting.pipeline} processes (pipeline), and it has {blocks} "
            f"block{'s' if blocks > 1 else ''}; take another setting, or a deeper model"
        )
    options: Options = parse_options(setting.engine, setting.options)
    if options.row_for_each_stage and rows < setting.pipeline:
        raise InputError(
            f"{location}: {name} takes {rows} sequence{'s' if rows > 1 else ''} a step through a pipeline of "
            f"{setting.pipeline} processes, and needs one for each; make the batch larger"
        )


def compute_share(train: Train, ranks: int, location: str) -> int:
    """Sequences that one of `ranks` data ranks takes in one optimizer step.

    Raises:
        InputError: the batch can't be cut into equal micro-batches; with the nearest that can.
    """
    rows, piece = rows_per_step(train, location), ranks * (train.micro_batch or 1)
    if rows % piece:
        key, unit = ("batch", 1) if train.batch is not None else ("batch_tokens", train.sequence_length)
        nearest = [rows // piece * piece * unit, (rows // piece + 1) * piece * unit]
        factors = [f"{ranks} data-parallel ranks"] * (ranks > 1)
        factors += [f"micro_batch {train.micro_batch}"] * (train.micro_batch is not None)
        factors += [f"sequence_length {unit}"] * (unit > 1)
        raise InputError(
            f"{location}.{key}: {rows * unit} is not a multiple of {piece * unit} ({' x '.join(factors)}); make it "
            f"{' or '.join(str(each) for each in nearest if each)}"
        )
    return rows // ranks


def check_evaluate(evaluate: Evaluate, location: str) -> None:
    """See that every metric that is named has something behind its colon; `location` is their file and key.

    Raises:
        InputError: one has not.
    """
    for name in sorted(evaluate.model_fields_set):
        if getattr(evaluate, name) is None:
            raise InputError(f"{location}.{name}: is empty; write `{name}: {{}}` for its defaults, or leave it out")


def check_evaluation(
    evaluation: Evaluation, model: tuple[str, Model], datasets: dict[str, Dataset], location: str
) -> None:
    """See that a model, with its name, can be evaluated so; `location` is the file and the key of the metrics.

    Raises:
        InputError: something is longer than the model reads, or there are too few rows.
    """
    name, entry = model
    at, here = evaluation.settings, f"{location}.{evaluation.metric}"
    max_length = None if load_family(entry.family).has_relative_positions else entry.shape.context
    for key in ("max_length", "context"):
        _check_length(at.get(key), max_length, name, f"{here}.{key}")
    context = at.get("context") or entry.shape.context
    if (at.get("stride") or 0) > context:
        raise InputError(
            f"{here}.stride: {at['stride']} is more than the context, {context}, so that tokens would go unscored; "
            "make it smaller"
        )
    if "new_tokens" in at:
        longest = entry.shape.context - at["prompt_words"]  # a word is one token or more
        if at["new_tokens"] > longest:
            raise InputError(
                f"{here}.new_tokens: {at['new_tokens']} after a prompt of {at['prompt_words']} words are more than the "
                f"{entry.shape.context} tokens that {name} reads; make new_tokens or prompt_words smaller"
            )
    if "shots" in at:
        _check_shots(evaluation, datasets[evaluation.dataset], f"{here}.shots")


def _check_length(length: int | None, max_length: int | None, name: str, location: str) -> None:
    if length is not None and max_length is not None and length > max_length:
        raise InputError(f"{location}: {length} tokens, but {name} reads {max_length} at most; make it smaller")


def _check_shots(evaluation: Evaluation, dataset: Dataset, location: str) -> None:
    shots = evaluation.settings["shots"]
    apart = "train" in dataset.splits and evaluation.split != "train"
    rows = dataset.count_rows("train") if apart else ROWS_FOR_SHOTS
    if shots and rows is not None and shots >= rows:
        of = "rows" if apart else "last rows of the split"
        raise InputError(f"{location}: {shots} are drawn from the {rows} {of} of {evaluation.dataset}; make it smaller")


def check_names(names: Iterable[str], location: str) -> None:
    """See that what joins the names of a study's parts is still the name of a file.

    Raises:
        InputError: one is too long.
    """
    for name in names:
        if len(name) > LONGEST_NAME:
            raise InputError(
                f"{location}: the name {name} has {len(name)} characters, and a file's may have {LONGEST_NAME}; give "
                "datasets, models, parallel settings or recipes shorter names"
            )
