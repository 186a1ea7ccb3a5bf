"""What generation took is timed beside the scores, and adds up over batches, kills and processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from trainyard.evaluate.generation_speed import TimedBatch, combine, count_generated
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run

Write = Callable[..., Path]
END, PAD = 2, 1
PAIRS = [{"id": str(row), "source": "A man sits on a roof. " * (1 + row % 3), "target": "A man."} for row in range(6)]


def evaluate(folder: Path, rows: Path, names: Names, work: Path | None = None, **settings: Any) -> dict[str, Any]:
    output = rows.with_name("out.json")
    given = {"source_length": 40, "max_length": 12, "resamples": 50, "batch": 2, **settings}
    run("rouge", folder, rows, given, output, names, work)
    return json.loads(output.read_text(encoding="utf-8"))


def test_generated_tokens_end_with_the_end_token_and_the_given_one_is_none() -> None:
    assert count_generated([END, 0, 7, 8, END, PAD, PAD], [END]) == 4
    assert count_generated([END, 7, 8, 9], [END]) == 3
    assert count_generated([5, 7, 9, 9], [END, 9]) == 2
    assert count_generated([END, END, PAD, PAD], [END]) == 1


def test_rates_are_of_all_processes_at_work_and_leave_the_first_batches_out() -> None:
    first, other = TimedBatch(4, 40, 80, 20, 9.0, is_first=True), TimedBatch(4, 50, 60, 10, 2.0)
    found = combine([(2, [first, other]), (2, [first, other])])
    assert found is not None
    assert (found["rows_per_second"], found["tokens_per_second"]) == (4.0, 50.0)  # 2 and 25 of each process
    assert (found["timed_rows"], found["timed_tokens"], found["timed_seconds"]) == (8, 100, 2.0)
    assert (found["source_positions"], found["source_padding"]) == (280, 60)
    assert found["left_out"].startswith("2 of 4 batches: the first batch of each process")


def test_seconds_of_another_number_of_processes_count_by_theirs() -> None:
    batch = TimedBatch(4, 40, 80, 20, 2.0)
    found = combine([(1, [batch]), (4, [batch])])
    assert found is not None
    assert found["timed_seconds"] == 2.0 + 0.5


def test_without_a_second_batch_there_is_no_rate() -> None:
    found = combine([(1, [TimedBatch(4, 40, 80, 20, 9.0, is_first=True)])])
    assert found is not None
    assert (found["rows_per_second"], found["batches"]) == (None, 0)
    assert combine([]) is None


@pytest.mark.parametrize("folder", ["bart_folder", "t5_folder", "causal_folder"])
def test_an_evaluation_says_how_many_rows_tokens_and_paddings_it_timed(
    folder: str, write_rows: Write, names: Names, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(folder)
    settings: dict[str, Any] = {"source_length": 30, "min_length": 4}
    found = evaluate(model, write_rows(PAIRS), names, **settings)["generation"]
    assert (found["timed_rows"], found["batches"]) == (4, 2)
    assert 4 * 3 <= found["timed_tokens"] <= 4 * 11
    assert found["rows_per_second"] == 4 / found["timed_seconds"]
    assert found["timing"] == "shared"
    alone = evaluate(model, write_rows(PAIRS), names, **settings, batch=1)["generation"]
    assert (alone["timed_rows"], alone["source_padding"]) == (5, 0)


def test_padding_is_that_of_the_batches_as_they_were_padded(bart_folder: Path, write_rows: Write, names: Names) -> None:
    lengths = sorted(len(AutoTokenizer.from_pretrained(bart_folder)(pair["source"])["input_ids"]) for pair in PAIRS)
    found = evaluate(bart_folder, write_rows(PAIRS), names, batch=6, source_length=60)["generation"]
    assert found["source_positions"] == 6 * lengths[-1]
    assert found["source_padding"] == 6 * lengths[-1] - sum(lengths)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a block."""
    monkeypatch.setattr("trainyard.evaluate.rows.CHARACTERS", 60)


def test_what_a_killed_evaluation_had_timed_adds_up_with_the_rest(
    bart_folder: Path,
    write_rows: Write,
    names: Names,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_blocks: None,
) -> None:
    path, work = write_rows(PAIRS), tmp_path / "work/a-key"
    undisturbed = evaluate(bart_folder, path, names)

    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("trainyard.evaluate.run.write_result", fail)
        with pytest.raises(RuntimeError, match="killed"):
            evaluate(bart_folder, path, names, work)
    blocks = sorted(file.stem for file in work.glob("*.parquet"))
    assert len(blocks) > 2
    assert sorted(file.stem for file in work.glob("*.json")) == blocks
    last = work / f"{blocks[-1]}.parquet"
    last.unlink()  # as if it had been killed in the last block
    before = [json.loads((work / f"{name}.json").read_text())["batches"] for name in blocks[:-1]]
    seconds = sum(batch["seconds"] for batches in before for batch in batches if not batch["is_first"])
    resumed = evaluate(bart_folder, path, names, work)
    found = resumed.pop("generation")
    assert found["timed_seconds"] == pytest.approx(seconds)  # the last block's one batch is its process's first
    assert found["left_out"].startswith(f"2 of {len(blocks)} batches")
    assert undisturbed.pop("generation")["left_out"].startswith(f"1 of {len(blocks)} batches")
    assert resumed == undisturbed


@pytest.mark.slow
def test_several_processes_give_the_same_scores_and_their_rates_add_up(
    bart_folder: Path, write_rows: Write, names: Names
) -> None:
    path = write_rows([{**pair, "source": pair["source"] * 600} for pair in PAIRS])
    alone, together = (evaluate(bart_folder, path, names, processes=processes, batch=1) for processes in (1, 2))
    items = pq.read_table(path.with_name("out.parquet"))
    assert items["row"].to_pylist() == list(range(len(PAIRS)))
    one, two = alone.pop("generation"), together.pop("generation")
    assert alone == together
    assert two["left_out"].startswith("2 of ")
    assert (one["timed_rows"], two["timed_rows"]) == (5, 4)
    assert two["rows_per_second"] == 4 / two["timed_seconds"]
