"""How much of a dataset of pairs is padding in each order of rows: `padding.py FOLDER`, a folder of tokens.

`snakemake results/data/samsum/t5/train`, for one, makes such a folder. It prints what one epoch computes.
"""

import sys
from pathlib import Path

from trainyard.config.train import Train
from trainyard.data.loader import Loader

SIZES = ((8, 8), (128, 16))
ORDERS = ("random", "sortish", "by-length")


def main(folder: Path) -> None:
    print("| rows of a step, of a micro-batch | order | positions | padding |\n|---|---|---|---|")
    for batch, micro_batch in SIZES:
        for order in ORDERS:
            given = {"epochs": 1, "batch": batch, "micro_batch": micro_batch, "learning_rate": 1.0, "order": order}
            train = Train.model_validate(given)
            loader = Loader(folder, train, seed=1, start_token=0)
            counts = [loader.count_positions(step, 1) for step in range(1, loader.steps + 1)]
            computed, padding = (sum(part) for part in zip(*counts, strict=True))
            print(f"| {batch}, {micro_batch} | {order} | {computed / 1e6:.2f} million | {padding / computed:.1%} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
