"""The page of texts: side by side, with how they were made, and nothing in them that a browser would run."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.report.pages import samples

HOSTILE = "<script>alert('x')</script> &"
SETTINGS: dict[str, Any] = {"prompt_words": 3, "new_tokens": 9, "temperature": 0.0, "seed": 7}
BEAMS: dict[str, Any] = {"beams": 4, "min_length": 0, "max_length": 32}


def add_texts(results, run, metric, items, dataset="tinyworld", why=f"diverged {HOSTILE}", **settings):
    """An evaluation whose items are texts; no items, and why there are none: no model by default."""
    reason = None if items else why
    path = results.add_evaluation(run, metric, None, dataset=dataset, reason=reason, settings=settings, n=len(items))
    pq.write_table(pa.Table.from_pylist(items), path.with_suffix(".parquet"))
    results.texts.append(path)
    results.rows.append(results.root / "results" / "data" / dataset / "rows" / "test.parquet")


def continued(row, prediction, target=" went home"):
    item = {"row": row, "prompt": f"Ada & {row}", "prediction": prediction, "target": target}
    return item | {"prompt_tokens": 4, "new_tokens": 9}


@pytest.fixture
def written(empty):
    """Two models that continued the same two documents, a third that left no model, and one that summarised."""
    empty.texts, empty.rows = [], []
    empty.add_run("large")
    empty.add_run("small", model="gpt2-250k")
    empty.add_run("gone", model="gpt2-500k", outcome="diverged", reason="loss")
    empty.add_run("bart", model="bart-tiny", dataset="dialogues")
    add_texts(empty, "large", "samples", [continued(2, f" is {HOSTILE}"), continued(5, " sleeps")], **SETTINGS)
    add_texts(empty, "small", "samples", [continued(2, "  "), continued(5, "\x00\x1b[2J ran")], **SETTINGS)
    add_texts(empty, "gone", "samples", [], **SETTINGS)
    items = [
        {"row": row, "prediction": f"Summary {row}", "target": f"Truth {row}", "rougeL": 41.25} for row in range(6)
    ]
    add_texts(empty, "bart", "rouge", items, dataset="dialogues", **BEAMS)
    pq.write_table(pa.table({"source": [f"Line {row} {HOSTILE}\nand more" for row in range(9)]}), empty.rows[-1])
    return empty


def page(results):
    out = results.root / "samples.html"
    samples.write(results.study, runs=results.runs, texts=results.texts, rows=results.rows, output=out)
    return out.read_text()


def test_models_stand_side_by_side_with_the_reference(written):
    text = page(written)
    assert text.index("Ada &amp; 2") < text.index("went home") < text.index("gpt2-1m") < text.index("gpt2-250k")
    assert text.count("Ada &amp; 2") == 1
    for part in ("row 2", "row 5", "sleeps", "best, step 400, 9 tokens", "the document goes on"):
        assert part in text


def test_a_summary_stands_beside_its_source_and_the_data_s_own(written):
    text = page(written)
    for part in (
        "Line 3 ",
        "Truth 3",
        "Summary 3",
        "ROUGE-L 41.2",
        "beam search with 4 beams",
        "of 6 that were scored",
    ):
        assert part in text
    assert "Summary 4" not in text  # the first rows are enough to read


def test_nothing_that_was_written_can_run(written):
    text = page(written)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text
    assert text.count("<script>") == 1  # our own
    assert not {"\x00", "\x1b"} & set(text)
    assert "\N{REPLACEMENT CHARACTER}" in text


def test_the_page_needs_no_other_file(written):
    text = page(written)
    assert not any(part in text for part in ("src=", "<link", "@import", "http://", "https://"))


def test_how_texts_were_made_stands_above_them(written):
    assert "The first 3 words of a document, continued for at most 9 tokens, always the likeliest." in page(written)
    for path in written.texts:
        path.write_text(path.read_text().replace('"temperature": 0.0', '"temperature": 0.8'))
    assert "at most 9 tokens, drawn at temperature 0.80 with seed 7." in page(written)


def test_a_run_without_a_model_and_a_model_without_words_are_said_so(written):
    text = page(written)
    assert "diverged &lt;script&gt;" in text
    assert ">no model</p>" in text
    assert ">nothing</p>" in text


def test_a_study_without_texts_says_so(empty):
    empty.texts, empty.rows = [], []
    assert "This study has no texts to read." in page(empty)


def test_a_page_without_samples_says_why(written):
    why = "none of the first 9 rows continues after 16 words; make prompt_words smaller"
    written.texts.clear()
    add_texts(written, "large", "samples", [], why=why, **SETTINGS)
    assert f"No model of this evaluation wrote anything: gpt2-1m: {why}." in page(written)
