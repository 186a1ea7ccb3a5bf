"""One whole run of a study whose every text means harm, with secrets in its environment."""

import pytest
import yaml
from hostile_study import CURRENCY, SECRETS, STUDY, TITLE, write_sources
from repository import Repository


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository after Snakemake has run the study and made its report."""
    made = Repository(tmp_path_factory.mktemp("hostile") / "trainyard")
    sources = write_sources(made.folder)
    for name, more in (("datasets", sources), ("models", {}), ("parallel", {})):
        path = made.folder / "config" / f"{name}.yaml"
        entries = yaml.safe_load(path.read_text()) | more
        for entry in ("gpt2-tiny", "single"):
            if entry in entries:
                entries[entry]["title"] = TITLE
        path.write_text(yaml.safe_dump(entries))
    settings = yaml.safe_load((made.folder / "config/config.yaml").read_text())
    settings |= {"device": "cpu", "prices": {"currency": CURRENCY, "cpu": 1.0}}
    (made.folder / "config/config.yaml").write_text(yaml.safe_dump(settings))
    made.write_study("hostile", STUDY)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        made.snakemake("--config", "studies=hostile")
        made.snakemake("--report", "report.html", "--config", "studies=hostile")
    return made
