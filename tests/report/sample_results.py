"""A results folder as jobs leave it, with text that would do harm if it were not escaped."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.config.catalogue import Model
from trainyard.config.study import Study, Tune
from trainyard.config.tune import Method
from trainyard.core.code_versions import CodeVersion
from trainyard.core.statistics import estimate_proportion
from trainyard.estimate.parameters import parameters
from trainyard.report.statistics.chinchilla import ChinchillaLaw
from trainyard.report.statistics.forecast import make_forecast
from trainyard.tune.generations import describe_search, expand_generations
from trainyard.tune.select import select

from .sample_measurements import batch_search, measured_cell
from .sample_text import HOSTILE


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


def against_own(largest: float, norm: float) -> dict[str, Any]:
    """What parity.json says of a probe in bf16 beside the reference in bf16, over 20 steps."""
    return {
        "reference": "reference-bf16",
        "reason": None,
        "compared_steps": 20,
        "largest": largest,
        "mean": largest / 3,
        "by_step": [largest] * 100,
        "tolerance": 8e-3,
        "tolerance_reason": "weights in bf16",
        "norm": norm,
        "norm_tolerance": 2e-2,
        "within": largest <= 8e-3 and norm <= 2e-2,
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
    generations: list[Path] = field(default_factory=list)
    members: list[Path] = field(default_factory=list)

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
        code_versions: Sequence[CodeVersion] = (),
        planned_steps: int | None = None,
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
            "train": {"steps": steps, "batch": 16, "learning_rate": 1e-3, "decay": "cosine"},
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
            "planned_steps": planned_steps or steps,
            "tokens": 2048 * steps,
            "computed_tokens": 4096 * steps if model.startswith("bart") else None,
            "padding_tokens": 1024 * steps if model.startswith("bart") else None,
            "training_loss": end if outcome == "finished" else None,
            "validation_loss": validation,
            "best": {"step": steps, "validation_loss": validation} if validation else None,
            "tokens_per_second": 20_480.0 if began else None,
            "step_seconds": {"median": 0.1, "p10": 0.09, "p90": 0.12},
            "flops_per_token": None if model.startswith("bart") else 6.0 * WIDTHS[model] ** 2,
            "mfu_formula": "6 N + 12 L h Q T",
            "device_name": "A processor",
            "peak_device_memory": None,
            "peak_host_memory": 512 * 2**20 if began else None,
            "elapsed_seconds": 0.11 * steps,
            "parameters": 900_000,
            "trained_parameters": 900_000,
            "timing": "shared",
            "models": ["best", "last"] if outcome == "finished" else [],
            "code_versions": [asdict(each) for each in code_versions],
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
            "code_versions": summary["code_versions"],
            "code": "fedcba9876543210",
            "environment": {"OMP_NUM_THREADS": "1"},
            "started": "2026-01-01T00:00:00+00:00",
            "ended": "2026-01-01T00:01:00+00:00",
        }
        write(folder / "spec.json", specification)
        write(folder / "summary.json", summary)
        write(folder / "provenance.json", provenance)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.add_validation(folder, validation)
        self.runs.append(folder)
        return folder

    def add_recipe_search(
        self, method: Method, losses: Sequence[Sequence[float | str]], *, seconds: float = 36.0, **more: Any
    ) -> Path:
        """A search whose members come to these losses, generation by generation, or fail so; the run of its winner."""
        given = {"name": "rate", "dataset": "tinyworld", "model": "gpt2-1m", "train": {"batch": 16}, "steps": 100}
        over = {"learning_rate": {"log": [1e-4, 1e-2]}, "dropout": {"choice": [0.0, 0.1]}}
        sizes = {"members": len(losses[0]), "generations": len(losses), "method": ["pbt", "grid"]}
        tune = Tune.model_validate(given | {"over": over} | sizes | more)
        self.study = self.study.model_copy(update={"tune": [tune]})
        taken, before = {0: (0, 0.0)}, list[Path]()
        for generation, ends in zip(expand_generations(tune, method), losses, strict=True):
            file = self.folder / "tune" / f"{tune.name}-{method}" / f"generation{generation.number}.json"
            previous = self.generations[-1] if before else None
            select(describe_search(tune, method, generation), previous, before, file)
            self.generations.append(file)
            slots, earlier = json.loads(file.read_text())["slots"], taken
            taken, before = {0: (0, 0.0)}, []
            for slot, end in zip(slots, ends, strict=True):
                number = slot["slot"]
                tokens, elapsed = earlier[slot["parent"] or 0]
                taken[number] = (tokens + 2048 * generation.steps, elapsed + seconds)
                folder = self.folder / f"member_{tune.name}-{method}_g{generation.number}_s{number}"
                place = {"name": tune.name, "method": method, "generation": generation.number, "slot": number}
                write(folder / "spec.json", {"search": place, "processes": 2})
                failed = isinstance(end, str)
                summary = {
                    "outcome": end if failed else "finished",
                    "reason": HOSTILE if failed else None,
                    "validation_loss": None if failed else end,
                    "tokens": taken[number][0],
                    "elapsed_seconds": taken[number][1],
                }
                before.append(write(folder / "summary.json", summary))
            self.members += before
        best = min((end for end in losses[-1] if not isinstance(end, str)), default=None)
        winner = self.add_run(
            f"winner_{tune.name}-{method}",
            recipe=f"{tune.name}-{method}",
            outcome="finished" if best else "diverged",
            end=(best or 0.0) - 0.06,
        )
        specification = json.loads((winner / "spec.json").read_text())
        write(winner / "spec.json", specification | {"search": {"name": tune.name, "method": method}})
        return winner

    def add_validation(self, folder: Path, loss: float | None) -> None:
        """Losses by row of a run: rows are hard or easy for all runs alike, and a little different for each."""
        hard = np.random.default_rng(0).normal(0, 2, 200)
        own = np.random.default_rng(sum(folder.name.encode())).normal(0, 0.3, 200)
        losses = 10 * (loss or 0.0) + (hard - hard.mean()) + (own - own.mean())
        columns = {"row": np.arange(200), "tokens": np.full(200, 10), "best": losses, "last": losses}
        rows = columns if loss is not None else {name: column[:0] for name, column in columns.items()}
        pq.write_table(pa.table(rows), folder / "validation.parquet")

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

    def add_levels(self, run: str, scores: dict[str, float], n: int = 500, answers: bool = False) -> Path:
        """Shares right by level, `n` items each; with `answers` item by item, the first of each level being right."""

        def error(p: float, count: int) -> float:
            return math.sqrt(p * (1 - p) / (count - 1))

        whole = sum(scores.values()) / len(scores)
        shares = {level: asdict(estimate_proportion(np.arange(n) < round(p * n))) for level, p in scores.items()}
        levels = {level: {"n": n, "acc": share, "acc_norm": share} for level, share in shares.items()}
        count = n * len(scores)
        path = self.add_evaluation(
            run,
            "hellaswag",
            {"acc": (whole, error(whole, count)), "acc_norm": (whole, error(whole, count))},
            settings={"protocol": "completion", "shots": 0},
            n=count,
            levels=levels,
            rows_sha256="ab" * 32 if answers else "",
        )
        if answers:
            correct = np.concatenate([np.arange(n) < round(p * n) for p in scores.values()])
            columns = {"row": np.arange(count), "correct": correct, "correct_norm": correct}
            columns["level"] = np.repeat(list(scores), n)
            pq.write_table(pa.table(columns), path.with_suffix(".parquet"))
        return path

    def add_shortcuts(self) -> Path:
        levels = ("facts", "last-move", "earlier-move", "carried")
        baselines = {
            name: {
                "title": title,
                "how": f"picks the {title}",
                "accuracy": {"value": p, "standard_error": 0.0098},
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
                "rows_sha256": "ab" * 32,
                "chance": {"value": 0.25},
                "baselines": baselines,
            },
        )
        generator = np.random.default_rng(1)
        points = {
            name: generator.permutation(np.arange(2000) < round(2000 * baseline["accuracy"]["value"])).astype(float)
            for name, baseline in baselines.items()
        }
        pq.write_table(pa.table({"row": np.arange(2000), **points}), path.with_suffix(".parquet"))
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
        same_precision: dict[str, Any] | None = None,
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
                "norm": None,
                "norm_tolerance": None,
                "within": None if largest is None else largest <= tolerance,
                "same_precision": same_precision,
            },
        )
        self.parity.append(path)
        return path

    def add_cell(self, *cell: Any, **more: Any) -> Path:
        """A cell, as `measured_cell` takes it after the study."""
        return self._add_measurement(measured_cell(self.name, *cell, **more))

    def add_search(self, *search: Any, **more: Any) -> Path:
        """A search for the largest batch, as `batch_search` takes it after the study."""
        return self._add_measurement(batch_search(self.name, *search, **more))

    def _add_measurement(self, found: dict[str, Any]) -> Path:
        self.cells.append(write(self.folder / "measure" / f"{found['cell']}.json", found))
        return self.cells[-1]

    def set_loss(self, run: str, loss: float) -> None:
        """Let a run have come to this validation loss."""
        path = self.folder / run / "summary.json"
        summary = json.loads(path.read_text())
        best = {"step": summary["steps"], "validation_loss": loss}
        write(path, summary | {"validation_loss": loss, "best": best})

    def add_ladder(self, law: ChinchillaLaw, target_steps: int = 6400) -> Path:
        """Three sizes under three budgets with the losses of a law, and the forecast of a run with one more.

        That run has the loss of the law too.
        """
        runs = [(model, steps) for model in ("gpt2-250k", "gpt2-500k", "gpt2-1m") for steps in (100, 400, 1600)]
        for model, steps in [*runs, ("gpt2-1m", target_steps)]:
            self.add_run(f"{model}-{steps}", model=model, recipe=f"steps-{steps}", steps=steps)
            self.set_loss(f"{model}-{steps}", law.loss(parameters(self.models[model]), 2048 * steps))
        target = self.folder / f"gpt2-1m-{target_steps}"
        model = {"name": "gpt2-1m", **MODELS["gpt2-1m"]}
        forecast = target / "forecast.json"
        make_forecast(
            {"run": target.name, "model": model, "tokens": 2048 * target_steps},
            [self.folder / f"{model}-{steps}" / "summary.json" for model, steps in runs],
            forecast,
        )
        self.begin_with(forecast)
        return target

    def begin_with(self, forecast: Path) -> None:
        """Let the run in whose folder a forecast lies have begun with it."""
        summary = forecast.with_name("summary.json")
        write(summary, json.loads(summary.read_text()) | {"forecast": json.loads(forecast.read_text())})

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
