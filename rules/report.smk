# What is read first and last of each study's report: the overview that answers its question, and texts.


rule samples:
    input:
        unpack(
            JOBS.reads(
                runs="trainings",
                texts="texts",
                written="texts_items",
                rows="texts_rows",
            )
        ),
    output:
        page=shown("samples.html", "samples", "Evaluation", "samples", "page"),
    log:
        "logs/{study}/report/samples.log",
    benchmark:
        "logs/{study}/report/samples.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        study=JOBS.study,
        code=report_code("samples"),
    message:
        "Show the samples of {wildcards.study}"
    script:
        "../workflow/scripts/samples.py"


rule overview:
    input:
        unpack(
            JOBS.reads(
                runs="trainings",
                metrics="metrics",
                validations="validations",
                evaluations="evaluations",
                scored="items",
                parity="parity",
                cells="cells",
                shortcuts="shortcuts",
                points="points",
                contamination="contamination",
                duplicates="duplicates",
                peaks="peaks",
                generations="generations",
                members="members",
            )
        ),
        figures=lambda wildcards: list(JOBS.figures(wildcards.study).values()),
    output:
        page=shown("overview.html", "overview", "Overview", "overview", "page"),
    log:
        "logs/{study}/report/overview.log",
    benchmark:
        "logs/{study}/report/overview.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        titles=lambda wildcards: list(JOBS.figures(wildcards.study)),
        study=JOBS.study,
        models=JOBS.study_models,
        energy=JOBS.energy,
        code=report_code("overview"),
    message:
        "Write the overview of {wildcards.study}"
    script:
        "../workflow/scripts/overview.py"


rule model_cards:
    input:
        unpack(JOBS.reads(runs="trainings", evaluations="by_step")),
    output:
        cards=directory("results/{study}/report/model-cards"),
    log:
        "logs/{study}/report/model-cards.log",
    benchmark:
        "logs/{study}/report/model-cards.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        study=JOBS.study,
        energy=JOBS.energy,
        code=report_code("model_cards"),
    message:
        "Write the model cards of {wildcards.study}"
    script:
        "../workflow/scripts/model_cards.py"


# the last of a study: its report is there whatever this says
rule outcomes:
    input:
        rows=JOBS.rows,
        # for the order alone: another figure is another outcome of no row
        report=lambda wildcards: [
            ancient(page) for page in JOBS.report(wildcards.study)
        ],
    output:
        outcomes="results/{study}/outcomes.txt",
    log:
        "logs/{study}/outcomes.log",
    benchmark:
        "logs/{study}/outcomes.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code_hash("trainyard.report.results.outcomes"),
    message:
        "Check how the rows of {wildcards.study} ended"
    script:
        "../workflow/scripts/outcomes.py"
