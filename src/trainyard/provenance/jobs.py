"""The jobs of a study, as Snakemake plans them today."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

from trainyard.core.errors import InputError
from trainyard.core.job import Job
from trainyard.core.snakefile import find_snakefile


@dataclass(frozen=True)
class PlannedJob:
    """One job, done or not, and the rule that it is of."""

    rule: str
    job: Job

    @property
    def kind(self) -> str:
        """The rule; of the many that draw and tabulate just `report`."""
        return "report" if Path(self.job.log).parts[2] == "report" else self.rule


@dataclass(frozen=True)
class StudyJobs:
    """Every job of a study, those that make its data included, in the order of the rules.

    Attributes:
        config: config/config.yaml with what the command line changed.
    """

    study: str
    jobs: list[PlannedJob]
    config: dict[str, Any]


def study_jobs(study: str, config: Mapping[str, Any]) -> StudyJobs:
    """Ask Snakemake, in the working directory, for every job of a study, whether it has to run or not.

    Args:
        study: its name.
        config: what `--config` would change.

    Raises:
        InputError: the configuration can't be, or a file that no job makes is missing.
    """
    # else Snakemake would leave a folder of its own there
    if not Path("config").is_dir():
        raise InputError(f"{Path.cwd()} has no folder config: call this in the folder that the study ran in")
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as snakemake:
            snakemake_workflow = snakemake.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(config={**config, "studies": study}),
                snakefile=find_snakefile(Path()),
            )
            snakemake_workflow.dag(DAGSettings())
            workflow: Any = snakemake_workflow._workflow  # as the API's own summary does, which tells no parameters
            return _list_jobs(study, workflow)
    except WorkflowError as error:
        raise InputError(str(error)) from None


def _list_jobs(study: str, workflow: Any) -> StudyJobs:
    """The jobs of Snakemake's own object."""
    workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True)
    workflow.async_run(workflow.dag.init())
    order = {rule.name: number for number, rule in enumerate(workflow.rules)}
    jobs = [
        PlannedJob(job.rule.name, Job.from_snakemake(_Handed(job, workflow.config), job.rule.script))
        for job in workflow.dag.jobs
        if job.log
    ]
    jobs.sort(key=lambda each: (order[each.rule], each.job.log))
    return StudyJobs(study, jobs, dict(workflow.config))


class _Handed:
    """A planned job as its script would see it: as Snakemake has it, and with the configuration."""

    def __init__(self, planned: Any, config: Mapping[str, Any]) -> None:
        self.config = config
        self._planned = planned

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planned, name)
