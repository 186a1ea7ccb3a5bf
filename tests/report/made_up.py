"""A made-up results folder with every kind of outcome, and text that would do harm if it were not escaped."""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.config.catalogue import Model
from trainyard.config.study import Study
from trainyard.core.statistics import proportion

HOSTILE = "<script>alert('x')</script> & $\\frac{1}{2}$"


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def model(family: str, layers: int, width: int) -> dict[str, Any]:
    shape = {"layers": layers, "width": width, "heads": 4, "context": 256, "vocabulary": 512}
    return {"title": f"{family} {layers}x{width}", "family": family, "tokenizer": "bpe-512", "shape": shape}


MODELS = {
    "gpt2-1m": model("gpt2", 4, 128),
    "gpt2-500k": model("gpt2", 3, 96),
    "gpt2-250k": model("gpt2", 2, 64),
    "bart-tiny": model("bart", 2, 64),
}
WIDTHS = {name: entry["shape"]["width"] for name, entry in MODELS.items()}
STUDY: dict[str, Any] = {
    "title": f"Small models of a small world {HOSTILE}",
    "question": "Does a model of a million parameters learn the facts of tinyworld?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-1m", "gpt2-500k", "gpt2-250k"],
            "train": {"steps": 400, "batch": 16, "learning_rate": 1e-3},
        }
    ],
    "scaling": True,
    "published": [
        {
            "model": "gpt2-124m",
            "values": {"validation_loss": 1.21, "hellaswag_acc_norm": 31.14, "perplexity_word": 37.4},
            "protocol": "harness, 0-shot, hellaswag; perplexity of wikitext-2",
            "source": f"a paper {HOSTILE}",
        }
    ],
}


