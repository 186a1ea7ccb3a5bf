# Searches over recipes. Who goes on from whose state is data; how many members a generation has is known beforehand.
rule generation:
    input:
        previous=JOBS.searches.previous_generation,
        summaries=JOBS.searches.previous_summaries,
    output:
        generation="results/{study}/tune/{search}/generation{generation}.json",
    log:
        "logs/{study}/tune/{search}/generation{generation}.log",
    benchmark:
        "logs/{study}/tune/{search}/generation{generation}.benchmark.jsonl"
    conda:
        JOBS.environment("report")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        search=JOBS.searches.search,
        code=code_hash("trainyard.tune.select"),
    message:
        "Settle generation {wildcards.generation} of {wildcards.search} of {wildcards.study}"
    script:
        "../workflow/scripts/generation.py"


# whom its generation's file names is one of `states`: which, Snakemake need not know
use rule train as member with:
    input:
        folders=JOBS.data_folders,
        generation=JOBS.searches.member_generation,
        states=JOBS.searches.parent_states,
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        provenance="results/{study}/{run}/provenance.json",
        state=temp(directory("results/{study}/{run}/state")),
    wildcard_constraints:
        study=JOBS.searches.studies_of(False),
    message:
        "Train {wildcards.run} of {wildcards.study}"


# what another generation would begin from
use rule member as last_member with:
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        provenance="results/{study}/{run}/provenance.json",
        state=directory("results/{study}/{run}/state"),
    wildcard_constraints:
        study=JOBS.searches.studies_of(True),
    message:
        "Train {wildcards.run} of {wildcards.study}"


rule winner:
    input:
        folders=JOBS.data_folders,
        generations=JOBS.searches.winner_generations,
        summaries=lambda wildcards: JOBS.searches.last_members(
            wildcards, "summary.json"
        ),
        states=lambda wildcards: JOBS.searches.last_members(wildcards, "state"),
    output:
        specification="results/{study}/{run}/spec.json",
        metrics="results/{study}/{run}/metrics.jsonl",
        summary="results/{study}/{run}/summary.json",
        validation="results/{study}/{run}/validation.parquet",
        provenance="results/{study}/{run}/provenance.json",
        models=directory("results/{study}/{run}/models"),
    log:
        "logs/{study}/train/{run}.log",
    benchmark:
        "logs/{study}/train/{run}.benchmark.jsonl"
    wildcard_constraints:
        run="winner_[^/@]+",
    conda:
        JOBS.environment("train")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        specification=JOBS.specification,
        # as of runs, the code that its numbers come from: a state that it takes may be gone when other code changes
        code=code_hash("trainyard.tune.select", "trainyard.train.summary"),
    message:
        "Take {wildcards.run} of {wildcards.study} from the last generation"
    script:
        "../workflow/scripts/winner.py"
