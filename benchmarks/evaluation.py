"""Our evaluation beside lm-evaluation-harness's HF backend, piece by piece in turn, in one process.

`make bench-evaluation`, or
`PYTHONPATH=src .venv/bin/python benchmarks/evaluation.py --model FOLDER --endings ROWS --pages ROWS`.

Both score the same real rows under the same model (SmolLM2-135M) in the same type with
the same number of threads. The rows are cut into pieces, and one piece of ours follows the
same piece of the harness's (the order alternates), so that whatever else the machine does
slows both alike; the ratio of a case is the harness's time over ours, and its spread that
of the pieces. The harness has, of the batch sizes given, the one that is quickest for it
on the first piece. Both times hold all from text to log-likelihoods (encoding, batching,
the model); building the items and reading the model are in neither.

Besides the ratios: how many choices agree and by how much log-likelihoods differ, and
ours as a share of the matrix rate: the floating-point operations a second of its linear
layers, on padding too, over the best that a large product reaches here in the same type.
Ends with status 1 where a ratio or an agreement misses its aim.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models import huggingface
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from trainyard.evaluate.encoding import encode_as_harness, harness_start_token
from trainyard.evaluate.hellaswag import COLUMNS, Settings, stop_and_pool
from trainyard.evaluate.hellaswag_items import Item, Shots, add_shots, encode_pairs, make_item, make_queries
from trainyard.evaluate.log_likelihood import log_likelihoods
from trainyard.evaluate.model import Placement, load_causal
from trainyard.evaluate.packed_linear import PackedLinear
from trainyard.evaluate.perplexity import document_log_likelihoods
from trainyard.evaluate.rows import read_rows
from trainyard.evaluate.wikitext_detokenizer import detokenize
from trainyard.evaluate.workers import keep_freed_memory

BATCH_TOKENS = 2048
ENDINGS = 4  # of a row
LONGEST = 2048  # tokens that either gives the model at once


@dataclass(frozen=True)
class Case:
    """One measurement: the pieces to score, how each side scores one, and what the harness's is called."""

    title: str
    aim: float
    dtype: str
    pieces: list[Any]
    rows: list[int]
    ours: Callable[[Any], np.ndarray]
    theirs: Callable[..., np.ndarray]
    endings: bool


class Side:
    """A model twice: as we load it, and in the harness."""

    def __init__(self, folder: Path, dtype: str, threads: int) -> None:
        self.model, self.tokenizer = load_causal(folder, Placement.model_validate({"dtype": dtype, "threads": threads}))
        self._plain = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self._harness: dict[int, Any] = {}

    def harness(self, batch: int) -> Any:
        """The harness's backend with a batch size."""
        if batch not in self._harness:
            backend: Any = huggingface.HFLM
            self._harness[batch] = backend(
                pretrained=self._plain, tokenizer=self.tokenizer, batch_size=batch, max_length=LONGEST
            )
        return self._harness[batch]

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Ours, of (context, continuation)."""
        encoded = encode_pairs(self.tokenizer, pairs, "harness")
        items = [encoded[start : start + ENDINGS] for start in range(0, len(encoded), ENDINGS)]
        return log_likelihoods(self.model, make_queries(items, LONGEST), BATCH_TOKENS)

    def harness_pairs(self, pairs: Sequence[tuple[str, str]], batch: int) -> np.ndarray:
        """The harness's, of (context, continuation)."""
        requests = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(pairs)]
        return np.array([found[0] for found in self.harness(batch).loglikelihood(requests, disable_tqdm=True)])

    def score_pages(self, pages: Sequence[str]) -> np.ndarray:
        """Ours, of whole pages."""
        start = harness_start_token(self.tokenizer)
        encoded = encode_as_harness(self.tokenizer, [detokenize(page) for page in pages])
        documents = [np.array([start, *ids]) for ids in encoded]
        return document_log_likelihoods(self.model, documents, LONGEST, LONGEST, BATCH_TOKENS)

    def harness_pages(self, pages: Sequence[str], batch: int) -> np.ndarray:
        """The harness's, of whole pages."""
        requests = [
            Instance("loglikelihood_rolling", {}, (detokenize(page),), place) for place, page in enumerate(pages)
        ]
        return np.array(self.harness(batch).loglikelihood_rolling(requests, disable_tqdm=True))


