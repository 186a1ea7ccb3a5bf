# The report: figures and tables of each study, and the overview that answers its question.
FOLDER = "results/{study}/report"


def result_files(study):
    """Every kind of result that the report reads, by the name that its functions give it."""
    plan = PLAN.studies[study]
    files = lambda runs, name: [f"{run.folder}/{name}" for run in runs]
    return {
        "summaries": files(plan.trainings, "summary.json"),
        "metrics": files(plan.trainings, "metrics.jsonl"),
        "everything": files(plan.runs.values(), "provenance.json"),
        "evaluations": plan.evaluation_files,
        "parity": files(plan.probes, "parity.json"),
        "cells": [cell.file for cell in plan.cells.values()],
        "shortcuts": [f"results/{study}/shortcuts/{dataset}.json" for dataset in plan.choice_datasets],
        "statistics": [f"results/data/{data}/{tokenizer}/statistics.json" for data, tokenizer in plan.tokenized],
    }


def reads(**names):
    """An input function: the rule's own name for a kind of results, and the kind."""
    return lambda wildcards: {name: result_files(wildcards.study)[kind] for name, kind in names.items()}


def study_entry(wildcards):
    return PLAN.studies[wildcards.study].study.model_dump(mode="json")


def study_models(wildcards):
    plan = PLAN.studies[wildcards.study]
    named = {run.specification["model"]["name"] for run in plan.runs.values()}
    named |= {*plan.study.pretrained, *(entry.model for entry in plan.study.published)}
    named |= {cell.specification["model"]["name"] for cell in plan.cells.values()}
    return {name: CATALOGUES.models[name].model_dump(mode="json") for name in sorted(named & set(CATALOGUES.models))}


def report_code(module):
    return code_hash(f"trainyard.report.{module}", "trainyard.report.arguments") + TEMPLATES


TEMPLATES = files_hash(ROOT / "src/trainyard/report/templates")


def shown(path, caption, subcategory, product, form):
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category="{study}",
        subcategory=subcategory,
        labels={"product": product, "form": form},
    )


def figures_of(study):
    """Title and file of each figure of a study, in the order of its overview."""
    plan = PLAN.studies[study]
    there = {
        "Loss by step": ("loss-by-step", plan.trainings),
        "Loss by tokens": ("loss-by-tokens", plan.trainings),
        "Loss by time": ("loss-by-time", plan.trainings),
        "Scores": ("scores", plan.evaluation_files),
        "Scores by level": ("levels", plan.choice_datasets),
        "Scaling law": ("scaling", plan.study.scaling),
        "Parity with the reference": ("parity", plan.probes),
        "Speed and memory": ("measure", plan.cells),
    }
    return {title: f"results/{study}/report/{name}.svg" for title, (name, wanted) in there.items() if wanted}


def report_files(study):
    """Every file of a study's report."""
    plan = PLAN.studies[study]
    tables = {
        "comparison": True,
        "levels": plan.choice_datasets,
        "scaling": plan.study.scaling,
        "parity": plan.probes,
        "measure": plan.cells,
        "data": True,
        "models": True,
        "environment": True,
        "sources": True,
    }
    names = [f"results/{study}/report/{name}.html" for name, wanted in tables.items() if wanted]
    return [f"results/{study}/report/overview.html", *figures_of(study).values(), *names]


rule loss_by_step:
    input:
        unpack(reads(summaries="summaries", metrics="metrics")),
    output:
        figure=shown(f"{FOLDER}/loss-by-step.svg", "curves", "Curves", "loss by step", "figure"),
    params:
        module="curves",
        options={"axis": "step"},
        study=study_entry,
        code=report_code("curves"),
    log:
        "logs/{study}/report/loss-by-step.log",
    benchmark:
        "logs/{study}/report/loss-by-step.benchmark.jsonl"
    conda:
        environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    message:
        "Draw the report of {wildcards.study}: {rule}"
    script:
        "../workflow/scripts/figure.py"


use rule loss_by_step as loss_by_tokens with:
    output:
        figure=shown(f"{FOLDER}/loss-by-tokens.svg", "curves", "Curves", "loss by tokens", "figure"),
    params:
        module="curves",
        options={"axis": "tokens"},
        study=study_entry,
        code=report_code("curves"),
    log:
        "logs/{study}/report/loss-by-tokens.log",
    benchmark:
        "logs/{study}/report/loss-by-tokens.benchmark.jsonl"


