"""Our generation of summaries beside transformers' `generate`, piece by piece in turn, in one process.

`make bench-generation`, or `PYTHONPATH=src .venv/bin/python benchmarks/generation.py --rows ROWS --tokenizer FOLDER`.

Both generate from the same real sources with a model of BART-base's shape (weights at random: how long
a step takes does not depend on them), six beams, in the same type with the same number of threads. Such a model
hardly ever ends a summary, so that every one is as long as it may be: what we save where some sources of a batch end
before others isn't in the ratio. A piece is a batch. One of ours follows the same one of transformers' (the order
alternates), so that whatever else the machine does slows both alike; the ratio is transformers' time over ours, and its
spread that of the pieces. Ends with status 1 where a ratio misses its aim, or in fp32 an id differs.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig
from transformers.utils import logging

from trainyard.evaluate.generation import Search, generate
from trainyard.evaluate.model import load_tokenizer
from trainyard.evaluate.packed_linear import pack
from trainyard.evaluate.rows import read_rows
from trainyard.evaluate.workers import keep_freed_memory

END, PAD = 2, 1
SEARCH = Search(beams=6, min_length=11, max_length=62, no_repeat_ngram=3, length_penalty=1.0, early_stopping=True)
AIMS = {"float32": 2.0, "bfloat16": 1.5}
LONGEST = 1024  # positions of BART


@dataclass(frozen=True)
class Piece:
    """A batch of sources, by both."""

    ours: float
    theirs: float
    same: int
    rows: int


def make_model() -> Any:
    """BART-base's shape: facebook/bart-base's config.json."""
    sides: dict[str, Any] = {
        f"{side}_{name}": count
        for side in ("encoder", "decoder")
        for name, count in {"layers": 6, "attention_heads": 12, "ffn_dim": 3072}.items()
    }
    torch.manual_seed(1)
    return BartForConditionalGeneration(BartConfig(vocab_size=50_265, d_model=768, **sides)).eval()


def by_transformers(model: Any, sources: Sequence[list[int]]) -> list[list[int]]:
    """The same search by `generate`."""
    width = max(map(len, sources))
    ids = torch.tensor([[*source, *[PAD] * (width - len(source))] for source in sources])
    config = GenerationConfig(
        bos_token_id=0,
        eos_token_id=END,
        pad_token_id=PAD,
        decoder_start_token_id=END,
        forced_eos_token_id=model.generation_config.forced_eos_token_id,
        num_beams=SEARCH.beams,
        min_length=SEARCH.min_length,
        max_length=SEARCH.max_length,
        no_repeat_ngram_size=SEARCH.no_repeat_ngram,
        length_penalty=SEARCH.length_penalty,
        early_stopping=SEARCH.early_stopping,
    )
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=(ids != PAD).long(), generation_config=config)
    return found.tolist()


def measure(dtype: str, sources: Sequence[list[int]], batch: int) -> list[Piece]:
    """Generate from every batch by both, in turn; the first batch is done once before, and not counted."""
    theirs = make_model().to(getattr(torch, dtype))
    ours = make_model().to(getattr(torch, dtype))
    pack(ours)
    sides = [
        ("ours", lambda rows: generate(ours, rows, SEARCH, [END], batch)),
        ("theirs", lambda rows: by_transformers(theirs, rows)),
    ]
    pieces = []
    for start in (-batch, *range(0, len(sources), batch)):
        rows = sources[max(0, start) :][:batch]
        seconds, ids = {}, {}
        for name, side in sides:
            begin = time.perf_counter()
            ids[name] = side(rows)
            seconds[name] = time.perf_counter() - begin
        sides.reverse()
        if start >= 0:
            same = sum(mine == other[: len(mine)] for mine, other in zip(ids["ours"], ids["theirs"], strict=True))
            pieces.append(Piece(**seconds, same=same, rows=len(rows)))
    return pieces


def summarise(dtype: str, pieces: Sequence[Piece], lengths: Sequence[int]) -> dict[str, Any]:
    """The ratio with its spread, and how many summaries are the same."""
    ratios = [piece.theirs / piece.ours for piece in pieces]
    rows, same = (sum(getattr(piece, name) for piece in pieces) for name in ("rows", "same"))
    ours, theirs = (sum(getattr(piece, name) for piece in pieces) for name in ("ours", "theirs"))
    return {
        "case": f"BART-base's shape, {SEARCH.beams} beams, {dtype}",
        "aim": AIMS[dtype],
        "ratio": theirs / ours,
        "ratio_of_pieces": {"lowest": min(ratios), "median": statistics.median(ratios), "highest": max(ratios)},
        "rows": rows,
        "same_summaries": same,
        "source_tokens": {"mean": statistics.fmean(lengths), "longest": max(lengths)},
        "rows_per_second": rows / ours,
        "transformers_rows_per_second": rows / theirs,
        "met": theirs / ours >= AIMS[dtype] and (same == rows or dtype != "float32"),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=Path("results/data/samsum/rows/test.parquet"), help="pairs")
    parser.add_argument("--tokenizer", type=Path, default=Path("results/data/samsum/gpt2/tokenizer"), help="folder")
    parser.add_argument("--count", type=int, default=64, help="of the rows, spread over all")
    parser.add_argument("--batch", type=int, default=16, help="sources at once, of both")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtypes", nargs="+", choices=AIMS, default=list(AIMS))
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    at = parser.parse_args()
    torch.set_num_threads(at.threads)
    keep_freed_memory()  # as our evaluations do; transformers, which doesn't, has it here too
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(at.tokenizer)
    texts = [row["source"] for row in read_rows(at.rows, ("source",))]
    # GPT-2's tokens are BART's under other ids
    sources = [ids[:LONGEST] for ids in tokenizer(texts[:: max(1, len(texts) // at.count)][: at.count])["input_ids"]]
    sources.sort(key=len, reverse=True)
    results = []
    for dtype in at.dtypes:
        found = summarise(dtype, measure(dtype, sources, at.batch), [len(source) for source in sources])
        results.append(found)
        print(text_of(found), flush=True)
    if at.output:
        about = {"threads": at.threads, "batch": at.batch, "torch": torch.__version__, "cases": results}
        at.output.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(found["met"] for found in results))


def text_of(found: dict[str, Any]) -> str:
    """A case in two lines."""
    spread, lengths = found["ratio_of_pieces"], found["source_tokens"]
    return (
        f"{found['case']}: {found['ratio']:.2f} times transformers' rows per second "
        f"({'meets' if found['met'] else 'MISSES'} the aim, {found['aim']}; "
        f"pieces {spread['lowest']:.2f} to {spread['highest']:.2f})\n"
        f"  {found['rows_per_second']:.2f} rows/s against {found['transformers_rows_per_second']:.2f}, {found['rows']} "
        f"sources of {lengths['mean']:.0f} tokens (at most {lengths['longest']}); "
        f"{found['same_summaries']} summaries the same"
    )


if __name__ == "__main__":
    main()