def matrix_rate(dtype: str) -> float:
    """Floating-point operations a second that a large product reaches here: the best of several, in both layouts."""
    size = 2048
    first, second = torch.randn(2, size, size).to(getattr(torch, dtype))
    layer = PackedLinear(second, None)
    rates = []
    with torch.inference_mode():
        for product in (lambda: first @ second, lambda: layer(first)):
            for _ in range(8):
                start = time.perf_counter()
                product()
                rates.append(2 * size**3 / (time.perf_counter() - start))
    return max(rates)


class Operations:
    """Counts the floating-point operations of a model's linear layers."""

    def __init__(self, model: Any) -> None:
        self.total = 0
        self._hooks = [
            module.register_forward_hook(self._count) for module in model.modules() if isinstance(module, PackedLinear)
        ]

    def _count(self, layer: Any, inputs: tuple[torch.Tensor], outputs: torch.Tensor) -> None:
        self.total += 2 * inputs[0].numel() * outputs.shape[-1]

    def close(self) -> None:
        """Count no more."""
        for hook in self._hooks:
            hook.remove()


PARTS = {
    "linear layers": ("mkldnn::", "aten::mm", "aten::addmm", "aten::linear", "aten::matmul"),
    "attention": ("scaled_dot_product", "aten::_flash"),
    "losses": ("aten::_log_softmax", "aten::nll_loss", "aten::cross_entropy"),
}


def where_time_goes(case: Case) -> dict[str, float]:
    """Shares of the time of ours on the first piece, by torch's profiler; the rest of the wall clock is Python."""
    start = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        case.ours(case.pieces[0])
    wall = time.perf_counter() - start
    shares = dict.fromkeys((*PARTS, "other operators"), 0.0)
    for event in profiler.key_averages():
        part = next((name for name, keys in PARTS.items() if any(key in event.key for key in keys)), "other operators")
        shares[part] += event.self_cpu_time_total / 1e6 / wall
    return {**shares, "encoding, batching, Python": max(0.0, 1 - sum(shares.values()))}


def measure(case: Case, model: Any, batches: Sequence[int], rate: float) -> dict[str, Any]:
    """Score every piece by both, in turn, and compare."""
    timed = {batch: _seconds(functools.partial(case.theirs, case.pieces[0], batch=batch)) for batch in batches}
    batch = min(timed, key=lambda each: timed[each])
    case.ours(case.pieces[0])
    operations = Operations(model)
    ours, theirs, found, expected = [], [], [], []
    sides = [(ours, found, case.ours), (theirs, expected, functools.partial(case.theirs, batch=batch))]
    for piece in case.pieces:
        for seconds, results, score in sides:
            start = time.perf_counter()
            results.append(score(piece))
            seconds.append(time.perf_counter() - start)
        sides.reverse()
    operations.close()
    ratios = [theirs_s / ours_s for ours_s, theirs_s in zip(ours, theirs, strict=True)]
    mine, other = np.concatenate(found), np.concatenate(expected)
    result = {
        "case": case.title,
        "aim": case.aim,
        "ratio": sum(theirs) / sum(ours),
        "ratio_of_pieces": {"lowest": min(ratios), "median": statistics.median(ratios), "highest": max(ratios)},
        "rows": sum(case.rows),
        "rows_per_second": sum(case.rows) / sum(ours),
        "harness_rows_per_second": sum(case.rows) / sum(theirs),
        "harness_batch_size": batch,
        "largest_difference_nats": float(np.abs(mine - other).max()),
        "largest_relative_difference": float(np.abs(mine / other - 1).max()),
        "share_of_matrix_rate": operations.total / sum(ours) / rate,
        "where_time_goes": where_time_goes(case),
    }
    if case.endings:
        choices = [table.reshape(-1, ENDINGS).argmax(axis=1) for table in (mine, other)]
        result["same_choices"] = float((choices[0] == choices[1]).mean())
        agrees = result["same_choices"] >= (1 if case.dtype == "float32" else 0.98)
    else:
        result["relative_difference_of_all"] = abs(mine.sum() / other.sum() - 1)
        agrees = result["relative_difference_of_all"] <= 1e-4
    return {**result, "met": bool(agrees and result["ratio"] >= case.aim)}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def pairs_of(rows: list[dict[str, Any]], pool: Sequence[Item], shots: int) -> list[list[tuple[str, str]]]:
    """The four (context, continuation) of each row."""
    draw = Shots(pool, shots, "random", 1234)
    items = [make_item(row, "harness") for row in rows]
    contexts = [add_shots(item, draw.before(place, item)) for place, item in enumerate(items)]
    return [[(context, " " + ending) for ending in item.endings] for context, item in zip(contexts, items, strict=True)]


