import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainyard.config.train import Train
from trainyard.core.errors import InputError
from trainyard.data.loader import Batch, Loader, count_steps

Folder = Callable[..., Path]

# of 124 rows, by PCG64's raw output
FIRST_ROWS = {1: [93, 61, 75, 9, 36, 39, 85, 111], 2: [97, 86, 84, 64, 49, 80, 93, 117]}


def settings(**changed: Any) -> Train:
    given: dict[str, Any] = {"steps": 10, "batch": 8, "micro_batch": 2, "sequence_length": 32, "learning_rate": 1e-3}
    return Train(**{**given, **changed})


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def pairs(count: int) -> list[tuple[list[int], list[int]]]:
    return [([0, *range(10, 11 + n % 7), 2], [0, *range(100, 102 + n % 5), 2]) for n in range(count)]


@pytest.fixture
def text(tmp_path: Path, text_folder: Folder) -> Path:
    return text_folder(tmp_path / "text", 4000)


@pytest.fixture
def dialogues(tmp_path: Path, pairs_folder: Folder) -> Path:
    return pairs_folder(tmp_path / "pairs", pairs(300))


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_one_process_sees_the_micro_batches_of_all_ranks_in_their_order(
    text: Path, dialogues: Path, world: int, unequal: bool
) -> None:
    for folder in (text, dialogues):
        loader = Loader(folder, settings(), seed=7, start_token=2, unequal=unequal)
        for step in (1, 2, 40):
            ranks = [batch for rank in range(world) for batch in loader.micro_batches(step, rank, world)]
            assert equal(ranks, loader.micro_batches(step, 0, 1))
            assert len(ranks) == 4
    assert loader.accumulation(world) == 4 // world


def test_a_step_needs_nothing_of_the_steps_before_it(text: Path, dialogues: Path) -> None:
    for folder in (text, dialogues):
        used = Loader(folder, settings(), seed=3, start_token=2, unequal=True)
        for step in range(1, 60):
            used.micro_batches(step, 0, 2)
        resumed = Loader(folder, settings(), seed=3, start_token=2, unequal=True)
        assert equal(used.micro_batches(37, 1, 2), resumed.micro_batches(37, 1, 2))


