"""What is checked on a machine, in the order in which it is."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from trainyard.config.catalogue import Model, ParallelSetting, Precision
from trainyard.config.train import Train
from trainyard.config.yaml_entries import parse_entries, read_yaml
from trainyard.estimate.parameters import parameters
from trainyard.plan.capabilities import Machine, explain_unsupported
from trainyard.tools.gpu_check.facts import Facts
from trainyard.tools.gpu_check.levers import LEVERS

Kind = Literal["operators", "reference", "parity", "measure", "limit", "too-large"]
Choice = Literal["all", "tiny"]

_CONFIG = Path(__file__).resolve().parents[4] / "config"
# A decoder with its norms before, and one with OPT-350M's norms after and its projected embeddings.
_PROBED = ("gpt2-tiny", "opt-tiny")
_MEASURED = ("gpt2-124m", "opt-350m")
_MEASURED_SETTINGS = ("ddp", "fsdp", "zero2", "zero3", "zero2-offload", "low-level-zero", "gemini")
_TINY_SETTINGS = ("ddp", "fsdp")
_ON_A_T4 = _CONFIG / "studies" / "opt-plugins-t4.yaml"
_OPERATORS = 15
# compiled or not, and without which lever; a compiler fuses what is elementwise by itself
_MASKLESS = "attention without a mask"
_TINY_TRIALS = ((False, None), (False, _MASKLESS))
_TRIALS = ((False, None), *((False, lever) for lever in LEVERS), (True, None), (True, _MASKLESS))
_PROCESSES_ON_CPU = 2
_MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One thing to check.

    Attributes:
        name: unique on a machine.
        together: cases of the same run one after the other in the same processes.
        unsupported: why this machine can't do it, if so.
        experiment: whether it may fail without anybody's fault.
        specification: what the worker is told, and what its result depends on.
    """

    name: str
    together: tuple[str, ...]
    unsupported: str | None
    experiment: bool
    specification: dict[str, Any]

    @property
    def kind(self) -> Kind:
        """What is checked."""
        return self.specification["kind"]


