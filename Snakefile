# Trainyard: from datasets to a report. `snakemake --cores all` runs the studies that config/config.yaml names.
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27.1")

# Snakemake's own words for it name no way out
if not Path("config/datasets.yaml").is_file():
    raise WorkflowError(
        f"{Path.cwd()} has no config/datasets.yaml: call it with --directory {workflow.current_basedir}, "
        f"or copy {workflow.current_basedir}/config to here"
    )


configfile: "config/config.yaml"


report: "report/workflow.rst"


onstart:
    from trainyard.jobs.unlock import write_note

    write_note(Path.cwd())


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/tune.smk"
include: "rules/measure.smk"
include: "rules/evaluate.smk"
include: "rules/figures.smk"
include: "rules/tables.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        report=[product for study in PLAN.studies for product in JOBS.report(study)],
        outcomes=expand("results/{study}/outcomes.txt", study=PLAN.studies),
    message:
        f"Complete: {', '.join(PLAN.studies)}"


check_report(rules.all.input.report)
