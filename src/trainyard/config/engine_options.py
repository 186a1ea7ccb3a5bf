"""What each engine takes of an entry of config/parallel.yaml, told without the libraries that it needs."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from packaging.requirements import Requirement
from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from trainyard.config.catalogue import ParallelSetting, Precision
from trainyard.config.values import Entry, NonNegativeInt, PositiveInt
from trainyard.config.yaml_entries import choose, parse
from trainyard.core.errors import InputError

Copy = Literal["tensor", "pipeline"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Options(Entry):
    """The options of an engine: by default none.

    Attributes:
        spreads_copies: the keys by which one copy of the model may be spread over processes.
        families: of models that it can take apart, where the engine itself knows them; None: all.
        precisions: that it can train in.
        package: that it is made of, besides torch.
        one_process: whether it can't be spread over processes.
        gpu: whether it needs one.
        row_for_each_stage: whether a pipeline's stages need as many sequences per step as they are.
    """

    # what engines read is what is there: no 1 for true
    model_config = ConfigDict(strict=True)

    spreads_copies: ClassVar[frozenset[Copy]] = frozenset()
    families: ClassVar[frozenset[str] | None] = None
    precisions: ClassVar[frozenset[Precision]] = frozenset(get_args(Precision))
    package: ClassVar[str | None] = None
    one_process: ClassVar[bool] = False
    gpu: ClassVar[bool] = False
    row_for_each_stage: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_stage(cls, given: Any) -> Any:
        if isinstance(given, dict) and "stage" in given:
            raise ValueError(f"stage: ZeRO's is called level here: write level: {given['stage'] or '1, 2 or 3'}")
        return given


class Single(Options):
    """One process."""

    one_process: ClassVar[bool] = True


class Fsdp(Options):
    """Options of the engine `fsdp`, torch's FSDP2."""

    offload: bool = Field(False, description="weights, gradients and AdamW's state lie in the host's memory")


class Tensor(Options):
    """torch's tensor parallel."""

    spreads_copies: ClassVar[frozenset[Copy]] = frozenset({"tensor"})


class Pipeline(Options):
    """torch's pipelining."""

    spreads_copies: ClassVar[frozenset[Copy]] = frozenset({"pipeline"})


class DeepSpeed(Options):
    """Options of the engine `deepspeed`.

    Sizes are in elements, not bytes, and change neither result nor the order of any sum. Smaller ones
    need less memory and more messages.
    """

    package: ClassVar[str | None] = "deepspeed"

    level: Literal[0, 1, 2, 3] = Field(
        description="what is split over the processes: 0 nothing, 1 the optimizer's state, 2 gradients too, 3 "
        "parameters too"
    )
    offload_optimizer: Literal["cpu", "nvme"] | None = Field(
        None, description="where the optimizer's state lies: cpu (levels 1 to 3), or in files, nvme (level 3)"
    )
    offload_parameters: Literal["cpu", "nvme"] | None = Field(
        None, description="where parameters lie while no block computes with them (level 3)"
    )
    reduce_bucket: PositiveInt | None = Field(None, description="of gradients, summed over the processes at once")
    allgather_bucket: PositiveInt | None = Field(
        None, description="of updated parameters, gathered at once (levels 1 and 2)"
    )
    prefetch_bucket: NonNegativeInt | None = Field(
        None, description="of parameters, gathered ahead of their use (level 3)"
    )
    persistence_threshold: NonNegativeInt | None = Field(
        None, description="parameters of fewer elements stay whole on every process (level 3)"
    )
    sub_group: PositiveInt | None = Field(
        None, description="of the optimizer's state, stepped at once, and swapped at once from files (level 3)"
    )

    @property
    def swaps(self) -> bool:
        """Whether something lies in files, which takes an extension in C++ and libaio."""
        return "nvme" in (self.offload_optimizer, self.offload_parameters)

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        third = ("offload_parameters", "prefetch_bucket", "persistence_threshold", "sub_group")
        given = [name for name in third if getattr(self, name) is not None]
        if self.level < 3 and (given or self.offload_optimizer == "nvme"):
            raise ValueError(f"{given[0] if given else 'offload_optimizer: nvme'} needs level: 3")
        if self.level == 0 and self.offload_optimizer is not None:
            raise ValueError("offload_optimizer needs level: 1, 2 or 3")
        if self.offload_parameters == "nvme" and self.offload_optimizer != "nvme":
            raise ValueError("offload_parameters: nvme needs offload_optimizer: nvme")
        return self


class ColossalAI(Options):
    """What ColossalAI's plugins have in common."""

    package: ClassVar[str | None] = "colossalai"


class TorchDDP(ColossalAI):
    """Options of the engine `colossalai` with its plugin TorchDDP."""

    plugin: Literal["torch-ddp"]


