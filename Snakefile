# Trainyard: from datasets to a report. `snakemake --cores all` runs the studies that config/config.yaml names.
from snakemake.utils import min_version

min_version("9.27.1")


configfile: "config/config.yaml"


report: "report/workflow.rst"


onstart:
    from trainyard.unlock import note

    note(Path.cwd())


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/measure.smk"
include: "rules/evaluate.smk"
include: "rules/figures.smk"
include: "rules/tables.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        [product for study in PLAN.studies for product in JOBS.report(study)],
        expand("results/{study}/outcomes.txt", study=PLAN.studies),
    message:
        f"Complete: {', '.join(PLAN.studies)}"