@dataclass
class Results:
    """The paths that the report's functions take."""

    root: Path
    name: str
    study: Study
    models: dict[str, Model]
    runs: list[Path] = field(default_factory=list)
    evaluations: list[Path] = field(default_factory=list)
    parity: list[Path] = field(default_factory=list)
    cells: list[Path] = field(default_factory=list)
    shortcuts: list[Path] = field(default_factory=list)
    statistics: list[Path] = field(default_factory=list)
    duplicates: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "results" / self.name

    def add_run(
        self,
        run: str,
        *,
        model: str = "gpt2-1m",
        parallel: str = "single",
        processes: int = 1,
        precision: str = "fp32",
        recipe: str = "base",
        seed: int = 1,
        dataset: str = "tinyworld",
        outcome: str = "finished",
        reason: str | None = None,
        steps: int = 400,
        end: float = 1.2,
        validated: bool = True,
    ) -> Path:
        folder = self.folder / run
        noise = random.Random(run)
        rows: list[dict[str, Any]] = []
        for step in range(1, steps + 1):
            loss: float | None = end + 4.5 * math.exp(-step / 45) + noise.gauss(0, 0.06)
            if outcome == "diverged" and step > steps - 12:
                loss = 3.0 * 1.6 ** (step - steps + 12) if step < steps else None
            row = {
                "step": step,
                "tokens": 2048 * step,
                "loss": loss,
                "learning_rate": 1e-3,
                "gradient_norm": 1.0,
                "step_seconds": 0.1,
                "tokens_per_second": 20_480.0,
                "elapsed_seconds": 0.11 * step,
                "device_memory": None,
                "host_memory": 5 * 10**8,
            }
            if validated and step % 50 == 0:
                row["validation_loss"] = end + 0.06 + 4.5 * math.exp(-step / 45)
            rows.append(row)
        validation = next((row["validation_loss"] for row in reversed(rows) if "validation_loss" in row), None)
        specification = {
            "study": self.name,
            "run": run,
            "kind": "run",
            "task": "language-modelling",
            "dataset": dataset,
            "model": {"name": model, **MODELS[model]},
            "parallel": {
                "name": parallel,
                "title": parallel,
                "engine": parallel,
                "options": {},
                "precision": ["fp32"],
            },
            "processes": processes,
            "threads": 1,
            "device": "cpu",
            "precision": precision,
            "recipe": recipe,
            "seed": seed,
            "train": {"steps": steps, "batch": 16, "learning_rate": 1e-3},
            "data": {},
        }
        began = bool(rows)
        summary = {
            "study": self.name,
            "run": run,
            "kind": "run",
            "outcome": outcome,
            "reason": reason,
            "steps": steps,
            "tokens": 2048 * steps,
            "training_loss": end if outcome == "finished" else None,
            "validation_loss": validation,
            "best": {"step": steps, "validation_loss": validation} if validation else None,
            "tokens_per_second": 20_480.0 if began else None,
            "step_seconds": {"median": 0.1, "p10": 0.09, "p90": 0.12},
            "mfu": 0.31 if began else None,
            "flops_per_token": None if model.startswith("bart") else 6.0 * WIDTHS[model] ** 2,
            "mfu_formula": "6 N + 12 L h Q T",
            "peak_flops": 5e10,
            "peak_source": "measured by a matrix product",
            "peak_device_memory": None,
            "peak_host_memory": 512 * 2**20 if began else None,
            "elapsed_seconds": 0.11 * steps,
            "parameters": 900_000,
            "timing": "shared",
            "models": ["best", "last"] if outcome == "finished" else [],
        }
        provenance = {
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "dirty": False,
            "versions": {"python": "3.11.2", "torch": "2.13.0", "deepspeed": "0.19.8" if parallel == "zero3" else None},
            "platform": "Linux",
            "cpu": "A processor",
            "gpu": None,
            "cores": 2,
            "memory": 8 * 2**30,
            "command": ["python", "-m", "trainyard.train.worker"],
            "inputs": {},
            "code": "fedcba9876543210",
            "environment": {"OMP_NUM_THREADS": "1"},
            "started": "2026-01-01T00:00:00+00:00",
            "ended": "2026-01-01T00:01:00+00:00",
        }
        write(folder / "spec.json", specification)
        write(folder / "summary.json", summary)
        write(folder / "provenance.json", provenance)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.runs.append(folder)
        return folder

    def add_evaluation(
        self,
        run: str,
        metric: str,
        values: Mapping[str, tuple[float, float | None]] | None,
        *,
        dataset: str = "tinyworld-endings",
        checkpoint: str = "best",
        n: int = 2000,
        reason: str | None = None,
        settings: dict[str, Any] | None = None,
        **more: Any,
    ) -> Path:
        settings = {"dtype": "fp32", "batch": 32, **(settings or {})}
        name = "-".join(str(part) for part in (metric, dataset, *settings.values()))
        scores = values and {
            key: {"value": value, "standard_error": error}
            | {end: error and value + side * 1.96 * error for end, side in (("low", -1), ("high", 1))}
            for key, (value, error) in values.items()
        }
        path = write(
            self.folder / run / "evaluate" / f"{name}@{checkpoint}.json",
            {
                "study": self.name,
                "run": run,
                "evaluation": name,
                "checkpoint": checkpoint,
                "metric": metric,
                "dataset": dataset,
                "split": "test",
                "n": n,
                "values": scores,
                "reason": reason,
                "protocol": f"how it was done {HOSTILE}",
                "settings": settings,
                "versions": {},
                **more,
            },
        )
        rows = self.root / "results" / "data" / dataset / "rows" / "test.parquet"
        rows.parent.mkdir(parents=True, exist_ok=True)
        rows.touch()
        self.evaluations.append(path)
        return path

    def add_items(
        self, run: str, metric: str, columns: dict[str, Any], *, rows_sha256: str = "ab" * 32, **more: Any
    ) -> Path:
        """An evaluation whose scores follow from its items: their columns, in the order of their rows."""
        items = {name: np.asarray(column) for name, column in columns.items()}
        n = len(next(iter(items.values())))

        def mean(values: np.ndarray) -> tuple[float, float]:
            return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0

        if metric == "hellaswag":
            level = {"level": items["level"]} if "level" in items else {}
            items = {"correct": items["correct"], "correct_norm": items.get("correct_norm", items["correct"]), **level}
            values = {"acc": mean(items["correct"]), "acc_norm": mean(items["correct_norm"])}
            for name in dict.fromkeys(items["level"].tolist()) if level else ():
                of = items["level"] == name
                value, error = mean(items["correct"][of])
                scores = {"n": int(of.sum()), "acc": {"value": value, "standard_error": error}}
                more.setdefault("levels", {})[name] = scores
        elif metric == "perplexity":
            items = {name: items.get(name, np.full(n, 10)) for name in ("tokens", "words", "bytes")} | items
            loss = -items["log_likelihood"].sum()
            values = {
                f"perplexity_{name}": (math.exp(loss / items[f"{name}s"].sum()), 0.1)
                for name in ("token", "word", "byte")
            }
        else:
            kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
            items = {name: items.get(name, items["rouge1"]) for name in kinds} | {
                f"lead3_{name}": items.get("lead3", items["rouge1"]) for name in kinds
            }
            values = {name: mean(items[name]) for name in kinds}
            more.setdefault("baselines", {"lead3": {name: mean(items[f"lead3_{name}"])[0] for name in kinds}})
        path = self.add_evaluation(run, metric, values, n=n, rows_sha256=rows_sha256, **more)
        pq.write_table(pa.table({"row": columns.get("row", np.arange(n)), **items}), path.with_suffix(".parquet"))
        return path

    def add_levels(self, run: str, scores: dict[str, float], n: int = 500) -> Path:
        def error(p: float, count: int) -> float:
            return math.sqrt(p * (1 - p) / (count - 1))

        whole = sum(scores.values()) / len(scores)
        shares = {level: asdict(proportion(np.arange(n) < round(p * n))) for level, p in scores.items()}
        levels = {level: {"n": n, "acc": share, "acc_norm": share} for level, share in shares.items()}
        count = n * len(scores)
        return self.add_evaluation(
            run,
            "hellaswag",
            {"acc": (whole, error(whole, count)), "acc_norm": (whole, error(whole, count))},
            settings={"protocol": "completion", "shots": 0},
            n=count,
            levels=levels,
        )

    def add_shortcuts(self) -> Path:
        levels = ("facts", "last-move", "earlier-move", "carried")
        baselines = {
            name: {
                "title": title,
                "how": f"picks the {title}",
                "acc": {"value": p, "standard_error": 0.0098},
                "levels": {level: {"n": 500, "value": p + 0.01, "standard_error": 0.0195} for level in levels},
            }
            for name, title, p in (
                ("ending-alone", "likeliest ending", 0.26),
                ("last-place", "last place mentioned", 0.249),
                ("most-frequent", "most frequent ending", 0.251),
            )
        }
        path = write(
            self.folder / "shortcuts" / "tinyworld-endings.json",
            {
                "study": self.name,
                "dataset": "tinyworld-endings",
                "split": "test",
                "n": 2000,
                "chance": {"value": 0.25},
                "baselines": baselines,
            },
        )
        self.shortcuts.append(path)
        return path

    def add_parity(
        self,
        parallel: str,
        largest: float | None,
        *,
        precision: str = "fp32",
        model: str = "gpt2-1m",
        processes: int = 2,
        outcome: str = "finished",
        reason: str | None = None,
        tolerance: float | None = None,
        compared: int | None = None,
    ) -> Path:
        """A probe of 100 steps whose compared ones (all in fp32, else 20) end with the largest difference."""
        probe = f"probe-{model}-{parallel}-x{processes}-{precision}"
        noise = random.Random(probe)
        compared = compared or (100 if precision == "fp32" else 20)
        by_step: list[float] = []
        if largest is not None:
            by_step = [min(largest, largest * (step / compared) ** 2 * noise.uniform(0.3, 1)) for step in range(100)]
            by_step[compared - 1 :] = [largest, *by_step[compared:]]
        tolerance = tolerance or (1e-6 if precision == "fp32" else 2e-2)
        path = write(
            self.folder / probe / "parity.json",
            {
                "study": self.name,
                "probe": probe,
                "reference": "reference-fp32",
                "parallel": parallel,
                "precision": precision,
                "processes": processes,
                "dataset": "tinyworld",
                "model": model,
                "outcome": outcome,
                "reason": reason,
                "steps": len(by_step),
                "compared_steps": compared if by_step else None,
                "skipped_steps": 0 if by_step else None,
                "largest": largest,
                "mean": largest and largest / 3,
                "by_step": by_step,
                "tolerance": tolerance,
                "tolerance_reason": "the order of summation",
                "within": None if largest is None else largest <= tolerance,
            },
        )
        self.parity.append(path)
        return path

    def add_cell(
        self,
        parallel: str,
        batch: int,
        speed: float | None,
        outcome: str = "finished",
        reason: str | None = None,
        *,
        model: str = "gpt2-1m",
        device: bool = False,
        **more: Any,
    ) -> Path:
        """A measured cell of two processes; `more` replaces keys of its file."""
        cell = f"{model}-{parallel}-b{batch}{''.join(f'-{key}' for key in more)}"
        peak = 5e8 + 1e7 * batch
        predicted = {
            "parameters": 4e7,
            "gradients": 4e7,
            "optimizer": 8e7,
            "activations": 1e6 * batch,
            "buffers": 1e7,
            "total": 1.7e8 + 1e6 * batch,
            "kind": "device" if device else "host",
            "host": 2e8 if device else 0,
            "moment": "the backward pass",
        }
        ranks = [
            {
                "rank": rank,
                "peak_host_memory": peak + 1e6 * rank,
                "host_memory_increase": peak - 3e8,
                "peak_device_memory": 2 * peak if device else None,
            }
            for rank in range(2)
        ]
        phases = ["warm-up"] * 3 + ["placed"] * 10 if parallel.startswith("gemini") else [None] * 13
        found = {
            "study": self.name,
            "kind": "cell",
            "cell": cell,
            "model": model,
            "parallel": parallel,
            "processes": 2,
            "precision": "fp32",
            "batch": batch,
            "sequence_length": 128,
            "activation_checkpointing": False,
            "memory_limit": None,
            "outcome": outcome,
            "reason": reason,
            "steps": 20,
            "warmup_steps": 3,
            "step_seconds": speed and {"median": 2 * batch * 128 / speed, "p10": 0.1, "p90": 0.2},
            "tokens_per_second": speed,
            "samples_per_second": speed and speed / 128,
            "peak_memory": speed and (2 * peak if device else peak + 1e6),
            "peak_memory_increase": speed and (2 * peak if device else peak - 3e8),
            "memory_kind": speed and predicted["kind"],
            "mfu": speed and speed / 1e5,
            "mfu_formula": "6 N + 12 L h Q T" if speed else None,
            "peak_flops": 5e10 if speed else None,
            "peak_source": "measured" if speed else None,
            "device_name": f"cpu {HOSTILE}" if speed else None,
            "timing": "alone",
            "ranks": ranks if speed else None,
            "tflops": speed and speed / 1e4,
            "tflops_megatron": None if model.startswith("bart") else speed and speed / 9e3,
            "tflops_formula": "tokens/s x (6 N + 12 L h Q T) / processes" if speed else None,
            "tflops_megatron_formula": "24 (3 + c) B S L h^2" if speed else None,
            "breakdown_reason": None,
            "breakdown": speed
            and {"compute": 0.06, "communication": 0.02, "optimizer": 0.01, "offload": 0.0, "other": 0.01},
            "memory_by_step": speed
            and [
                {"step": step, "host": 5e8 + 1e6 * step, "device": 1e9 if device else None, "phase": phase}
                for step, phase in enumerate(phases, 1)
            ],
            "predicted_memory": predicted,
            "prediction_error": speed and 0.1,
        }
        path = write(self.folder / "measure" / f"{cell}.json", found | more)
        self.cells.append(path)
        return path

    def add_search(
        self,
        parallel: str,
        largest: int | None,
        reason: str | None = None,
        model: str = "gpt2-1m",
        bound: int = 4096,
    ) -> Path:
        """A search for the largest batch."""
        tried = [{"batch": batch, "outcome": "finished", "reason": None} for batch in range(1, (largest or 0) + 1)]
        tried += [{"batch": (largest or 0) + 1, "outcome": "out-of-memory", "reason": HOSTILE}]
        path = write(
            self.folder / "measure" / f"{model}-{parallel}-search.json",
            {
                "study": self.name,
                "kind": "search",
                "cell": f"{model}-{parallel}-search",
                "model": model,
                "parallel": parallel,
                "processes": 2,
                "precision": "fp32",
                "batch": None,
                "sequence_length": 128,
                "activation_checkpointing": False,
                "memory_limit": None,
                "outcome": "finished" if largest else "unsupported",
                "reason": reason,
                "largest_batch": largest,
                "largest_tried": bound,
                "tried": tried if largest else [],
            },
        )
        self.cells.append(path)
        return path

    def add_statistics(self, dataset: str, splits: dict[str, dict[str, Any]]) -> Path:
        path = write(
            self.root / "results" / "data" / dataset / "bpe-512" / "statistics.json",
            {
                "dataset": dataset,
                "title": f"{dataset} {HOSTILE}",
                "licence": "CC-BY",
                "tokenizer": "bpe-512",
                "splits": splits,
            },
        )
        self.statistics.append(path)
        return path

    def add_duplicates(self, training: str, dataset: str, split: str, rows: int, duplicates: int) -> Path:
        path = write(
            self.root / "results" / "data" / training / "rows" / "duplicates" / f"{dataset}-{split}.json",
            {
                "training": training,
                "dataset": dataset,
                "split": split,
                "rows": rows,
                "duplicates": duplicates,
                "first_rows": list(range(1, duplicates + 1))[:5],
                "training_rows": 20_000,
            },
        )
        self.duplicates.append(path)
        return path


