# The report: figures and tables of each study, and the overview that answers its question.


rule loss_by_step:
    input:
        unpack(JOBS.reads(summaries="summaries", metrics="metrics")),
    output:
        figure=shown("loss-by-step.svg", "curves", "Curves", "loss by step", "figure"),
    log:
        "logs/{study}/report/loss-by-step.log",
    benchmark:
        "logs/{study}/report/loss-by-step.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        module="curves",
        options={"axis": "step"},
        study=JOBS.study,
        code=report_code("curves"),
    message:
        "Draw the report of {wildcards.study}: {rule}"
    script:
        "../workflow/scripts/figure.py"


use rule loss_by_step as loss_by_tokens with:
    output:
        figure=shown(
            "loss-by-tokens.svg", "curves", "Curves", "loss by tokens", "figure"
        ),
    log:
        "logs/{study}/report/loss-by-tokens.log",
    benchmark:
        "logs/{study}/report/loss-by-tokens.benchmark.jsonl"
    params:
        module="curves",
        options={"axis": "tokens"},
        study=JOBS.study,
        code=report_code("curves"),


use rule loss_by_step as loss_by_time with:
    output:
        figure=shown("loss-by-time.svg", "curves", "Curves", "loss by time", "figure"),
    log:
        "logs/{study}/report/loss-by-time.log",
    benchmark:
        "logs/{study}/report/loss-by-time.benchmark.jsonl"
    params:
        module="curves",
        options={"axis": "time"},
        study=JOBS.study,
        code=report_code("curves"),


use rule loss_by_step as scores_figure with:
    input:
        unpack(JOBS.reads(summaries="summaries", evaluations="evaluations")),
    output:
        figure=shown("scores.svg", "scores", "Evaluation", "scores", "figure"),
    log:
        "logs/{study}/report/scores-figure.log",
    benchmark:
        "logs/{study}/report/scores-figure.benchmark.jsonl"
    params:
        module="scores",
        options={},
        study=JOBS.study,
        code=report_code("scores"),


use rule loss_by_step as quality_by_step with:
    input:
        unpack(
            JOBS.reads(
                summaries="summaries",
                metrics="metrics",
                evaluations="by_step",
                shortcuts="shortcuts",
            )
        ),
    output:
        figure=shown(
            "quality-by-step.svg", "quality", "Evaluation", "quality by step", "figure"
        ),
    log:
        "logs/{study}/report/quality-by-step.log",
    benchmark:
        "logs/{study}/report/quality-by-step.benchmark.jsonl"
    params:
        module="quality",
        options={"along": "step"},
        study=JOBS.study,
        prices=JOBS.prices,
        code=report_code("quality"),


use rule quality_by_step as quality_by_cost with:
    output:
        figure=shown(
            "quality-by-cost.svg",
            "quality",
            "Evaluation",
            "quality against cost",
            "figure",
        ),
    log:
        "logs/{study}/report/quality-by-cost.log",
    benchmark:
        "logs/{study}/report/quality-by-cost.benchmark.jsonl"
    params:
        module="quality",
        options={"along": "cost"},
        study=JOBS.study,
        prices=JOBS.prices,
        code=report_code("quality"),


use rule loss_by_step as levels_figure with:
    input:
        unpack(
            JOBS.reads(
                summaries="summaries", evaluations="evaluations", shortcuts="shortcuts"
            )
        ),
    output:
        figure=shown("levels.svg", "levels", "Evaluation", "scores by level", "figure"),
    log:
        "logs/{study}/report/levels-figure.log",
    benchmark:
        "logs/{study}/report/levels-figure.benchmark.jsonl"
    params:
        module="levels",
        options={},
        study=JOBS.study,
        code=report_code("levels"),


use rule loss_by_step as scaling_figure with:
    input:
        unpack(JOBS.reads(summaries="summaries")),
    output:
        figure=shown("scaling.svg", "scaling", "Evaluation", "scaling law", "figure"),
    log:
        "logs/{study}/report/scaling-figure.log",
    benchmark:
        "logs/{study}/report/scaling-figure.benchmark.jsonl"
    params:
        module="scaling",
        options={},
        study=JOBS.study,
        models=JOBS.study_models,
        code=report_code("scaling"),


