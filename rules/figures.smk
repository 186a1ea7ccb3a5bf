# The figures of each study's report.


rule loss_by_step:
    input:
        unpack(JOBS.reads(runs="trainings", metrics="metrics")),
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
        unpack(JOBS.reads(runs="trainings", evaluations="evaluations")),
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
                runs="trainings",
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
                runs="trainings", evaluations="evaluations", shortcuts="shortcuts"
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
        unpack(JOBS.reads(runs="trainings")),
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
        counting=JOBS.counting_code,
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
        module="speed",
        options={},
        study=JOBS.study,
        code=report_code("speed"),


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
        module="step_time",
        options={},
        study=JOBS.study,
        code=report_code("step_time"),


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
        module="predicted_memory",
        options={},
        study=JOBS.study,
        code=report_code("predicted_memory"),


use rule loss_by_step as memory_figure with:
    input:
        unpack(JOBS.reads(runs="runs_and_probes", cells="cells")),
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