use rule loss_by_step as loss_by_time with:
    output:
        figure=shown(f"{FOLDER}/loss-by-time.svg", "curves", "Curves", "loss by time", "figure"),
    params:
        module="curves",
        options={"axis": "time"},
        study=study_entry,
        code=report_code("curves"),
    log:
        "logs/{study}/report/loss-by-time.log",
    benchmark:
        "logs/{study}/report/loss-by-time.benchmark.jsonl"


use rule loss_by_step as scores_figure with:
    input:
        unpack(reads(summaries="summaries", evaluations="evaluations")),
    output:
        figure=shown(f"{FOLDER}/scores.svg", "scores", "Evaluation", "scores", "figure"),
    params:
        module="scores",
        options={},
        study=study_entry,
        code=report_code("scores"),
    log:
        "logs/{study}/report/scores-figure.log",
    benchmark:
        "logs/{study}/report/scores-figure.benchmark.jsonl"


use rule loss_by_step as levels_figure with:
    input:
        unpack(reads(summaries="summaries", evaluations="evaluations", shortcuts="shortcuts")),
    output:
        figure=shown(f"{FOLDER}/levels.svg", "levels", "Evaluation", "scores by level", "figure"),
    params:
        module="levels",
        options={},
        study=study_entry,
        code=report_code("levels"),
    log:
        "logs/{study}/report/levels-figure.log",
    benchmark:
        "logs/{study}/report/levels-figure.benchmark.jsonl"


use rule loss_by_step as scaling_figure with:
    input:
        unpack(reads(summaries="summaries")),
    output:
        figure=shown(f"{FOLDER}/scaling.svg", "scaling", "Evaluation", "scaling law", "figure"),
    params:
        module="scaling",
        options={},
        study=study_entry,
        models=study_models,
        code=report_code("scaling"),
    log:
        "logs/{study}/report/scaling-figure.log",
    benchmark:
        "logs/{study}/report/scaling-figure.benchmark.jsonl"


use rule loss_by_step as parity_figure with:
    input:
        unpack(reads(parity="parity")),
    output:
        figure=shown(
            f"{FOLDER}/parity.svg", "parity", "Parallel settings", "parity with the reference", "figure"
        ),
    params:
        module="parity",
        options={},
        study=study_entry,
        code=report_code("parity"),
    log:
        "logs/{study}/report/parity-figure.log",
    benchmark:
        "logs/{study}/report/parity-figure.benchmark.jsonl"


use rule loss_by_step as measure_figure with:
    input:
        unpack(reads(cells="cells")),
    output:
        figure=shown(f"{FOLDER}/measure.svg", "measure", "Parallel settings", "speed and memory", "figure"),
    params:
        module="measure",
        options={},
        study=study_entry,
        code=report_code("measure"),
    log:
        "logs/{study}/report/measure-figure.log",
    benchmark:
        "logs/{study}/report/measure-figure.benchmark.jsonl"


rule comparison_table:
    input:
        unpack(reads(summaries="summaries", evaluations="evaluations", parity="parity")),
    output:
        table=shown(f"{FOLDER}/comparison.html", "comparison", "Overview", "comparison of runs", "table"),
        numbers=shown(f"{FOLDER}/comparison.csv", "comparison", "Overview", "comparison of runs", "numbers"),
    params:
        module="comparison",
        study=study_entry,
        code=report_code("comparison"),
    log:
        "logs/{study}/report/comparison-table.log",
    benchmark:
        "logs/{study}/report/comparison-table.benchmark.jsonl"
    conda:
        environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    message:
        "Tabulate the report of {wildcards.study}: {rule}"
    script:
        "../workflow/scripts/table.py"


use rule comparison_table as levels_table with:
    input:
        unpack(reads(summaries="summaries", evaluations="evaluations", shortcuts="shortcuts")),
    output:
        table=shown(f"{FOLDER}/levels.html", "levels", "Evaluation", "scores by level", "table"),
        numbers=shown(f"{FOLDER}/levels.csv", "levels", "Evaluation", "scores by level", "numbers"),
    params:
        module="levels",
        study=study_entry,
        code=report_code("levels"),
    log:
        "logs/{study}/report/levels-table.log",
    benchmark:
        "logs/{study}/report/levels-table.benchmark.jsonl"


use rule comparison_table as scaling_table with:
    input:
        unpack(reads(summaries="summaries")),
    output:
        table=shown(f"{FOLDER}/scaling.html", "scaling", "Evaluation", "scaling law", "table"),
        numbers=shown(f"{FOLDER}/scaling.csv", "scaling", "Evaluation", "scaling law", "numbers"),
    params:
        module="scaling",
        study=study_entry,
        models=study_models,
        code=report_code("scaling"),
    log:
        "logs/{study}/report/scaling-table.log",
    benchmark:
        "logs/{study}/report/scaling-table.benchmark.jsonl"


