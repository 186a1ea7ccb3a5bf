# The tables of each study's report.


rule comparison_table:
    input:
        unpack(
            JOBS.reads(
                runs="trainings",
                evaluations="evaluations",
                scored="items",
                parity="parity",
                contamination="contamination",
            )
        ),
    output:
        table=shown(
            "comparison.html", "comparison", "Overview", "comparison of runs", "table"
        ),
        numbers=shown(
            "comparison.csv", "comparison", "Overview", "comparison of runs", "numbers"
        ),
    log:
        "logs/{study}/report/comparison-table.log",
    benchmark:
        "logs/{study}/report/comparison-table.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        module="comparison",
        study=JOBS.study,
        code=report_code("comparison"),
    message:
        "Tabulate the report of {wildcards.study}: {rule}"
    script:
        "../workflow/scripts/table.py"


use rule comparison_table as differences_table with:
    input:
        unpack(JOBS.reads(runs="trainings", evaluations="evaluations", scored="items")),
    output:
        table=shown(
            "differences.html",
            "differences",
            "Evaluation",
            "paired differences",
            "table",
        ),
        numbers=shown(
            "differences.csv",
            "differences",
            "Evaluation",
            "paired differences",
            "numbers",
        ),
    log:
        "logs/{study}/report/differences-table.log",
    benchmark:
        "logs/{study}/report/differences-table.benchmark.jsonl"
    params:
        module="differences",
        study=JOBS.study,
        code=report_code("differences"),


use rule comparison_table as levels_table with:
    input:
        unpack(
            JOBS.reads(
                runs="trainings", evaluations="evaluations", shortcuts="shortcuts"
            )
        ),
    output:
        table=shown("levels.html", "levels", "Evaluation", "scores by level", "table"),
        numbers=shown(
            "levels.csv", "levels", "Evaluation", "scores by level", "numbers"
        ),
    log:
        "logs/{study}/report/levels-table.log",
    benchmark:
        "logs/{study}/report/levels-table.benchmark.jsonl"
    params:
        module="levels",
        study=JOBS.study,
        code=report_code("levels"),


use rule comparison_table as contamination_table with:
    input:
        unpack(
            JOBS.reads(
                runs="trainings",
                evaluations="evaluations",
                scored="items",
                contamination="contamination",
            )
        ),
    output:
        table=shown(
            "contamination.html",
            "contamination",
            "Evaluation",
            "contamination",
            "table",
        ),
        numbers=shown(
            "contamination.csv",
            "contamination",
            "Evaluation",
            "contamination",
            "numbers",
        ),
        scores=shown(
            "contamination-scores.csv",
            "contamination",
            "Evaluation",
            "contamination: scores",
            "numbers",
        ),
        affected=shown(
            "contamination-items.csv",
            "contamination",
            "Evaluation",
            "contamination: items",
            "numbers",
        ),
    log:
        "logs/{study}/report/contamination-table.log",
    benchmark:
        "logs/{study}/report/contamination-table.benchmark.jsonl"
    params:
        module="contamination",
        study=JOBS.study,
        code=report_code("contamination"),


use rule comparison_table as quality_table with:
    input:
        unpack(JOBS.reads(runs="trainings", metrics="metrics", evaluations="by_step")),
    output:
        table=shown("quality.html", "quality", "Evaluation", "quality by step", "table"),
        numbers=shown(
            "quality.csv", "quality", "Evaluation", "quality by step", "numbers"
        ),
    log:
        "logs/{study}/report/quality-table.log",
    benchmark:
        "logs/{study}/report/quality-table.benchmark.jsonl"
    params:
        module="quality",
        study=JOBS.study,
        prices=JOBS.prices,
        code=report_code("quality"),