def fill(results: Results) -> Results:
    """A study with everything in it."""
    results.add_run("gpt2-1m-s1", end=1.18)
    results.add_run("gpt2-500k-s1", model="gpt2-500k", end=1.34)
    results.add_run("gpt2-250k-s1", model="gpt2-250k", end=1.55)
    results.add_run("gpt2-1m-hot", recipe="lr-1", outcome="diverged", reason="loss not finite at step 60", steps=60)
    results.add_run("gpt2-1m-zero3", parallel="zero3", outcome="unsupported", reason=HOSTILE, steps=0)
    results.add_run("gpt2-1m-ddp", parallel="ddp", outcome="out-of-memory", reason="rank 1, step 1", steps=0)
    easy = ("facts", "last-move", "earlier-move", "carried")
    for run, scores in (
        ("gpt2-1m-s1", (0.97, 0.62, 0.31, 0.27)),
        ("gpt2-500k-s1", (0.95, 0.41, 0.27, 0.24)),
        ("gpt2-250k-s1", (0.71, 0.27, 0.25, 0.26)),
    ):
        results.add_levels(run, dict(zip(easy, scores, strict=True)))
        scale = sum(scores)
        results.add_evaluation(
            run,
            "perplexity",
            {
                "loss_token": (1.9 - 0.3 * scale, 0.01),
                "perplexity_token": (7 - scale, 0.05),
                "perplexity_word": (14 - 2 * scale, 0.1),
                "perplexity_byte": (1.7, 0.01),
                "bits_per_byte": (0.8, 0.01),
            },
            dataset="tinyworld-stories",
            settings={"context": 128, "stride": 64},
        )
    for run in ("gpt2-1m-hot", "gpt2-1m-zero3", "gpt2-1m-ddp"):
        results.add_evaluation(
            run,
            "perplexity",
            None,
            dataset="tinyworld-stories",
            reason=f"no model: {HOSTILE}",
            settings={"context": 128, "stride": 64},
        )
    results.add_shortcuts()
    for parallel, largest in (("ddp", 1.1e-7), ("zero1", 1.3e-7), ("fsdp", 2.0e-7), ("zero2", 2.4e-7)):
        results.add_parity(parallel, largest)
    results.add_parity("zero3", None, outcome="unsupported", reason=f"no compiler {HOSTILE}")
    results.add_parity("ddp", 8.2e-3, precision="bf16")
    for parallel, speed in (("single", 21_000), ("ddp", 26_000), ("fsdp", 22_500), ("zero2", 19_800)):
        for batch in (8, 32):
            results.add_cell(parallel, batch, speed * (1 + batch / 100))
    results.add_cell("ddp", 128, None, "out-of-memory", HOSTILE)
    results.add_search("ddp", 96)
    results.add_search("fsdp", 120)
    text = {"train": {"rows": 20_000, "words": 1_200_000, "tokens": 1_610_000, "bytes": 6_000_000}}
    results.add_statistics("tinyworld", {**text, "test": {"rows": 1000, "words": 60_000, "tokens": 80_500}})
    pairs = {"rows": 14_732, "words": 1_700_000, "tokens": 2_560_000}
    pairs |= {"source_words": 94.2, "source_tokens": 147.1, "target_words": 20.3, "target_tokens": 26.4}
    results.add_statistics("samsum", {"train": pairs})
    results.add_duplicates("tinyworld", "tinyworld", "test", 1000, 12)
    return results