use rule comparison_table as parity_table with:
    input:
        unpack(reads(parity="parity")),
    output:
        table=shown(f"{FOLDER}/parity.html", "parity", "Parallel settings", "parity with the reference", "table"),
        numbers=shown(f"{FOLDER}/parity.csv", "parity", "Parallel settings", "parity with the reference", "numbers"),
    params:
        module="parity",
        study=study_entry,
        code=report_code("parity"),
    log:
        "logs/{study}/report/parity-table.log",
    benchmark:
        "logs/{study}/report/parity-table.benchmark.jsonl"


use rule comparison_table as measure_table with:
    input:
        unpack(reads(cells="cells")),
    output:
        table=shown(f"{FOLDER}/measure.html", "measure", "Parallel settings", "speed and memory", "table"),
        numbers=shown(f"{FOLDER}/measure.csv", "measure", "Parallel settings", "speed and memory", "numbers"),
    params:
        module="measure",
        study=study_entry,
        code=report_code("measure"),
    log:
        "logs/{study}/report/measure-table.log",
    benchmark:
        "logs/{study}/report/measure-table.benchmark.jsonl"


use rule comparison_table as data_table with:
    input:
        unpack(reads(statistics="statistics")),
    output:
        table=shown(f"{FOLDER}/data.html", "data", "Inputs and sources", "data", "table"),
        numbers=shown(f"{FOLDER}/data.csv", "data", "Inputs and sources", "data", "numbers"),
    params:
        module="data",
        study=study_entry,
        code=report_code("data"),
    log:
        "logs/{study}/report/data-table.log",
    benchmark:
        "logs/{study}/report/data-table.benchmark.jsonl"


use rule comparison_table as models_table with:
    input:
        [],
    output:
        table=shown(f"{FOLDER}/models.html", "models", "Inputs and sources", "models", "table"),
        numbers=shown(f"{FOLDER}/models.csv", "models", "Inputs and sources", "models", "numbers"),
    params:
        module="models",
        study=study_entry,
        models=study_models,
        code=report_code("models"),
    log:
        "logs/{study}/report/models-table.log",
    benchmark:
        "logs/{study}/report/models-table.benchmark.jsonl"


use rule comparison_table as environment_table with:
    input:
        unpack(reads(summaries="everything")),
    output:
        table=shown(f"{FOLDER}/environment.html", "environment", "Inputs and sources", "environment", "table"),
        numbers=shown(f"{FOLDER}/environment.csv", "environment", "Inputs and sources", "environment", "numbers"),
    params:
        module="environment",
        study=study_entry,
        code=report_code("environment"),
    log:
        "logs/{study}/report/environment-table.log",
    benchmark:
        "logs/{study}/report/environment-table.benchmark.jsonl"


use rule comparison_table as sources_table with:
    input:
        unpack(
            reads(
                summaries="everything",
                evaluations="evaluations",
                parity="parity",
                cells="cells",
                shortcuts="shortcuts",
                statistics="statistics",
            )
        ),
    output:
        table=shown(f"{FOLDER}/sources.html", "sources", "Inputs and sources", "where figures come from", "table"),
        numbers=shown(f"{FOLDER}/sources.csv", "sources", "Inputs and sources", "where figures come from", "numbers"),
    params:
        module="sources",
        study=study_entry,
        code=report_code("sources"),
    log:
        "logs/{study}/report/sources-table.log",
    benchmark:
        "logs/{study}/report/sources-table.benchmark.jsonl"


rule overview:
    input:
        unpack(
            reads(
                summaries="summaries",
                evaluations="evaluations",
                parity="parity",
                cells="cells",
                shortcuts="shortcuts",
            )
        ),
        figures=lambda wildcards: list(figures_of(wildcards.study).values()),
    output:
        page=shown(f"{FOLDER}/overview.html", "overview", "Overview", "overview", "page"),
    params:
        titles=lambda wildcards: list(figures_of(wildcards.study)),
        study=study_entry,
        models=study_models,
        code=report_code("overview"),
    log:
        "logs/{study}/report/overview.log",
    benchmark:
        "logs/{study}/report/overview.benchmark.jsonl"
    conda:
        environment("report")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    message:
        "Write the overview of {wildcards.study}"
    script:
        "../workflow/scripts/overview.py"
