# Shared by all: the plan that configuration makes, and what jobs ask of it.
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

ROOT = Path(workflow.current_basedir).parent
sys.path.insert(0, str(ROOT / "src"))

from trainyard.plan.code_hash import code_hash, files_hash
from trainyard.plan.jobs import Dag
from trainyard.plan.report import FIGURES, TABLES
from trainyard.plan.configuration import make_plan
from trainyard.core.errors import InputError, shorten
from trainyard.hardware.gpus import find_gpus
from trainyard.plan.preflight import warn_of_memory, host_memory
from trainyard.core.repository import explain_unknown_commit

CONDA = "conda" in {
    str(method.value) for method in workflow.deployment_settings.deployment_method
}
# where the user calls Snakemake, which is told of nodes (--jobs) for a cluster alone, and in its jobs on the nodes
TOLD = workflow.resource_settings
ON_CLUSTER = TOLD.nodes is not None or workflow.remote_exec


def place_of(key):
    """Where a key of the configuration was given."""
    if workflow.modifier.skip_configfile and key not in config:
        return "the module's config"
    if key in workflow.config_settings.config:
        return "--config"
    given = reversed(list(workflow.config_settings.configfiles))
    for file in (*given, *workflow.configfiles):
        if key in load_configfile(file):
            return str(file)
    return "config/config.yaml"


try:
    PLAN = make_plan(config, Path("config"), place_of)
    JOBS = Dag(PLAN, ROOT / "envs", CONDA, ON_CLUSTER, host_memory)
except InputError as error:
    raise WorkflowError(str(error))

# jobs read these from here, where `none` would be the name of a folder, or of a way to resume
config["mirror"] = PLAN.config.mirror
config["resume"] = PLAN.config.resume

TEMPLATES = files_hash(ROOT / "src/trainyard/report/render/templates")

if (
    PLAN.config.device == "auto"
    and ON_CLUSTER
    and (TOLD.cores is None or workflow.remote_exec)
):
    raise WorkflowError(
        "device: auto looks at this machine, and jobs run on a cluster's: name it, --config device=cuda (or device=cpu)"
    )

if workflow.is_main_process and (reason := explain_unknown_commit()):
    logger.warning(f"no record will name the commit of the code: {reason}")

if workflow.is_main_process and not ON_CLUSTER:
    for line in shorten(JOBS.warnings(), "more can't be done here"):
        logger.warning(line)
    for line in shorten(
        warn_of_memory(JOBS.runnable()), "more need more memory than there is"
    ):
        logger.warning(line)

if workflow.is_main_process and workflow.output_settings.dryrun:
    # its statistics take a second to import
    from trainyard.plan.costs import describe_costs
    from trainyard.plan.power import describe_power

    for study in PLAN.studies.values():
        costs = describe_costs(study, PLAN.config, JOBS.why_unsupported)
        for text in [*describe_power(study), *costs]:
            logger.info(text)

# As many jobs at once as the machine's GPUs are for. A cluster has its own idea of them: it is asked by gres, and
# this resource, whose name it doesn't know, counts inside one of its jobs alone.
if (here := find_gpus()) is not None:
    workflow.register_resource("slots", len(here))


resource_scopes:
    slots="local",


# plain values on the CPU: Snakemake takes its time over a thousand functions
ON_GPUS = PLAN.machine.device == "cuda"
SLOTS, GRES = (JOBS.slots, JOBS.gres) if ON_GPUS else (0, "")
NODES, MPI = (JOBS.nodes, JOBS.mpi) if JOBS.over_nodes else (None, None)
# 1 in a job of a cluster that Snakemake has submitted, and submits again when it fails
SUBMITTED = int(workflow.remote_exec)


wildcard_constraints:
    study="[^/@]+",
    run="[^/@]+",
    dataset="[^/@]+",
    training="[^/@]+",
    tokenizer="[^/@]+",
    model="[^/@]+",
    split="train|validation|test",
    evaluation="[^/@]+",
    checkpoint="[^/@]+",
    cell="[^/@]+",


def every_core():
    """All cores of the machine; `--report` and `--lint` know of none."""
    try:
        return workflow.cores
    except WorkflowError:
        return 1


def check_report(pages):
    """`--report` of results that aren't there: Snakemake itself names one file of them, and no way out."""
    options = {word.partition("=")[0] for word in sys.argv}
    missing = [page for page in pages if not Path(page).exists()]
    if "--report" in options and "--report-after-run" not in options and missing:
        raise WorkflowError(
            f"{missing[0]}: no such file yet; before --report run the study: "
            f"snakemake --cores all --config studies={','.join(PLAN.studies)}"
        )


def shown(name, caption, subcategory, product, form):
    """A file of a study's report, with its caption and its place there."""
    return report(
        f"results/{{study}}/report/{name}",
        caption=f"../report/{caption}.rst",
        category="{study}",
        subcategory=subcategory,
        labels={"product": product, "form": form},
    )


def report_files(product):
    """The files of a figure or a table, by the names of the rule's outputs."""
    return {
        output: shown(name, product.module, product.subcategory, title, form)
        for output, (name, title, form) in product.files.items()
    }


def report_code(module):
    return (
        code_hash(f"trainyard.report.pages.{module}", "trainyard.report.inputs")
        + TEMPLATES
    )
