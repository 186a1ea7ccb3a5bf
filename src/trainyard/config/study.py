"""A study: a question, and the grids of runs, probes and measurements that answer it."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trainyard.config.catalogue import Precision, Split
from trainyard.config.protocols import RougeTokenizer, uses_stemmer
from trainyard.config.tune import Method, Range
from trainyard.config.values import (
    Dimension,
    Distinct,
    Entry,
    Name,
    NonNegativeInt,
    PositiveInt,
    Processes,
    Rows,
    Seed,
    Threads,
)

BASE = "base"
"""The recipe that others are weighed against, and that a grid without recipes has."""
Gigabytes = Annotated[float, Field(gt=0, le=1e6)]
Checkpoints = Annotated[Distinct[str], Field(min_length=1)]

_NO_SETTINGS = {"datasets", "split", "checkpoints"}  # of what, and on which models


class Perplexity(Entry):
    """Perplexity per token, word and byte."""

    datasets: Distinct[str] | None = Field(None, min_length=1, description="by default the run's own")
    split: Split = "test"
    checkpoints: Checkpoints | None = Field(None, description="by default those of `evaluate`")
    protocols: Distinct[Literal["rolling", "harness"]] = Field(
        default_factory=lambda: ["rolling"],
        min_length=1,
        description="windows that overlap, or lm-evaluation-harness's task wikitext",
    )
    context: Dimension | None = Field(None, description="window in tokens; by default the model's own")
    stride: PositiveInt | None = Field(
        None, description="of protocol rolling: tokens between windows; by default half a window"
    )
    limit: PositiveInt | None = Field(None, description="first documents only")

    @model_validator(mode="after")
    def _check_stride(self) -> "Perplexity":
        if self.stride is not None and "rolling" not in self.protocols:
            raise ValueError("stride: for protocol rolling only, which isn't asked for; leave it out")
        return self

    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each single evaluation of a dataset: the end of its name, and its settings."""
        for protocol in self.protocols:
            settings = {"protocol": protocol, **self.model_dump(include={"context", "limit"})}
            settings["stride"] = self.stride if protocol == "rolling" else None
            yield self.split + ("-harness" if protocol == "harness" else ""), settings


class Hellaswag(Entry):
    """Four-way endings in HellaSwag's form."""

    datasets: Distinct[str] = Field(default_factory=lambda: ["hellaswag"], min_length=1)
    split: Split = "validation"
    checkpoints: Checkpoints | None = Field(None, description="by default those of `evaluate`")
    protocols: Distinct[Literal["harness", "completion"]] = Field(default_factory=lambda: ["harness"], min_length=1)
    shots: Distinct[NonNegativeInt] = Field(default_factory=lambda: [0], min_length=1)
    draw: Literal["random", "first_n"] = Field(
        "random", description="of shots: anew for each item, or the first ones for all, which is quicker"
    )
    limit: PositiveInt | None = Field(None, description="first items only")

    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each single evaluation of a dataset: the end of its name, and its settings."""
        for protocol, shots in itertools.product(self.protocols, self.shots):
            settings = {"protocol": protocol, "shots": shots, **self.model_dump(include={"draw", "limit"})}
            yield f"{protocol}-{shots}shot", settings


class Rouge(Entry):
    """ROUGE of generated summaries."""

    datasets: Distinct[str] | None = Field(None, min_length=1, description="by default the run's own")
    split: Split = "test"
    checkpoints: Checkpoints | None = Field(None, description="by default those of `evaluate`")
    limit: PositiveInt | None = Field(None, description="first rows only")
    beams: Annotated[int, Field(gt=0, le=100)] = 4
    min_length: NonNegativeInt = Field(0, description="tokens, with the start token")
    max_length: Annotated[int, Field(ge=2, le=2**24)] = Field(62, description="tokens, with the start token")
    no_repeat_ngram: NonNegativeInt = 3
    length_penalty: Annotated[float, Field(ge=-10, le=10)] = Field(
        1.0, description="the power of the length that a beam's log-likelihood is divided by"
    )
    tokenizer: RougeTokenizer = Field(
        "ascii", description="words of a-z and 0-9, as published for English; or unicode: of any language"
    )
    stemmer: bool | None = Field(
        None, description="compare words without their endings, English only; by default with tokenizer ascii"
    )

    @model_validator(mode="after")
    def _check_lengths(self) -> "Rouge":
        if self.min_length > self.max_length:
            raise ValueError(
                f"min_length: {self.min_length} is more than max_length, {self.max_length}; make it smaller, or "
                "max_length larger"
            )
        return self

    @model_validator(mode="after")
    def _check_stemmer(self) -> "Rouge":
        uses_stemmer(self.tokenizer, self.stemmer)
        return self

    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Its one evaluation of a dataset: the end of its name, and its settings."""
        yield self.split, self.model_dump(exclude=_NO_SETTINGS)