use rule loss_by_step as parity_figure with:
    input:
        unpack(JOBS.reads(parity="parity")),
    output:
        figure=shown(
            "parity.svg",
            "parity",
            "Parallel settings",
            "parity with the reference",
            "figure",
        ),
    log:
        "logs/{study}/report/parity-figure.log",
    benchmark:
        "logs/{study}/report/parity-figure.benchmark.jsonl"
    params:
        module="parity",
        options={},
        study=JOBS.study,
        code=report_code("parity"),


use rule loss_by_step as measure_figure with:
    input:
        unpack(JOBS.reads(cells="cells")),
    output:
        figure=shown(
            "measure.svg", "measure", "Parallel settings", "speed and memory", "figure"
        ),
    log:
        "logs/{study}/report/measure-figure.log",
    benchmark:
        "logs/{study}/report/measure-figure.benchmark.jsonl"
    params:
        module="measure",
        options={},
        study=JOBS.study,
        code=report_code("measure"),


use rule loss_by_step as breakdown_figure with:
    input:
        unpack(JOBS.reads(cells="cells")),
    output:
        figure=shown(
            "breakdown.svg",
            "breakdown",
            "Parallel settings",
            "where time goes",
            "figure",
        ),
    log:
        "logs/{study}/report/breakdown-figure.log",
    benchmark:
        "logs/{study}/report/breakdown-figure.benchmark.jsonl"
    params:
        module="breakdown",
        options={},
        study=JOBS.study,
        code=report_code("breakdown"),


use rule loss_by_step as prediction_figure with:
    input:
        unpack(JOBS.reads(cells="cells")),
    output:
        figure=shown(
            "prediction.svg",
            "prediction",
            "Parallel settings",
            "predicted memory",
            "figure",
        ),
    log:
        "logs/{study}/report/prediction-figure.log",
    benchmark:
        "logs/{study}/report/prediction-figure.benchmark.jsonl"
    params:
        module="prediction",
        options={},
        study=JOBS.study,
        code=report_code("prediction"),


use rule loss_by_step as memory_figure with:
    input:
        unpack(JOBS.reads(summaries="everything", cells="cells")),
    output:
        figure=shown(
            "memory.svg", "memory", "Parallel settings", "memory by step", "figure"
        ),
    log:
        "logs/{study}/report/memory-figure.log",
    benchmark:
        "logs/{study}/report/memory-figure.benchmark.jsonl"
    params:
        module="memory",
        options={},
        study=JOBS.study,
        code=report_code("memory"),


rule comparison_table:
    input:
        unpack(
            JOBS.reads(
                summaries="summaries",
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
        unpack(
            JOBS.reads(
                summaries="summaries", evaluations="evaluations", scored="items"
            )
        ),
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
                summaries="summaries", evaluations="evaluations", shortcuts="shortcuts"
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
                summaries="summaries",
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
        unpack(
            JOBS.reads(summaries="summaries", metrics="metrics", evaluations="by_step")
        ),
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
        module="quality_table",
        study=JOBS.study,
        prices=JOBS.prices,
        code=report_code("quality_table"),


use rule comparison_table as scaling_table with:
    input:
        unpack(JOBS.reads(summaries="summaries")),
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
        module="measure",
        study=JOBS.study,
        code=report_code("measure"),


use rule comparison_table as data_table with:
    input:
        unpack(JOBS.reads(statistics="statistics")),
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
        unpack(JOBS.reads(summaries="everything")),
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
                summaries="everything",
                evaluations="evaluated",
                parity="parity",
                cells="cells",
                shortcuts="shortcuts",
                statistics="statistics",
                contamination="contamination",
            )
        ),
    output:
        table=shown(
            "sources.html",
            "sources",
            "Inputs and sources",
            "where figures come from",
            "table",
        ),
        numbers=shown(
            "sources.csv",
            "sources",
            "Inputs and sources",
            "where figures come from",
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


rule samples:
    input:
        unpack(
            JOBS.reads(
                summaries="summaries",
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
                summaries="summaries",
                metrics="metrics",
                evaluations="evaluations",
                scored="items",
                parity="parity",
                cells="cells",
                shortcuts="shortcuts",
                contamination="contamination",
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
        code=report_code("overview"),
    message:
        "Write the overview of {wildcards.study}"
    script:
        "../workflow/scripts/overview.py"