use rule comparison_table as scaling_table with:
    input:
        unpack(JOBS.reads(runs="trainings")),
    output:
        table=shown("scaling.html", "scaling", "Evaluation", "scaling law", "table"),
        numbers=shown("scaling.csv", "scaling", "Evaluation", "scaling law", "numbers"),
    log:
        "logs/{study}/report/scaling-table.log",
    benchmark:
        "logs/{study}/report/scaling-table.benchmark.jsonl"
    params:
        module="scaling",
        study=JOBS.study,
        models=JOBS.study_models,
        code=report_code("scaling"),


use rule comparison_table as parity_table with:
    input:
        unpack(JOBS.reads(parity="parity")),
    output:
        table=shown(
            "parity.html",
            "parity",
            "Parallel settings",
            "parity with the reference",
            "table",
        ),
        numbers=shown(
            "parity.csv",
            "parity",
            "Parallel settings",
            "parity with the reference",
            "numbers",
        ),
    log:
        "logs/{study}/report/parity-table.log",
    benchmark:
        "logs/{study}/report/parity-table.benchmark.jsonl"
    params:
        module="parity",
        study=JOBS.study,
        code=report_code("parity"),


use rule comparison_table as measure_table with:
    input:
        unpack(JOBS.reads(cells="cells")),
    output:
        table=shown(
            "measure.html", "measure", "Parallel settings", "speed and memory", "table"
        ),
        numbers=shown(
            "measure.csv",
            "measure",
            "Parallel settings",
            "speed and memory",
            "numbers",
        ),
    log:
        "logs/{study}/report/measure-table.log",
    benchmark:
        "logs/{study}/report/measure-table.benchmark.jsonl"
    params:
        module="speed",
        study=JOBS.study,
        code=report_code("speed"),


use rule comparison_table as data_table with:
    input:
        unpack(JOBS.reads(statistics="statistics", duplicates="duplicates")),
    output:
        table=shown("data.html", "data", "Inputs and sources", "data", "table"),
        numbers=shown("data.csv", "data", "Inputs and sources", "data", "numbers"),
    log:
        "logs/{study}/report/data-table.log",
    benchmark:
        "logs/{study}/report/data-table.benchmark.jsonl"
    params:
        module="data",
        study=JOBS.study,
        code=report_code("data"),


use rule comparison_table as models_table with:
    input:
        [],
    output:
        table=shown("models.html", "models", "Inputs and sources", "models", "table"),
        numbers=shown("models.csv", "models", "Inputs and sources", "models", "numbers"),
    log:
        "logs/{study}/report/models-table.log",
    benchmark:
        "logs/{study}/report/models-table.benchmark.jsonl"
    params:
        module="models",
        study=JOBS.study,
        models=JOBS.study_models,
        code=report_code("models"),


use rule comparison_table as environment_table with:
    input:
        unpack(JOBS.reads(runs="runs_and_probes")),
    output:
        table=shown(
            "environment.html",
            "environment",
            "Inputs and sources",
            "environment",
            "table",
        ),
        numbers=shown(
            "environment.csv",
            "environment",
            "Inputs and sources",
            "environment",
            "numbers",
        ),
    log:
        "logs/{study}/report/environment-table.log",
    benchmark:
        "logs/{study}/report/environment-table.benchmark.jsonl"
    params:
        module="environment",
        study=JOBS.study,
        code=report_code("environment"),


use rule comparison_table as sources_table with:
    input:
        unpack(
            JOBS.reads(
                runs="runs_and_probes",
                evaluations="evaluated",
                parity="parity",
                cells="cells",
                shortcuts="shortcuts",
                statistics="statistics",
                contamination="contamination",
                duplicates="duplicates",
            )
        ),
    output:
        table=shown(
            "sources.html",
            "sources",
            "Inputs and sources",
            "where the numbers come from",
            "table",
        ),
        numbers=shown(
            "sources.csv",
            "sources",
            "Inputs and sources",
            "where the numbers come from",
            "numbers",
        ),
    log:
        "logs/{study}/report/sources-table.log",
    benchmark:
        "logs/{study}/report/sources-table.benchmark.jsonl"
    params:
        module="sources",
        study=JOBS.study,
        code=report_code("sources"),
