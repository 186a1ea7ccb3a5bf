# What the other rule files share: the plan that configuration makes, and what rules depend on.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.current_basedir).parent
sys.path.insert(0, str(ROOT / "src"))

from trainyard.config.code import code_hash, files_hash
from trainyard.config.machine import pins, unsupported
from trainyard.config.plan import make_plan
from trainyard.config.resources import megabytes, minutes
from trainyard.errors import InputError

try:
    PLAN = make_plan(config, Path("config"))
except InputError as error:
    raise WorkflowError(str(error))

CATALOGUES = PLAN.catalogues
CUDA = PLAN.machine.device == "cuda"


wildcard_constraints:
    study="[^/@]+",
    run="[^/@]+",
    dataset="[^/@]+",
    tokenizer="[^/@]+",
    model="[^/@]+",
    split="train|validation|test",
    evaluation="[^/@]+",
    checkpoint="[^/@]+",


def run_of(wildcards):
    return PLAN.studies[wildcards.study].runs[wildcards.run]


def environment(stage):
    return str(ROOT / "envs" / f"{stage}.yaml")


def conda_pins(stage):
    """The pins of a conda environment where conda is on, else None: then this interpreter's packages count."""
    on = "conda" in {str(method.value) for method in workflow.deployment_settings.deployment_method}
    return pins(Path(environment(stage))) if on else None
