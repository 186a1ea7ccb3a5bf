"""What editors and readers see of the typed models is up to date."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from trainyard.tools.config_reference import page
from trainyard.tools.json_schema import KINDS, schema

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", KINDS)
def test_the_committed_schema_is_that_of_the_models(name: str) -> None:
    committed = json.loads((ROOT / "config" / "schema" / f"{name}.schema.json").read_text())
    assert committed == json.loads(json.dumps(schema(KINDS[name]))), "run `make schema`"


def test_the_reference_page_is_that_of_the_models() -> None:
    assert (ROOT / "docs" / "reference" / "configuration.md").read_text() == page(), "run `make schema`"


@pytest.mark.parametrize("file", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_fits_its_schema_and_names_it(file: Path) -> None:
    first = next(line for line in file.read_text().splitlines() if "$schema=" in line)
    place = (file.parent / first.partition("$schema=")[2].strip()).resolve()
    jsonschema.validate(yaml.safe_load(file.read_text()), json.loads(place.read_text()))
