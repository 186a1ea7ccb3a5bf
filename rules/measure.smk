# Probes against their reference; speed and memory, alone on the machine.
def cell_of(wildcards):
    return PLAN.studies[wildcards.study].cells[wildcards.cell]


rule parity:
    input:
        probe="results/{study}/{run}/metrics.jsonl",
        probe_summary="results/{study}/{run}/summary.json",
        reference=lambda wildcards: f"results/{wildcards.study}/{run_of(wildcards).reference}/metrics.jsonl",
    output:
        parity="results/{study}/{run}/parity.json",
    params:
        code=code_hash("trainyard.measure.parity"),
    log:
        "logs/{study}/parity/{run}.log",
    benchmark:
        "logs/{study}/parity/{run}.benchmark.jsonl"
    wildcard_constraints:
        run="probe_[^/@]+",
    conda:
        environment("train")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Compare {wildcards.run} with the reference"
    script:
        "../workflow/scripts/parity.py"


def cell_code(cell):
    engine = cell.specification["parallel"]["engine"]
    family = cell.specification["model"]["family"]
    return code_hash("trainyard.measure.throughput", f"trainyard.parallel.{engine}", f"trainyard.models.{family}")


def cell_capabilities(cell):
    setting = CATALOGUES.parallel[cell.specification["parallel"]["name"]]
    return PLAN.machine.capabilities(setting, False, conda_pins(stage_environment(cell)))


def cell_unsupported(cell):
    at = cell.specification
    setting = CATALOGUES.parallel[at["parallel"]["name"]]
    return unsupported(setting, at["precision"], at["processes"], cell_capabilities(cell))


def every_core():
    try:
        return workflow.cores
    except WorkflowError:  # `--report` and `--lint` know of no cores
        return 1


# every core is taken, so that no other job disturbs the figures
rule measure:
    output:
        measured="results/{study}/measure/{cell}.json",
    params:
        specification=lambda wildcards: cell_of(wildcards).specification,
        capabilities=lambda wildcards: cell_capabilities(cell_of(wildcards)),
        unsupported=lambda wildcards: cell_unsupported(cell_of(wildcards)),
        code=lambda wildcards: cell_code(cell_of(wildcards)),
    log:
        "logs/{study}/measure/{cell}.log",
    benchmark:
        "logs/{study}/measure/{cell}.benchmark.jsonl"
    conda:
        lambda wildcards: environment(stage_environment(cell_of(wildcards)))
    threads: every_core()
    resources:
        mem_mb=lambda wildcards: memory(cell_of(wildcards)),
        runtime=30,
        gres=lambda wildcards: f"gpu:{cell_of(wildcards).specification['processes']}" if CUDA else "",
    message:
        "Measure {wildcards.cell} of {wildcards.study}, alone on the machine"
    script:
        "../workflow/scripts/measure.py"
