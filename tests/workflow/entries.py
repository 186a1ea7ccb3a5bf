"""Prints what each job of some studies runs: `python entries.py STUDY...` in a folder with the workflow's files.

One JSON list of `[environment, script, modules]`, where the modules are those whose code
the job's hash is of: its library function, and what it starts or loads by name.
"""

import json
import sys
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

sys.path.insert(0, "src")

from trainyard.plan import code_hash, jobs


def names(*modules: str) -> str:
    """What is in the rules' parameters in place of the hash."""
    return f"{' '.join(modules)} "


code_hash.code_hash = jobs.code_hash = names
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(cores=2),
        config_settings=ConfigSettings(config={"studies": ",".join(sys.argv[1:])}),
        snakefile=Path("Snakefile"),
    )
    workflow.dag(DAGSettings(forceall=True)).execute_workflow(executor="dryrun")
    dag: Any = workflow._workflow.dag  # its only way to the jobs
    found = {
        (Path(job.conda_env_spec.file.path).stem, Path(job.rule.script).stem, str(job.params.code))
        for job in dag.jobs
        if job.rule.script
    }
print(json.dumps([[environment, script, text.split()] for environment, script, text in sorted(found)]))