def test_the_order_is_the_seed_s_alone_and_never_changes(text: Path) -> None:
    def firsts(seed: int) -> list[int]:
        (batch,) = Loader(text, settings(micro_batch=8), seed=seed).micro_batches(1, 0, 1)
        return [int(token) // 32 for token in batch["input_ids"][:, 0]]

    assert firsts(1) == FIRST_ROWS[1]
    assert firsts(2) == FIRST_ROWS[2]


def test_labels_are_the_next_tokens_over_the_borders_of_shards(text: Path) -> None:
    loader = Loader(text, settings(), seed=1)
    assert loader.rows == (4000 - 1) // 32
    for step in range(1, 16):
        for batch in loader.micro_batches(step, 0, 1):
            assert batch["input_ids"].shape == batch["labels"].shape == (2, 32)
            assert batch["input_ids"].dtype == batch["labels"].dtype == torch.int64
            assert torch.equal(batch["labels"], batch["input_ids"] + 1)


def test_each_epoch_shows_every_row_once_in_an_order_of_its_own(tmp_path: Path, text_folder: Folder) -> None:
    folder = text_folder(tmp_path / "small", 32 * 20 + 1)
    loader = Loader(folder, settings(batch=4), seed=1)
    epochs = []
    for epoch in range(3):
        batches = [b for step in range(5) for b in loader.micro_batches(1 + 5 * epoch + step, 0, 1)]
        epochs.append([int(row[0]) // 32 for batch in batches for row in batch["input_ids"]])
    assert all(sorted(order) == list(range(20)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.fixture
def conversations(tmp_path: Path, pairs_folder: Folder) -> Path:
    """250 pairs as long as dialogues are: few are long. The first token of each source is its number."""
    lengths = np.random.default_rng(0).lognormal(3.0, 0.6, 250).astype(int) + 2
    return pairs_folder(
        tmp_path / "conversations",
        [([1000 + row, *[5] * length, 2], [0, *[6] * (length // 4), 2]) for row, length in enumerate(lengths)],
    )


@pytest.mark.parametrize("order", ["sortish", "by-length"])
def test_pairs_of_like_lengths_meet_in_an_order_that_processes_do_not_change(conversations: Path, order: str) -> None:
    loader = Loader(conversations, settings(order=order), seed=1, start_token=2)
    for step in (1, 31, 32, 70):  # 250 rows end in the middle of step 32
        alone = loader.micro_batches(step, 0, 1)
        for world in (2, 4):
            other = Loader(conversations, settings(order=order), seed=1, start_token=2)
            assert equal([batch for rank in range(world) for batch in other.micro_batches(step, rank, world)], alone)
    seen = [
        int(number) - 1000
        for step in range(1, 126)
        for batch in loader.micro_batches(step, 0, 1)
        for number in batch["input_ids"][:, 0]
    ]
    assert sorted(seen) == sorted([*range(250)] * 4)
    assert len(set(seen[:248])) == 248  # the first epoch but for the step that the second begins in
    assert seen[:248] != seen[500:748]
    longest = [max(batch["input_ids"].shape[1] for batch in loader.micro_batches(step, 0, 1)) for step in range(1, 30)]
    assert longest != sorted(longest, reverse=True)  # steps are in random order


def test_pairs_of_like_lengths_share_a_micro_batch_and_ranks_have_like_work(conversations: Path) -> None:
    small, whole = (
        Loader(conversations, settings(micro_batch=size, batch=16), seed=1, start_token=2) for size in (2, 16)
    )
    for step in (1, 2, 40):
        batches = [batch["attention_mask"].sum(1) for batch in small.micro_batches(step, 0, 1)]
        by_length = sorted(batches, key=max, reverse=True)
        assert all(min(longer) >= max(shorter) for longer, shorter in itertools.pairwise(by_length))
        (batch,) = whole.micro_batches(step, 0, 1)  # the rows of a step are the same however it is cut
        assert sorted(torch.cat(batches).tolist()) == sorted(batch["attention_mask"].sum(1).tolist())
        # sixteen rows in eight: of two ranks the first has the longest, the third longest and so on
        places = [next(i for i, found in enumerate(by_length) if found is batch) for batch in batches]
        assert [sorted(places[:4]), sorted(places[4:])] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    padded = [loader.count_positions(1, 1)[1] for loader in (small, whole)]
    assert padded[0] < padded[1] / 3


def test_an_order_by_length_pads_less(conversations: Path) -> None:
    def padding(order: str, micro_batch: int) -> float:
        loader = Loader(conversations, settings(order=order, micro_batch=micro_batch), seed=1, start_token=2)
        counts = [loader.count_positions(step, 1) for step in range(1, 63)]
        return sum(padded for _, padded in counts) / sum(computed for computed, _ in counts)

    assert padding("random", 8) > 0.2
    assert padding("by-length", 2) <= padding("sortish", 2) < 0.05


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("order", ["random", "sortish"])
def test_positions_are_counted_as_batches_have_them(conversations: Path, order: str, world: int) -> None:
    loader = Loader(conversations, settings(order=order, source_length=40), seed=1, start_token=2)
    for step in (1, 32):
        batches = [batch for rank in range(world) for batch in loader.micro_batches(step, rank, world)]
        computed = sum(batch["input_ids"].numel() + batch["labels"].numel() for batch in batches)
        needed = sum(int(batch["attention_mask"].sum() + (batch["labels"] != -100).sum()) for batch in batches)
        assert loader.count_positions(step, world) == (computed, computed - needed)


def test_text_has_no_padding(text: Path) -> None:
    assert Loader(text, settings(), seed=1).count_positions(1, 2) == (8 * 32, 0)


def test_unequal_keeps_a_quarter_to_all_of_each_row_and_masks_its_tail(text: Path, dialogues: Path) -> None:
    for folder in (text, dialogues):
        plain = Loader(folder, settings(), seed=5, start_token=2)
        masked = Loader(folder, settings(), seed=5, start_token=2, unequal=True)
        totals = set()
        for step in range(1, 20):
            for before, after in zip(plain.micro_batches(step, 0, 1), masked.micro_batches(step, 0, 1), strict=True):
                kept = (after["labels"] != -100).sum(1)
                length = (before["labels"] != -100).sum(1)
                assert bool(((kept * 4 >= length) & (kept <= length)).all())
                for row, old, count in zip(after["labels"], before["labels"], kept, strict=True):
                    assert torch.equal(row[:count], old[:count])
                    assert bool((row[count:] == -100).all())
                assert all(torch.equal(after[name], before[name]) for name in after if name != "labels")
                totals.add(int(kept.sum()))
        assert len(totals) > 5


def test_pairs_are_padded_to_the_longest_of_the_micro_batch_and_shifted(tmp_path: Path, pairs_folder: Folder) -> None:
    folder = pairs_folder(tmp_path / "pairs", [([0, 10, 2], [0, 20, 21, 2]), ([0, 11, 12, 13, 2], [0, 22, 2])])
    loader = Loader(folder, settings(batch=2, micro_batch=2), seed=0, start_token=2)
    ((rows, batch),) = list(loader.validation_batches(2, 100, 0, 1))
    assert rows == range(2)
    assert batch["input_ids"].tolist() == [[0, 10, 2, 1, 1], [0, 11, 12, 13, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[0, 20, 21, 2], [0, 22, 2, -100]]
    assert batch["decoder_input_ids"].tolist() == [[2, 0, 20, 21], [2, 0, 22, 1]]
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def test_long_pairs_are_cut_and_keep_their_end(tmp_path: Path, pairs_folder: Folder) -> None:
    folder = pairs_folder(tmp_path / "pairs", [([0, *range(10, 60), 2], [0, *range(60, 90), 2])])
    loader = Loader(folder, settings(batch=1, micro_batch=1, source_length=5, target_length=4), 0, start_token=2)
    (batch,) = loader.micro_batches(1, 0, 1)
    assert batch["input_ids"].tolist() == [[0, 10, 11, 12, 2]]
    assert batch["labels"].tolist() == [[0, 60, 61, 2]]


def test_without_an_encoder_a_pair_is_one_text_whose_target_alone_is_predicted(
    tmp_path: Path, pairs_folder: Folder
) -> None:
    folder = pairs_folder(tmp_path / "pairs", [([0, 10, 11, 2], [0, 20, 21, 2]), ([0, 12, 13, 14, 2], [0, 22, 2])])
    loader = Loader(folder, settings(batch=2, micro_batch=2, source_length=2), seed=0)
    ((rows, batch),) = list(loader.validation_batches(2, 100, 0, 1))
    assert rows == range(2)
    # end-of-text 3, the source without what frames it and cut to 2 tokens, the separator 8 9, the target
    assert batch["input_ids"].tolist() == [[3, 10, 11, 8, 9, 20, 21], [3, 12, 13, 8, 9, 22, 1]]
    assert batch["labels"].tolist() == [[*[-100] * 4, 20, 21, 3], [*[-100] * 4, 22, 3, -100]]
    assert batch.keys() == {"input_ids", "labels"}
    assert [loader._rows.count_predicted(row) for row in (0, 1)] == [3, 2]
    short = Loader(folder, settings(batch=2, micro_batch=2, target_length=2), seed=0)
    ((_, batch),) = list(short.validation_batches(2, 100, 0, 1))
    assert [label for label in batch["labels"][0].tolist() if label >= 0] == [20, 3]


@pytest.mark.parametrize("order", ["random", "sortish"])
def test_positions_of_joined_pairs_are_counted_as_batches_have_them(conversations: Path, order: str) -> None:
    loader = Loader(conversations, settings(order=order, source_length=40, target_length=6), seed=1, unequal=True)
    for step in (1, 32):
        batches = loader.micro_batches(step, 0, 1)
        computed = sum(batch["input_ids"].numel() for batch in batches)
        needed = sum(int((batch["input_ids"] != 1).sum()) for batch in batches)  # the padding is 1, and nothing else
        assert loader.count_positions(step, 1) == (computed, computed - needed)
        kept = torch.cat([(batch["labels"] != -100).sum(1) for batch in batches])
        assert bool((kept >= 1).all())


@pytest.mark.parametrize("limit", [1, 200, 330, 10**9])
@pytest.mark.parametrize("kind", ["text", "pairs"])
def test_validation_is_the_same_tokens_for_any_number_of_processes(
    text: Path, dialogues: Path, kind: str, limit: int
) -> None:
    loader = Loader(text if kind == "text" else dialogues, settings(batch=10**6), seed=1, start_token=2)
    alone = list(loader.validation_batches(3, limit, 0, 1))
    count = loader.count_validation_rows(limit)
    assert [row for rows, _ in alone for row in rows] == list(range(count))
    assert all(len(rows) == len(batch["labels"]) for rows, batch in alone)
    predicted = sum(int((batch["labels"] != -100).sum()) for _, batch in alone)
    assert predicted <= limit or count == 1
    for world in (2, 3):
        ranks = [list(loader.validation_batches(3, limit, rank, world)) for rank in range(world)]
        assert len({len(batches) for batches in ranks}) == 1
        together = [batch for place in zip(*ranks, strict=True) for batch in place]
        assert [rows for rows, _ in together[: len(alone)]] == [rows for rows, _ in alone]
        assert equal([batch for _, batch in together[: len(alone)]], [batch for _, batch in alone])
        blanks = together[len(alone) :]
        assert all(not rows and bool((batch["labels"] == -100).all()) for rows, batch in blanks)


def test_steps_follow_from_steps_tokens_or_epochs() -> None:
    assert count_steps(settings(), 100) == 10
    published = {"batch": None, "micro_batch": None, "steps": None, "batch_tokens": 524_288, "sequence_length": 1024}
    assert count_steps(settings(**published, tokens=10_000_000_000), 10**7) == 19_073
    assert count_steps(settings(steps=None, epochs=3, batch=128), 14_732) == 346
    assert count_steps(settings(steps=None, epochs=0.5, batch=10), 100) == 5
    assert count_steps(settings(steps=None, epochs=0.1, batch=10), 1000) == 10


@pytest.mark.parametrize(
    ("changed", "world", "message"),
    [
        ({"batch": 9}, 2, "can't be shared equally by 2"),
        ({"batch": 8, "micro_batch": 3}, 1, "3 doesn't divide a process's share of 8"),
        ({"batch": 126, "micro_batch": None}, 1, "contains 124 rows, fewer than one step of 126"),
        ({"batch": None, "batch_tokens": 100}, 1, "100 is not a multiple of sequence_length, 32; make it 96 or 128"),
        ({"sequence_length": 4000}, 1, "less than one window"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(text: Path, changed: dict[str, Any], world: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Loader(text, settings(**changed), seed=1).micro_batches(1, 0, world)


def test_lengths_in_tokens_are_refused_for_pairs(dialogues: Path) -> None:
    with pytest.raises(InputError, match="give `batch`"):
        Loader(dialogues, settings(batch=None, batch_tokens=64), seed=1, start_token=2)
    with pytest.raises(InputError, match="give `steps` or `epochs`"):
        _ = Loader(dialogues, settings(steps=None, tokens=640), seed=1, start_token=2).steps


def test_damaged_pairs_name_their_file(dialogues: Path) -> None:
    path = dialogues / "pairs.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"pairs\.parquet"):
        Loader(dialogues, settings(), seed=1, start_token=2)
