"""lm-evaluation-harness itself on a local model and local rows: metrics, and log-likelihoods of each item."""

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval
import lm_eval.tasks
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

DEFINITIONS = Path(lm_eval.tasks.__path__[0])
SEED = 1234
MEASURED = {f"{name},none" for name in ("acc", "acc_norm", "word_perplexity", "byte_perplexity", "bits_per_byte")}


@dataclass(frozen=True)
class Found:
    """What the harness makes of a task."""

    metrics: dict[str, float]
    log_likelihoods: list[list[float]]
    """Of each item, one for each request: an ending, or a whole page."""


def hellaswag(scored: Path, shots_from: Path, shots: int, sampler: str = "default") -> dict[str, Any]:
    """The harness's own definition of HellaSwag on local JSON lines; shots are drawn from its split for training."""
    return _local("hellaswag/hellaswag.yaml", train=shots_from, validation=scored) | {
        "num_fewshot": shots,
        "fewshot_config": {"sampler": sampler},
    }


def wikitext(pages: Path) -> dict[str, Any]:
    """The harness's own definition of WikiText on local JSON lines, a `page` each."""
    return _local("wikitext/wikitext.yaml", test=pages) | {"training_split": None, "validation_split": None}


def _local(definition: str, **files: Path) -> dict[str, Any]:
    return load_yaml(DEFINITIONS / definition) | {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: str(path) for split, path in files.items()},
            "cache_dir": str(next(iter(files.values())).parent / "cache"),
        },
    }


@contextmanager
def no_network() -> Iterator[None]:
    """While it lasts, whoever asks for a connection fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


def load(model: Path, **arguments: object) -> Any:
    """The model of a folder as `lm_eval --model hf` loads it, in float32 on the CPU.

    Args:
        model: a folder in transformers' format.
        arguments: of the harness's HFLM, such as `max_length` or `batch_size`.
    """
    kind: Any = HFLM  # its decorator hides what it takes
    return kind(pretrained=str(model), dtype="float32", device="cpu", **arguments)


def evaluate(model: Path, tasks: Mapping[str, Mapping[str, Any]], **arguments: object) -> dict[str, Found]:
    """Evaluate a model on tasks, a definition for each name, offline; `model` and `arguments` are those of `load`."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    simple_evaluate: Any = lm_eval.simple_evaluate
    with no_network():
        results = simple_evaluate(
            load(model, **arguments),
            tasks=[{**definition, "task": name} for name, definition in tasks.items()],
            task_manager=TaskManager(include_defaults=False),
            fewshot_random_seed=SEED,
            bootstrap_iters=0,
            log_samples=True,
        )
    return {name: _found(results["results"][name], results["samples"][name]) for name in tasks}


def _found(metrics: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Found:
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    return Found(
        {name.removesuffix(",none"): value for name, value in metrics.items() if name in MEASURED},
        [[_log_likelihood(answer) for answer in sample["filtered_resps"]] for sample in ordered],
    )


def _log_likelihood(answer: Any) -> float:
    """Of an ending's answer, which says too whether the model would choose it greedily, or a page's."""
    return answer if isinstance(answer, float) else answer[0]