def endings_case(title: str, aim: float, side: Side, dtype: str, pairs: list[Any], piece: int) -> Case:
    """A case on endings, in pieces of so many rows."""
    cut = [pairs[start : start + piece] for start in range(0, len(pairs), piece)]
    pieces = [[pair for row in part for pair in row] for part in cut]
    return Case(title, aim, dtype, pieces, [len(part) for part in cut], side.score_pairs, side.harness_pairs, True)


def make_cases(at: argparse.Namespace, sides: dict[str, Side]) -> list[Case]:
    """The four cases of which the names are asked for."""
    stop, pool = stop_and_pool(at.endings, Settings.model_validate({"shots": 5}))
    rows = read_rows(at.endings, COLUMNS, stop)

    def spread(count: int) -> list[dict[str, Any]]:
        """Rows from all of the file, whose first part is short (ActivityNet) and whose second is long (WikiHow)."""
        return rows[:: max(1, len(rows) // count)][:count]

    exact, rounded = sides["float32"], sides["bfloat16"]
    pages = [row["text"] for row in read_rows(at.pages, ("text",))][: at.page_count]
    groups = [pages[start : start + 4] for start in range(0, len(pages), 4)]
    return [
        endings_case("HellaSwag 0-shot fp32", 2.2, exact, "float32", pairs_of(spread(at.rows), pool, 0), 32),
        endings_case("HellaSwag 5-shot fp32", 3.0, exact, "float32", pairs_of(spread(at.rows // 8), pool, 5), 4),
        endings_case("HellaSwag 0-shot bf16", 2.0, rounded, "bfloat16", pairs_of(spread(1000), pool, 0), 100),
        Case(
            "perplexity, wikitext, fp32",
            1.2,
            "float32",
            groups,
            [len(group) for group in groups],
            exact.score_pages,
            exact.harness_pages,
            False,
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("results/models/smollm2-135m"), help="folder")
    parser.add_argument("--endings", type=Path, default=Path("results/data/hellaswag/rows/validation.parquet"))
    parser.add_argument("--pages", type=Path, default=Path("results/data/wikitext-2-raw/rows/test.parquet"))
    parser.add_argument("--rows", type=int, default=256, help="of endings in fp32; an eighth of them with shots")
    parser.add_argument("--page-count", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32], help="that the harness may choose")
    parser.add_argument("--cases", nargs="+", default=["HellaSwag", "perplexity"], help="beginnings of their titles")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    at = parser.parse_args()
    torch.set_num_threads(at.threads)
    keep_freed_memory()  # as our evaluations do; the harness, which doesn't, has it here too
    logging.disable_progress_bar()
    sides = {dtype: Side(at.model, dtype, at.threads) for dtype in ("float32", "bfloat16")}
    rates = {dtype: matrix_rate(dtype) for dtype in sides}
    results = []
    for case in make_cases(at, sides):
        if case.title.startswith(tuple(at.cases)):
            found = measure(case, sides[case.dtype].model, at.batch_sizes, rates[case.dtype])
            results.append(found)
            print(text_of(found), flush=True)
    for dtype, rate in rates.items():
        print(f"matrix rate, {dtype}: {rate / 1e9:.0f} GFLOP/s with {at.threads} threads")
    if at.output:
        about = {"threads": at.threads, "torch": torch.__version__, "matrix_rate": rates, "cases": results}
        at.output.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(found["met"] for found in results))


def text_of(found: dict[str, Any]) -> str:
    """A case in some lines."""
    spread = found["ratio_of_pieces"]
    agreement = (
        f"{found['same_choices']:.2%} the same choice, within {found['largest_difference_nats']:.1e} nats"
        if "same_choices" in found
        else f"within {found['relative_difference_of_all']:.1e} relative"
    )
    parts = ", ".join(f"{name} {share:.0%}" for name, share in found["where_time_goes"].items())
    return (
        f"{found['case']}: {found['ratio']:.2f} times the harness's rows per second "
        f"({'meets' if found['met'] else 'MISSES'} the aim, {found['aim']}; "
        f"pieces {spread['lowest']:.2f} to {spread['highest']:.2f})\n"
        f"  {found['rows_per_second']:.2f} rows/s against {found['harness_rows_per_second']:.2f} "
        f"(its batch size {found['harness_batch_size']}), {found['rows']} rows; {agreement}\n"
        f"  products at {found['share_of_matrix_rate']:.0%} of the matrix rate; time: {parts}"
    )


if __name__ == "__main__":
    main()
