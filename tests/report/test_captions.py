from pathlib import Path
from types import SimpleNamespace

import docutils.core
import jinja2
import pytest

FOLDER = Path(__file__).parents[2] / "report"


@pytest.mark.parametrize("caption", sorted(path.stem for path in FOLDER.glob("*.rst")))
def test_a_caption_is_valid_and_names_its_study(caption):
    template = jinja2.Environment(autoescape=False).from_string((FOLDER / f"{caption}.rst").read_text())
    text = template.render(snakemake=SimpleNamespace(wildcards=SimpleNamespace(study="demo")))
    body = docutils.core.publish_parts(text, writer="html", settings_overrides={"halt_level": 2}).get("body", "")
    assert caption == "workflow" or "demo" in body
