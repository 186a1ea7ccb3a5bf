"""The run that a search ends in."""

from pathlib import Path

from trainings import make_specification, write_small_text

from trainyard.core.files import read_json, write_json
from trainyard.tune.winner import write_winner


def test_where_no_member_finished_it_is_a_row_that_says_so(tmp_path: Path) -> None:
    ends = [("diverged", "too fast"), ("out-of-memory", "too large"), ("diverged", "faster")]
    slots = [{"slot": slot, "parent": None, "hyperparameters": {"learning_rate": 1.0}} for slot in (1, 2, 3)]
    generation = tmp_path / "generation1.json"
    write_json(generation, {"until": 5, "slots": slots})
    summaries = [tmp_path / f"member-{slot}" / "summary.json" for slot in (1, 2, 3)]
    for file, (outcome, reason) in zip(summaries, ends, strict=True):
        write_json(file, {"outcome": outcome, "reason": reason, "validation_loss": None})
    specification = make_specification(write_small_text(tmp_path / "data"))
    output = tmp_path / "winner"
    write_winner(specification | {"search": {"name": "rate"}}, [generation], summaries, output)
    summary = read_json(output / "summary.json")
    assert (summary["outcome"], summary["reason"]) == ("diverged", "no member of the search has finished: too fast")
    assert summary["models"] == []
    assert (output / "models" / "NONE.txt").is_file()
    assert (output / "validation.parquet").is_file()