class LowLevelZero(ColossalAI):
    """Options of the engine `colossalai` with its plugin LowLevelZero."""

    plugin: Literal["low-level-zero"]
    level: Literal[1, 2] = Field(2, description="what is split: 1 the optimizer's state, 2 gradients too")
    offload: bool = Field(False, description="the optimizer's state lies in the host's memory")


class Gemini(ColossalAI):
    """Options of the engine `colossalai` with its plugin Gemini."""

    families: ClassVar[frozenset[str] | None] = frozenset({"gpt2", "opt"})
    precisions: ClassVar[frozenset[Precision]] = frozenset({"bf16", "fp16"})
    gpu: ClassVar[bool] = True

    plugin: Literal["gemini"]
    placement: Literal["static", "auto"] = Field(
        "static", description="by the fractions, or by what the first iteration measures"
    )
    offload_optimizer_fraction: Fraction = Field(0.0, description="of the optimizer's state, in the host's memory")
    offload_parameters_fraction: Fraction = Field(
        0.0, description="of the parameters, in the host's memory; only if all of the optimizer's state is"
    )

    @model_validator(mode="after")
    def _check_fractions(self) -> Self:
        given = self.offload_optimizer_fraction or self.offload_parameters_fraction
        if given and self.placement == "auto":
            raise ValueError("placement: auto finds the fractions itself; leave them out")
        if self.offload_parameters_fraction and self.offload_optimizer_fraction < 1:
            raise ValueError("offload_parameters_fraction needs offload_optimizer_fraction: 1.0")
        return self


class Hybrid(ColossalAI):
    """Options of the engine `colossalai` with its plugin HybridParallel."""

    spreads_copies: ClassVar[frozenset[Copy]] = frozenset({"tensor", "pipeline"})
    families: ClassVar[frozenset[str] | None] = frozenset({"gpt2", "opt"})
    row_for_each_stage: ClassVar[bool] = True

    plugin: Literal["hybrid"]
    level: Literal[0, 1] = Field(0, description="1: the optimizer's state is split over the copies")


ENGINES: dict[str, Any] = {
    "single": Single,
    "ddp": Options,
    "zero1": Options,
    "fsdp": Fsdp,
    "tensor": Tensor,
    "pipeline": Pipeline,
    "deepspeed": DeepSpeed,
    "colossalai": Annotated[
        Annotated[TorchDDP, Tag("torch-ddp")]
        | Annotated[LowLevelZero, Tag("low-level-zero")]
        | Annotated[Gemini, Tag("gemini")]
        | Annotated[Hybrid, Tag("hybrid")],
        Discriminator("plugin"),
    ],
}
"""The options of each engine, by the name of its file in src/trainyard/parallel."""


def parse_options(engine: str, options: Mapping[str, Any], location: str = "config/parallel.yaml") -> Any:
    """The options of an entry as those of its engine; `location` is its file and name.

    Raises:
        InputError: there is no such engine, or an option that it doesn't have.
    """
    kind = choose(engine, ENGINES, "engine", f"{location}.engine" if ": " in location else f"{location}: engine")
    return parse(kind, dict(options), f"{location}.options" if ": " in location else f"{location}: options")


def check_setting(setting: ParallelSetting, location: str) -> None:
    """See that an engine can be what an entry says; `location` is its file and name.

    Raises:
        InputError: it can't.
    """
    options = parse_options(setting.engine, setting.options, location)
    for key in get_args(Copy):
        if getattr(setting, key) > 1 and key not in options.spreads_copies:
            raise InputError(
                f"{location}.{key}: the engine {setting.engine} spreads no copy of the model; leave it out"
            )
    for key, own in (("families", options.families), ("precision", options.precisions)):
        requested = getattr(setting, key)
        if own is None:
            continue
        if requested is None:
            raise InputError(f"{location}.{key}: the engine can't do all; write [{', '.join(sorted(own))}]")
        if others := [each for each in requested if each not in own]:
            allowed = ", ".join(each for each in requested if each in own) or ", ".join(sorted(own))
            raise InputError(f"{location}.{key}: the engine can't do {', '.join(others)}; write [{allowed}]")
    for key in ("one_process", "gpu"):
        if getattr(options, key) and not getattr(setting, key):
            raise InputError(f"{location}.{key}: the engine {setting.engine} needs it; write {key}: true")
    names = [Requirement(entry).name for entry in setting.packages]
    if options.package is not None and options.package not in names:
        raise InputError(f"{location}.packages: the engine {setting.engine} needs {options.package}; add it")
    if getattr(options, "swaps", False) and not (setting.compiler and setting.libraries):
        raise InputError(f"{location}: files on NVMe take an extension; write compiler: true and libraries: [libaio]")
