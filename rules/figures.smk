# The figures of each study's report: a rule for each entry of src/trainyard/plan/report.py.

for figure in FIGURES:

    rule:
        name:
            figure.name
        input:
            unpack(JOBS.reads(**figure.inputs)),
        output:
            **report_files(figure),
        log:
            f"logs/{{study}}/report/{figure.log}.log",
        benchmark:
            f"logs/{{study}}/report/{figure.log}.benchmark.jsonl"
        conda:
            JOBS.environment("report")
        threads: 1
        resources:
            mem_mb=2000,
            runtime=15,
        params:
            **JOBS.product_params(figure),
            module=figure.module,
            options=figure.options,
            study=JOBS.study,
            code=report_code(figure.module),
        message:
            "Draw the report of {wildcards.study}: {rule}"
        script:
            "../workflow/scripts/figure.py"
