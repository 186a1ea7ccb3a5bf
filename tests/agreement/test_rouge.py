"""ROUGE is that of rouge_score to the last digit, with and without its stemmer, on texts with a sentence a line."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rouge_score.rouge_scorer import RougeScorer

from trainyard.config.catalogue import BytesTokenizer, Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.core.files import read_json
from trainyard.data import tinyworld
from trainyard.data.tokenizers import make_tokenizer
from trainyard.evaluate.rouge import sentences
from trainyard.evaluate.run import run
from trainyard.models.build import build
from trainyard.models.export import export

from .conftest import CONFIG, NAMES, Row, write_parquet

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
PREDICTION = "Two cats were fed. Ada walks to a mill."
TARGET = "Ada walked to the mill. She feeds two cats."


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bart")
    entry = parse_entries(Model, CONFIG / "models.yaml")["bart-tiny"]
    make_tokenizer("bytes", BytesTokenizer(title="Bytes", kind="bytes", vocabulary=260), folder / "tokenizer")
    export(entry, build(entry, "bart-tiny", seed=1).state_dict(), folder / "best", folder / "tokenizer")
    return folder / "best"


def ours(bart: Path, pairs: list[Row], folder: Path, stemmer: bool) -> tuple[dict[str, Any], list[Row]]:
    """The result and the items: of what the model generates, and of the source's first three sentences as summary."""
    settings = {"stemmer": stemmer, "beams": 1, "max_length": 20, "source_length": 64, "resamples": 10}
    run("rouge", bart, write_parquet(pairs, folder / "rows.parquet"), settings, folder / "ours.json", NAMES)
    return read_json(folder / "ours.json"), pq.read_table(folder / "ours.parquet").to_pylist()


@pytest.mark.parametrize("stemmer", [True, False])
def test_figures_are_rouge_score_s_to_the_last_digit(bart: Path, tmp_path: Path, stemmer: bool) -> None:
    pairs = list(tinyworld.rows("dialogues", "test", 20, 1))
    pairs += [{"id": "golden", "source": PREDICTION, "target": TARGET}]
    result, items = ours(bart, pairs, tmp_path, stemmer)
    scorer = RougeScorer(list(KINDS), use_stemmer=stemmer)

    def theirs(text: str, target: str) -> list[float]:
        found = scorer.score("\n".join(sentences(target)), "\n".join(sentences(text)))
        return [100 * found[kind].fmeasure for kind in KINDS]

    lead = [theirs("\n".join(sentences(pair["source"])[:3]), pair["target"]) for pair in pairs]
    generated = [theirs(item["prediction"], item["target"]) for item in items]
    assert [[item[f"lead3_{kind}"] for kind in KINDS] for item in items] == lead
    assert [[item[kind] for kind in KINDS] for item in items] == generated
    for kind, mean in zip(KINDS, np.mean(lead, axis=0), strict=True):
        assert result["baselines"]["lead3"][kind]["value"] == mean
    assert result["settings"]["stemmer"] is stemmer


@pytest.mark.parametrize(
    ("stemmer", "expected"),
    [
        # Nine words and eight pairs on either side. In common: two, cats, ada, to, mill; "two cats".
        # In one order: ada to mill. Sentence by sentence: ada to mill, and two cats.
        (False, [5 / 9, 1 / 8, 3 / 9, 5 / 9]),
        # Walks and walked are walk besides, so "ada walk" and "walk to" too. Fed, of three letters, isn't stemmed.
        (True, [6 / 9, 3 / 8, 4 / 9, 6 / 9]),
    ],
)
def test_l_and_lsum_differ_where_sentences_change_places(
    bart: Path, tmp_path: Path, stemmer: bool, expected: list[float]
) -> None:
    _, (item,) = ours(bart, [{"id": "golden", "source": PREDICTION, "target": TARGET}], tmp_path, stemmer)
    assert [item[f"lead3_{kind}"] for kind in KINDS] == pytest.approx([100 * share for share in expected])
