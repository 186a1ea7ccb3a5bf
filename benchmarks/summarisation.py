"""Our training on pairs beside transformers' Seq2SeqTrainer, step by step in turn, in one process.

`make bench-training`, or
`PYTHONPATH=src .venv/bin/python benchmarks/summarisation.py --tokens FOLDER --tokenizer FOLDER`.

A BART and a T5 of small shapes train an epoch of the same real pairs, 32 a step and 8 a micro-batch, in fp32 with the
same optimizer (torch's fused AdamW), clipping at 1.0 and number of threads, without dropout. The Seq2SeqTrainer and
ours at random order have the same pairs in each step; ours in sortish order has the same of the epoch. After each step
of the Trainer comes one of each of ours, so that whatever else the machine does slows all alike. Ours includes drawing
the batch and writing the row of metrics.jsonl; the Trainer neither logs nor saves.

transformers 5.23 multiplies the gradient of BART and T5 by the number of micro-batches, since it thinks that their
models divide by the tokens of all. Here the Trainer has a loss that does (`compute_loss_func`), so that both train the
same: how far their weights are apart at the end is printed.
A ratio is the Trainer's seconds over ours, for all pairs; its spread is that of
quarters of the epoch. Ends with status 1 where a ratio misses its aim.
"""

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import torch
from beside_trainer import InTurn, make_loop, match
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)
from transformers.utils import logging

from trainyard.config.catalogue import Model
from trainyard.config.train import Train
from trainyard.core.files import read_json, sha256_file, write_json
from trainyard.data.loader import Batch, Loader
from trainyard.data.pairs import GROUP_ROWS
from trainyard.evaluate.model import load_tokenizer
from trainyard.models.build import build
from trainyard.parallel.engine import load_engine

BATCH, MICRO_BATCH = 32, 8
PARTS = 4
SIZE = {"layers": 3, "width": 256, "heads": 4, "context": 512, "vocabulary": 32_128, "dropout": 0.0}
Order = Literal["random", "sortish"]
AIMS: dict[Order, float] = {"random": 1.3, "sortish": 1.8}


class Pairs(Dataset):
    """The pairs of each step of a loader, in random order within it, without padding: `input_ids` and `labels`."""

    def __init__(self, loader: Loader) -> None:
        self.rows: list[dict[str, list[int]]] = []
        for step in range(1, loader.steps + 1):
            rows = [row for batch in loader.micro_batches(step, 0, 1) for row in split(batch)]
            self.rows += random.Random(step).sample(rows, len(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return self.rows[row]


def split(batch: Batch) -> list[dict[str, list[int]]]:
    """The pairs of a batch as a tokenizer made them."""
    columns = (batch[name] for name in ("input_ids", "attention_mask", "labels"))
    return [
        {"input_ids": ids[mask.bool()].tolist(), "labels": labels[labels != -100].tolist()}
        for ids, mask, labels in zip(*columns, strict=True)
    ]


def mean_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor) -> torch.Tensor:
    """The part of a micro-batch in the mean over the tokens of all."""
    logits = outputs["logits"].flatten(0, 1)
    return cross_entropy(logits, labels.flatten(), reduction="sum") / num_items_in_batch


class InOrder(Seq2SeqTrainer):
    """Takes the pairs in the order in which they are given."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
        return SequentialSampler(self.train_dataset)  # pyright: ignore


def take_pairs(tokens: Path, count: int, folder: Path) -> None:
    """The first `count` pairs of a folder of tokens, as a folder of its own."""
    pairs = pq.read_table(tokens / "pairs.parquet").slice(0, count)
    folder.mkdir()
    pq.write_table(pairs, folder / "pairs.parquet", row_group_size=GROUP_ROWS)
    files = [{"file": "pairs.parquet", "sha256": sha256_file(folder / "pairs.parquet")}]
    write_json(folder / "index.json", read_json(tokens / "index.json") | {"rows": len(pairs), "files": files})


def compare(family: str, tokens: Path, tokenizer: Any, steps: int) -> tuple[InTurn, float]:
    """The seconds of each step of an epoch, and how far the weights of ours at random order are from the Trainer's.

    That is the norm of their difference, as a part of how far training has moved them.
    """
    model = Model.model_validate({"title": family, "family": family, "tokenizer": "t5", "shape": SIZE})
    given = {"steps": steps, "batch": BATCH, "micro_batch": MICRO_BATCH, "learning_rate": 1e-4, "decay": "constant"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        take_pairs(tokens, steps * BATCH, folder / "tokens")
        theirs = build(model, "benchmark", seed=1)
        before = weights(theirs)
        start_token = theirs.config.decoder_start_token_id

        def load(train: Train) -> Loader:
            return Loader(folder / "tokens", train, seed=1, start_token=start_token)

        trains = {order: Train.model_validate({**given, "order": order}) for order in AIMS}
        loops = {order: make_loop(model, train, load(train), folder / order) for order, train in trains.items()}
        arguments = Seq2SeqTrainingArguments(
            **match(trains["random"], folder / "trainer", steps),
            per_device_train_batch_size=MICRO_BATCH,
            gradient_accumulation_steps=BATCH // MICRO_BATCH,
        )
        turns = InTurn(loops)
        trainer = InOrder(
            model=theirs,
            args=arguments,
            train_dataset=Pairs(load(trains["random"])),
            compute_loss_func=mean_loss,
            data_collator=DataCollatorForSeq2Seq(tokenizer, model=theirs),
            callbacks=[turns],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        apart = weights(loops["random"].engine.objective.model) - weights(theirs)
    return turns, float(apart.norm() / (weights(theirs) - before).norm())


def weights(model: Any) -> torch.Tensor:
    """All of them, as one vector."""
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def find_ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """The Trainer's seconds over ours, of all steps and of each quarter of them."""
    size = len(ours) // PARTS
    parts = [slice(None), *(slice(start, start + size) for start in range(0, size * PARTS, size))]
    return [sum(theirs[part]) / sum(ours[part]) for part in parts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, default=Path("results/data/samsum/t5/train"), help="folder")
    parser.add_argument("--tokenizer", type=Path, default=Path("results/data/samsum/t5/tokenizer"), help="folder")
    parser.add_argument("--steps", type=int, default=16, help="of an epoch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--families", nargs="+", choices=["bart", "t5"], default=["bart", "t5"])
    at = parser.parse_args()
    torch.set_num_threads(at.threads)
    logging.set_verbosity_error()
    print(f"torch {torch.__version__}, {at.threads} threads, {at.steps} steps of {BATCH} pairs each")
    load_engine("single").start("cpu")
    met = True
    for family in at.families:
        turns, apart = compare(family, at.tokens, load_tokenizer(at.tokenizer), at.steps)
        pairs = BATCH * at.steps
        print(f"{family}: Seq2SeqTrainer {pairs / sum(turns.theirs):.1f} pairs/s (weights {apart:.1e} apart)")
        for order, aim in AIMS.items():
            ratio, *parts = find_ratios(turns.theirs, turns.ours[order])
            met &= ratio >= aim
            verdict = "meets" if ratio >= aim else "MISSES"
            print(
                f"  ours, {order}: {pairs / sum(turns.ours[order]):.1f} pairs/s, {ratio:.2f} times as many "
                f"({verdict} the aim, {aim}; quarters {min(parts):.2f} to {max(parts):.2f}, "
                f"median {statistics.median(parts):.2f})"
            )
        sys.stdout.flush()
    sys.exit(not met)


if __name__ == "__main__":
    main()
