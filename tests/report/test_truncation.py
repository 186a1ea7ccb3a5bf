"""What was cut or left out of an evaluation is below the comparison, and what is scored on less doesn't compete."""

from typing import Any

from trainyard.report.pages import contamination, differences
from trainyard.report.pages.comparison import compare
from trainyard.report.pages.key_figures import make_cards
from trainyard.report.render.html import find_best_cells
from trainyard.report.results.contamination import describe_overlaps, read_overlaps
from trainyard.report.results.runs import read_evaluations, read_runs

from .reading import csv_rows, evidence_of, sentences
from .sample_results import write

ENDINGS = {"protocol": "harness", "shots": 5}


def compared(results: Any) -> Any:
    return compare(results.study, read_runs(results.runs), read_evaluations(results.evaluations), [])


def test_the_comparison_says_how_many_contexts_were_cut_and_by_how_much(empty: Any) -> None:
    empty.add_run("a")
    lost = ENDINGS | {"cut_contexts": 12, "cut_context_tokens": 340}
    empty.add_evaluation("a", "hellaswag", {"acc": (0.5, 0.01), "acc_norm": (0.5, 0.01)}, n=100, settings=lost)
    place = "tinyworld-endings test, harness, 5-shot"
    said = f"Contexts that lost their left end to fit the model ({place}): gpt2-1m 12 of 100 (340 tokens)."
    assert said in compared(empty).notes


def test_the_comparison_says_how_many_tokens_are_unknown(empty: Any) -> None:
    empty.add_run("a")
    unknown = {"documents_with_unknown": 3, "unknown_tokens": 7}
    empty.add_evaluation("a", "perplexity", {"perplexity_word": (9.0, 0.1)}, n=20, settings=unknown)
    (said,) = [note for note in compared(empty).notes if note.startswith("Documents with unknown tokens")]
    assert said.endswith(": gpt2-1m 3 of 20 (7 tokens).")


def test_the_comparison_says_that_an_interval_over_few_rows_is_rough(empty: Any) -> None:
    empty.add_run("a", model="bart-tiny")
    values = dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), (44.0, 0.5))
    empty.add_evaluation("a", "rouge", values, n=49)
    empty.add_evaluation("a", "rouge", values, n=50, dataset="many")
    (said,) = [note for note in compared(empty).notes if "rough" in note]
    assert said.startswith("tinyworld-endings test has only 49 rows (fewer than 50), so intervals of ROUGE-L")


def test_nothing_is_said_where_nothing_was_cut(empty: Any) -> None:
    empty.add_run("a")
    empty.add_evaluation("a", "rouge", {"rouge1": (40.0, 1.0)}, settings={"cut_sources": 0, "unscored_targets": 0})
    assert not [note for note in compared(empty).notes if "fit" in note or "left out" in note]


def test_a_score_on_fewer_items_says_so_and_is_not_bold(empty: Any) -> None:
    for run, model in (("a", "gpt2-1m"), ("b", "gpt2-500k"), ("c", "gpt2-250k")):
        empty.add_run(run, model=model)
    paths = [
        empty.add_evaluation(run, "hellaswag", {"acc": (acc, 0.01), "acc_norm": (acc, 0.01)}, settings=ENDINGS)
        for run, acc in (("a", 0.9), ("b", 0.7), ("c", 0.5))
    ]
    raw = read_evaluations(paths[:1])[0].raw
    write(paths[0], raw | {"settings": raw["settings"] | {"unscored_items": 3}})
    table = compared(empty)
    first, second, _ = (
        cell for row in table.rows if not row.section for key, cell in row.cells.items() if key.endswith(":acc")
    )
    assert first.detail.endswith("3 left out")
    best, _ = find_best_cells(table)
    assert id(first) not in best
    assert id(second) in best


def without_words(results: Any, run: str, value: float) -> None:
    path = results.add_evaluation(
        run, "perplexity", {"perplexity_token": (9.0, 0.1), "perplexity_byte": (value, 0.01)}, dataset="zh"
    )
    raw = read_evaluations([path])[0].raw
    absent = {"value": None, "standard_error": None, "low": None, "high": None, "reason": "no space between words"}
    write(path, raw | {"values": raw["values"] | {"perplexity_word": absent}})


def test_a_perplexity_a_byte_is_told_where_there_are_no_words(empty: Any, outputs: dict[str, Any]) -> None:
    empty.add_run("a")
    empty.add_run("b", model="gpt2-500k")
    without_words(empty, "a", 2.5)
    without_words(empty, "b", 3.5)
    assert (
        "zh test, 2,000 documents: gpt2-1m has the lowest perplexity per byte: 2.500 ["
        in sentences(empty)["Perplexity"]
    )
    assert "perplexity per byte" in [card.title for card in make_cards(evidence_of(empty))]
    cells = [
        cell for row in compared(empty).rows for key, cell in row.cells.items() if key.endswith(":perplexity_word")
    ]
    assert [(cell.value, cell.tip) for cell in cells[:2]] == [(None, "no space between words")] * 2
    differences.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, **outputs)
    assert [row["score"] for row in csv_rows(outputs["numbers"])] == ["perplexity_byte", "validation_loss"]


def test_a_share_of_contaminated_items_that_is_not_known_says_why(empty: Any) -> None:
    empty.add_run("a")
    path = write(
        empty.root / "contamination/zh/quiz-test.json",
        {
            "training": "zh", "dataset": "quiz", "split": "test", "ngram": 13, "n": 6, "contaminated": 0, "share": None,
            "short": 6, "overlap": None, "reason": "every item is too short", "texts": "the document",
            "rows_sha256": "a", "training_sha256": "b", "training_rows": 3, "training_words": 70,
        },
    )  # fmt: skip
    overlaps = read_overlaps([path])
    assert describe_overlaps(overlaps) == [
        "Whether items of quiz test occur in the training data (zh) is not known: every item is too short."
    ]
    (row,) = contamination.shared_table(overlaps, [], read_runs(empty.runs)).rows
    assert (row.cells["share"].value, row.cells["share"].tip) == (None, "every item is too short")