class Cases:
    """All cases of a machine; `choice` "tiny" takes two settings, and models of a minute."""

    def __init__(self, facts: Facts, choice: Choice) -> None:
        self.facts = facts
        self.choice = choice
        self.tiny = choice == "tiny" or facts.device == "cpu"
        self.models: dict[str, Model] = parse_entries(Model, _CONFIG / "models.yaml")
        settings: dict[str, ParallelSetting] = parse_entries(ParallelSetting, _CONFIG / "parallel.yaml")
        self.settings = {name: settings[name] for name in (_TINY_SETTINGS if choice == "tiny" else settings)}
        self.devices = _PROCESSES_ON_CPU if facts.device == "cpu" else len(facts.names)

    def all(self) -> list[Case]:
        """In the order of what they are worth, since time may end before they do.

        GPT-2 124M with its slowest operators and without each lever, then parity, then the cells that a T4 is measured
        by, Gemini's and their phases first, then memory and speed, then memory that runs out, and parity of experiments
        last.
        """
        parity, on_a_t4 = list(self._parity()), list(self._on_a_t4())
        references = {reference_name(case.specification): self._reference(case) for case in parity}
        return [
            *self._operators(),
            *references.values(),
            *(case for case in parity if not case.experiment),
            *sorted(on_a_t4, key=lambda case: not _is_gemini(case.specification["parallel"])),
            *self._measured(),
            *self._out_of_memory(),
            *(case for case in parity if case.experiment),
        ]

    def _operators(self) -> Iterator[Case]:
        """The speed of one model with the operators and kernels that take its time: eager, compiled, without levers."""
        model = _PROBED[0] if self.tiny else _MEASURED[0]
        batch, length = (4, 64) if self.tiny else (64, 1024)
        for compiled, lever in _TINY_TRIALS if self.choice == "tiny" else _TRIALS:
            together = (*(["compiled"] if compiled else []), *([lever] if lever else []))
            more: dict[str, Any] = {"batch": batch, "sequence_length": length, "operators": _OPERATORS}
            more |= {"train": {"compile": compiled}} | ({"without": lever} if lever else {})
            yield self._case("operators", "ddp", self.settings["ddp"], model, self._half(), together, **more)

    def _on_a_t4(self) -> Iterator[Case]:
        """The cells in fp16 of the study that is made for a T4."""
        for grid in () if self.choice == "tiny" else read_yaml(_ON_A_T4)["measure"]:
            names: list[str] = grid["parallel"] if "fp16" in grid["precision"] else []
            models: list[str] = [_PROBED[1]] if self.tiny else grid["models"]
            (batch,), (length,) = grid["batch"], grid["sequence_length"]
            more = {"batch": batch, "sequence_length": 64 if self.tiny else length, "train": grid.get("train", {})}
            for name, model in itertools.product(names, models):
                yield self._case("measure", name, self.settings[name], model, "fp16", (model,), **more)

    def _parity(self) -> Iterator[Case]:
        for name, setting in self.settings.items():
            for model in _PROBED:
                for precision in ("fp32", "bf16", "fp16"):
                    more = {"batch": 2, "sequence_length": 32, "steps": 20}
                    yield self._case("parity", name, setting, model, precision, (), **more)

    def _reference(self, case: Case) -> Case:
        """One process in fp32 that takes the micro-batches of all data ranks, and sums their gradients by rank."""
        spec = case.specification
        parallel = {"name": "reference", "engine": "single", "options": {"ranks": spec["data_ranks"]}}
        specification = spec | {
            "kind": "reference",
            "parallel": {**parallel, "tensor": 1, "pipeline": 1},
            "precision": "fp32",
            "processes": 1,
            "data_ranks": 1,
        }
        return Case(reference_name(spec), ("reference",), None, False, specification)

    def _measured(self) -> Iterator[Case]:
        batches, length = ([2, 4], 64) if self.tiny else ([4, 16, 64], 1024)
        models, settings = (_PROBED if self.tiny else _MEASURED), _MEASURED_SETTINGS
        if self.choice == "tiny":
            models, settings = _PROBED[:1], _TINY_SETTINGS[:1]
        for name, model, batch in itertools.product(settings, models, batches):
            more = {"batch": batch, "sequence_length": length}
            yield self._case("measure", name, self.settings[name], model, self._half(), (model,), **more)

    def _out_of_memory(self) -> Iterator[Case]:
        """A limit that the state of AdamW alone exceeds, and a batch that exceeds the device.

        Weights, gradients and AdamW's two moments are 16 bytes per parameter in fp32. On a CPU
        the limit is one that a batch exceeds, since a tiny model's state is nothing there.
        """
        ddp, (small, large) = self.settings["ddp"], (_PROBED if self.tiny else _MEASURED)
        length = 64 if self.tiny else 1024
        on_cpu = self.facts.device == "cpu"
        limit = {"kind": "host", "bytes": 64 * _MIB}
        if not on_cpu:
            limit = {"kind": "device", "bytes": 12 * parameters(self.models[small])}
        more = {"batch": 1024 if on_cpu else 4, "sequence_length": length, "memory_limit": limit}
        yield self._case("limit", "ddp", ddp, small, self._half(), (), **more)
        if self.facts.memory is not None:
            batch = self.facts.memory // activation_bytes(self.models[large], length) + 1
            yield self._case("too-large", "ddp", ddp, large, self._half(), (), batch=batch, sequence_length=length)

    def _half(self) -> Precision:
        """bf16 where the device computes in it, else fp16."""
        return "bf16" if self.facts.bf16 else "fp16"

    def _case(
        self,
        kind: Kind,
        name: str,
        setting: ParallelSetting,
        model: str,
        precision: Precision,
        together: tuple[str, ...],
        **more: Any,
    ) -> Case:
        copy = setting.tensor * setting.pipeline
        processes = 1 if setting.one_process else max(copy, self.devices - self.devices % copy)
        specification = {
            "kind": kind,
            "device": self.facts.device,
            "model": {"name": model, **self.models[model].to_spec(pretrained=False)},
            "parallel": {"name": name, **setting.to_spec()},
            "precision": precision,
            "processes": processes,
            "data_ranks": setting.data_ranks(processes),
            # micro-batches a step: one a data rank, and two for one alone
            "micro_batches": max(2, setting.data_ranks(processes)),
            "memory_limit": None,
            **more,
        }
        specification["train"] = _train(specification)
        batch = "" if kind == "parity" else f" batch {more['batch']}"
        compiled = specification["train"]["compile"]
        lever = f" without {more['without']}" if "without" in more else ""
        return Case(
            f"{kind} {name}-x{processes} {model} {precision}{batch}{' compiled' if compiled else ''}{lever}",
            (kind, name, *together),
            self._unsupported(setting, model, precision, processes, compiled),
            _is_gemini(specification["parallel"]) and not _within_pins(self.facts),
            specification,
        )

    def _unsupported(
        self, setting: ParallelSetting, model: str, precision: Precision, processes: int, compiled: bool
    ) -> str | None:
        if processes > self.devices:
            return f"needs {processes} GPUs, {self.devices} here"
        if precision == "bf16" and not self.facts.bf16:
            return f"this GPU does not compute in bf16 (compute capability {self.facts.capability}; 8.0 does)"
        capabilities = Machine(self.facts.device).capabilities(setting, compiled)
        return explain_unsupported(setting, self.models[model].family, precision, processes, capabilities)


def _is_gemini(parallel: Mapping[str, Any]) -> bool:
    return parallel["options"].get("plugin") == "gemini"


def _train(specification: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a step of a case, with those of its own."""
    rows, ranks = specification["batch"], specification["data_ranks"]
    settings = {"steps": 1, "batch": rows * ranks, "micro_batch": rows, "learning_rate": 1e-3, "max_grad_norm": None}
    lengths = dict.fromkeys(("sequence_length", "source_length", "target_length"), specification["sequence_length"])
    own = specification.get("train", {})
    return Train.model_validate({**settings, **lengths, **own}).model_dump(mode="json")


def reference_name(parity: dict[str, Any]) -> str:
    """The name of the reference that a parity case is compared with."""
    return f"reference {parity['model']['name']} ranks{parity['data_ranks']}"


def activation_bytes(model: Model, length: int) -> int:
    """Fewer bytes than a sequence's activations take in half precision, by a good part.

    16 bytes per token, layer and unit of width; kept for the way back without activation checkpointing
    are at least 34 (Korthikanti et al. 2022).
    """
    return 16 * length * model.shape.layers * model.shape.width


def _within_pins(facts: Facts) -> bool:
    """Whether this torch is one that ColossalAI was released for."""
    try:
        pins = [Requirement(line) for line in requires("colossalai") or []]
    except PackageNotFoundError:
        return True
    torch = str(facts.versions["torch"]).split("+")[0]
    return all(pin.specifier.contains(torch, prereleases=True) for pin in pins if pin.name == "torch")