class Samples(Entry):
    """Documents that a causal model continues: to read, not to score."""

    datasets: Distinct[str] | None = Field(None, min_length=1, description="by default the run's own")
    split: Split = "test"
    checkpoints: Checkpoints | None = Field(None, description="by default those of `evaluate`")
    prompts: PositiveInt = Field(4, description="documents, the first that continue after the prompt")
    prompt_words: PositiveInt = Field(16, description="first words of a document, which are given")
    new_tokens: PositiveInt = Field(64, description="at most, after the prompt")
    temperature: Annotated[float, Field(ge=0, le=1e6)] = Field(0.0, description="0: always the likeliest token")
    seed: Seed = Field(1, description="of the draws, where the temperature is above 0")

    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Its one evaluation of a dataset: the end of its name, and its settings."""
        yield self.split, self.model_dump(exclude=_NO_SETTINGS)


class Contamination(Entry):
    """Items that share an n-gram of words with the training text, and scores without them."""

    ngram: PositiveInt = Field(13, description="words of an n-gram; a shorter item can share none")


class Evaluate(Entry):
    """What is evaluated, on which of a run's models."""

    perplexity: Perplexity | None = None
    hellaswag: Hellaswag | None = None
    rouge: Rouge | None = None
    samples: Samples | None = None
    contamination: Contamination | None = Field(
        None, description="of everything above that is scored, against the text that each run is trained on"
    )
    threads: Threads = Field(2, description="of a process, on a CPU; the last digits depend on it")
    processes: Processes = Field(
        1, description="that share the rows of each evaluation, each with a GPU of its own; the result is the same"
    )
    checkpoints: Checkpoints = Field(
        default_factory=lambda: ["best"], description="best, last, step-N, or kept: every step of train.keep_steps"
    )


class Grid(Entry):
    """A product of coordinates with their settings; each combination is a run."""

    datasets: Distinct[str] = Field(min_length=1)
    models: Distinct[str] = Field(min_length=1)
    parallel: Distinct[str] = Field(default_factory=lambda: ["single"], min_length=1)
    processes: Distinct[Processes] = Field(default_factory=lambda: [1], min_length=1)
    precision: Distinct[Precision] = Field(default_factory=lambda: ["fp32"], min_length=1)
    recipes: dict[Name, dict[str, Any]] = Field(default_factory=lambda: {BASE: {}}, min_length=1)
    seeds: Distinct[Seed] = Field(default_factory=lambda: [1], min_length=1)
    forecast: bool = Field(
        False,
        description="the loss of its runs is forecast from cheaper runs of the other grids, and only then are they "
        "trained",
    )
    threads: Threads = Field(1, description="threads per process; results depend on it")
    train: dict[str, Any] = Field(description="settings of every run of this grid")
    overrides: dict[Literal["datasets", "models", "parallel"], dict[str, dict[str, Any]]] = Field(
        default_factory=dict, description="settings of one dataset, model or parallel setting"
    )
    evaluate: Evaluate | None = None


class Tune(Entry):
    """A search over settings of training, by one method or several on the same budget.

    A member trains `generations` times `steps` steps, with warm-up and decay over all of them; members are judged by
    their validation loss at the end of each generation. The best member of the last one is a run of the study.
    """

    name: Name = Field(description="of the search: winners are runs of the recipe NAME-METHOD")
    method: Distinct[Method] = Field(
        default_factory=lambda: ["pbt"],
        min_length=1,
        description="population based training; points of a grid; random search; successive halving",
    )
    dataset: str
    model: str
    parallel: str = "single"
    processes: Processes = 1
    precision: Precision = "fp32"
    threads: Threads = Field(1, description="threads per process; results depend on it")
    members: Annotated[int, Field(ge=2, le=10_000)] = Field(description="trainings of a generation; of a grid at most")
    generations: Annotated[int, Field(ge=1, le=1000)]
    steps: PositiveInt = Field(description="optimizer steps of a generation")
    seed: Seed = Field(1, description="of weights, batches and the search's draws")
    over: dict[str, Range] = Field(min_length=1, description="settings of training that are searched")
    train: dict[str, Any] = Field(description="the other settings of training, without its length")
    evaluate: Evaluate | None = Field(None, description="for the winners; by default the study's")


class Probes(Entry):
    """Short runs that compare parallel settings with the reference."""

    datasets: Distinct[str] | None = Field(None, min_length=1, description="by default the first grid's")
    models: Distinct[str] | None = Field(None, min_length=1, description="by default the first grid's")
    parallel: Distinct[str] = Field(min_length=1)
    processes: Processes = 2
    precision: Distinct[Precision] = Field(default_factory=lambda: ["fp32"], min_length=1)
    steps: PositiveInt = 100
    seed: Seed = 1
    threads: Threads = 1
    train: dict[str, Any] = Field(
        default_factory=dict,
        description="over the settings of the grid that holds dataset and model, or of the first; weight_decay is 1.0 "
        "unless it is given here",
    )


class Search(Entry):
    """Looking for the largest batch that fits: doubled from 1 until memory runs out, then halving the gap."""

    largest: Rows = Field(description="sequences per process; no larger batch is tried")
    steps: PositiveInt = Field(2, description="of each trial")


