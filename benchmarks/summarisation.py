"""Our training on pairs beside transformers' Seq2SeqTrainer, step by step in turn, in one process.

`make bench-training`, or
`PYTHONPATH=src .venv/bin/python benchmarks/summarisation.py --tokens FOLDER --tokenizer FOLDER`.

A BART and a T5 of small shapes train an epoch of the same real pairs, 8 a step, in fp32 with the same optimizer
(torch's fused AdamW), clipping at 1.0 and number of threads, without dropout. The Seq2SeqTrainer and ours at random
order have the very same batches; ours in sortish order has the same pairs in others. After each step of the Trainer
comes one of each of ours, so that whatever else the machine does slows all alike. Ours includes drawing the batch and
writing the row of metrics.jsonl; the Trainer neither logs nor saves.

The Trainer accumulates no gradients and runs in one process: with more, transformers 5.23 multiplies the gradient of
BART and T5 by their number. A ratio is the Trainer's seconds over ours, for all pairs; its spread is that of the
ratios of each tenth of the epoch. Ends with status 1 where a ratio misses its aim.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)
from transformers.utils import logging

from trainyard.config.catalogue import Model, ParallelSetting
from trainyard.config.train import Train
from trainyard.core.files import read_json, sha256_file, write_json
from trainyard.data.loader import Loader
from trainyard.data.pairs import GROUP_ROWS
from trainyard.evaluate.model import load_tokenizer
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel.engine import EngineSettings, load_engine
from trainyard.train.loop import Loop
from trainyard.train.metrics import MetricsFile

BATCH = 8
PARTS = 10
LEARNING_RATE = 1e-4
SIZE = {"layers": 3, "width": 256, "heads": 4, "context": 512, "vocabulary": 32_128, "dropout": 0.0}
Order = Literal["random", "sortish"]
AIMS: dict[Order, float] = {"random": 1.3, "sortish": 1.8}


class Pairs(Dataset):
    """The pairs of a loader in its order, without padding: `input_ids` and `labels`."""

    def __init__(self, loader: Loader) -> None:
        self.rows: list[dict[str, list[int]]] = []
        for step in range(1, loader.steps + 1):
            (batch,) = loader.micro_batches(step, 0, 1)
            for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
                self.rows.append({"input_ids": ids[mask.bool()].tolist(), "labels": labels[labels != -100].tolist()})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return self.rows[row]


class InOrder(Seq2SeqTrainer):
    """Takes the pairs in the order in which they are given."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
        return SequentialSampler(self.train_dataset)  # pyright: ignore


class InTurn(TrainerCallback):
    """Times each step of the Trainer, and takes and times one of each of our loops after it."""

    def __init__(self, loops: dict[Order, Any]) -> None:
        self.ours: dict[Order, list[float]] = {order: [] for order in loops}
        self.theirs: list[float] = []
        self._loops = loops
        self._mark = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._mark = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it, take our steps, and start it again."""
        self.theirs.append(time.perf_counter() - self._mark)
        for order, step in self._loops.items():
            start = time.perf_counter()
            step(len(self.theirs))
            self.ours[order].append(time.perf_counter() - start)
        self._mark = time.perf_counter()


def take_pairs(tokens: Path, count: int, folder: Path) -> None:
    """The first `count` pairs of a folder of tokens, as a folder of its own."""
    pairs = pq.read_table(tokens / "pairs.parquet").slice(0, count)
    folder.mkdir()
    pq.write_table(pairs, folder / "pairs.parquet", row_group_size=GROUP_ROWS)
    files = [{"file": "pairs.parquet", "sha256": sha256_file(folder / "pairs.parquet")}]
    write_json(folder / "index.json", read_json(tokens / "index.json") | {"rows": len(pairs), "files": files})


def make_loop(model: Model, train: Train, start_token: int, tokens: Path, folder: Path) -> Loop:
    """Our loop over the pairs, in the order that `train` asks for."""
    settings = EngineSettings(
        precision="fp32",
        train=train,
        parallel=ParallelSetting.from_spec({"name": "single", "engine": "single"}),
        micro_batch=BATCH,
        accumulation=1,
        family=model.family,
        device="cpu",
    )
    engine = load_engine("single")(Objective(build(model, "benchmark", seed=1)), settings)
    loader = Loader(tokens, train, seed=1, start_token=start_token)
    return Loop(train, engine, loader, MetricsFile(folder / "metrics.jsonl"), folder / "checkpoints")


def compare(family: str, tokens: Path, tokenizer: Any, steps: int) -> InTurn:
    """The seconds of each step of an epoch, ours and the Trainer's."""
    model = Model.model_validate({"title": family, "family": family, "tokenizer": "t5", "shape": SIZE})
    given = {"steps": steps, "batch": BATCH, "learning_rate": LEARNING_RATE, "decay": "constant"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        take_pairs(tokens, steps * BATCH, folder / "tokens")
        theirs = build(model, "benchmark", seed=1)
        start_token = theirs.config.decoder_start_token_id
        loops: dict[Order, Any] = {}
        for order in AIMS:
            (folder / order).mkdir()
            train = Train.model_validate({**given, "order": order})
            loop = make_loop(model, train, start_token, folder / "tokens", folder / order)
            loops[order] = lambda step, loop=loop: loop.metrics.append(loop.step(step))
        train = Train.model_validate(given)
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(folder / "trainer"),
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=train.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=train.weight_decay,
            adam_beta1=train.betas[0],
            adam_beta2=train.betas[1],
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            use_cpu=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        turns = InTurn(loops)
        trainer = InOrder(
            model=theirs,
            args=arguments,
            train_dataset=Pairs(Loader(folder / "tokens", train, seed=1, start_token=start_token)),
            data_collator=DataCollatorForSeq2Seq(tokenizer, model=theirs),
            callbacks=[turns],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return turns


def find_ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """The Trainer's seconds over ours, of all steps but the first, and of each tenth of them."""
    size = len(ours) // PARTS
    parts = [slice(1, None), *(slice(max(1, start), start + size) for start in range(0, size * PARTS, size))]
    return [sum(theirs[part]) / sum(ours[part]) for part in parts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, default=Path("results/data/samsum/t5/train"), help="folder")
    parser.add_argument("--tokenizer", type=Path, default=Path("results/data/samsum/t5/tokenizer"), help="folder")
    parser.add_argument("--steps", type=int, default=50, help="of an epoch of 8 pairs a step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--families", nargs="+", choices=["bart", "t5"], default=["bart", "t5"])
    at = parser.parse_args()
    torch.set_num_threads(at.threads)
    logging.set_verbosity_error()
    print(f"torch {torch.__version__}, {at.threads} threads, {at.steps} steps of {BATCH} pairs each")
    load_engine("single").start("cpu")
    met = True
    for family in at.families:
        turns = compare(family, at.tokens, load_tokenizer(at.tokenizer), at.steps)
        pairs = BATCH * (at.steps - 1)
        print(f"{family}: Seq2SeqTrainer {pairs / sum(turns.theirs[1:]):.1f} pairs/s")
        for order, aim in AIMS.items():
            ratio, *parts = find_ratios(turns.theirs, turns.ours[order])
            met &= ratio >= aim
            print(
                f"  ours, {order}: {pairs / sum(turns.ours[order][1:]):.1f} pairs/s, {ratio:.2f} times as many "
                f"({'meets' if ratio >= aim else 'MISSES'} the aim {aim}; tenths {min(parts):.2f} to {max(parts):.2f}, "
                f"median {statistics.median(parts):.2f})"
            )
        sys.stdout.flush()
    sys.exit(not met)


if __name__ == "__main__":
    main()