class Measure(Entry):
    """A product of coordinates, measured one by one: speed and memory on random tokens, beside no other job."""

    models: Distinct[str] = Field(min_length=1)
    parallel: Distinct[str] = Field(min_length=1)
    processes: Distinct[Processes] = Field(default_factory=lambda: [1], min_length=1)
    precision: Distinct[Precision] = Field(default_factory=lambda: ["fp32"], min_length=1)
    batch: Distinct[Rows] = Field(
        min_length=1, description="sequences per process (a copy of the model, where processes share one)"
    )
    sequence_length: Distinct[Dimension] = Field(min_length=1)
    threads: Threads = 1
    steps: PositiveInt = 20
    warmup_steps: NonNegativeInt = 3
    launches: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="of each cell, in turn with the other cells; fewer than two tell nothing of how far speeds vary"
    )
    profiled_steps: NonNegativeInt = Field(
        3, description="of the first launch, after those timed, to see where time goes; 0: not looked at"
    )
    train: dict[str, Any] = Field(
        default_factory=dict,
        description="over the settings of the grid that holds the model, or of the first; batch and lengths are those "
        "of the cell",
    )
    host_memory_gb: Gigabytes | None = Field(
        None, description="on a CPU: what each process may take besides its libraries, in 10^9 bytes"
    )
    device_memory_gb: Gigabytes | None = Field(
        None, description="on a GPU: what torch may take of it for each process, in 10^9 bytes"
    )
    search: Search | None = Field(None, description="the largest batch that fits, besides those of `batch`")

    @model_validator(mode="before")
    @classmethod
    def _is_of_today(cls, given: Any) -> Any:
        for key in ("activation_checkpointing", "initial_loss_scale"):
            if isinstance(given, dict) and key in given:
                raise ValueError(f"{key} stands under train now: write train: {{{key}: {str(given[key]).lower()}}}")
        return given


Figure = Literal[
    "training_loss",
    "validation_loss",
    "perplexity_token",
    "perplexity_word",
    "hellaswag_acc",
    "hellaswag_acc_norm",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "tokens_per_second",
    "samples_per_second",
    "generation_samples_per_second",
    "peak_memory_gib",
    "kwh",
]


class PublishedCell(Entry):
    """What somebody else measured the speed and memory of: a cell, as `measure` has them."""

    processes: Processes
    precision: Precision
    batch: Rows = Field(description="sequences per process")
    sequence_length: Dimension
    activation_checkpointing: bool = False


class Published(Entry):
    """Somebody else's result: a row beside ours of the same kind and, for losses, a line on the curves."""

    model: str
    parallel: str | None = Field(None, description="the name that its setting has here")
    cell: PublishedCell | None = Field(
        None, description="of a measurement, which is beside ours of the same cell; by default it is of a run"
    )
    values: dict[Figure, Annotated[float, Field(ge=0)]] = Field(
        min_length=1, description="peak_memory_gib: of a device, in 2^30 bytes; hellaswag and rouge in percent"
    )
    protocol: str = Field(description="how it was measured, as far as the source says")
    source: str

    @model_validator(mode="after")
    def _check_cell(self) -> "Published":
        if self.cell is None:
            return self
        if self.parallel is None:
            raise ValueError("parallel: a measured cell has a parallel setting; name it")
        other_keys = self.values.keys() - {"tokens_per_second", "samples_per_second", "peak_memory_gib"}
        if other_keys:
            raise ValueError(f"values: {', '.join(sorted(other_keys))} is of a run, not of a measured cell")
        return self


class Expectation(Entry):
    """What is said of a recipe beforehand: how its cost and quality compare with those of the recipe `base`."""

    memory: Literal["less", "more"] | None = Field(None, description="of the process that takes most")
    speed: Literal["less", "more"] | None = Field(None, description="samples a second")
    quality: Literal["less", "more"] | None = Field(None, description="by the score that answers the question")


class Study(Entry):
    """One file of config/studies."""

    title: str
    question: str
    grids: list[Grid] = Field(default_factory=list)
    pretrained: Distinct[str] = Field(default_factory=list, description="pretrained models, evaluated without training")
    evaluate: Evaluate | None = Field(None, description="for every grid that has none of its own, and `pretrained`")
    primary: str | None = Field(
        None,
        description="the metric that answers the question: what is said of others and of losses is marked exploratory",
    )
    expect: dict[str, Expectation] = Field(
        default_factory=dict, description="by recipe: what is said of it beforehand, which the trade-offs judge"
    )
    tune: list[Tune] = Field(default_factory=list, description="searches over settings of training")
    probes: list[Probes] = Field(default_factory=list)
    measure: list[Measure] = Field(default_factory=list)
    scaling: bool = Field(False, description="fit loss against parameters over the study's models")
    published: list[Published] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_work(self) -> "Study":
        if not (self.grids or self.pretrained or self.tune or self.probes or self.measure):
            raise ValueError("give at least one of grids, pretrained, tune, probes and measure")
        return self
