# The tables of each study's report: a rule for each entry of src/trainyard/plan/report.py.

for table in TABLES:

    rule:
        name:
            table.name
        input:
            unpack(JOBS.reads(**table.inputs)),
        output:
            **report_files(table),
        log:
            f"logs/{{study}}/report/{table.log}.log",
        benchmark:
            f"logs/{{study}}/report/{table.log}.benchmark.jsonl"
        conda:
            JOBS.environment("report")
        threads: 1
        resources:
            mem_mb=2000,
            runtime=15,
        params:
            **JOBS.product_params(table),
            module=table.module,
            study=JOBS.study,
            code=report_code(table.module),
        message:
            "Tabulate the report of {wildcards.study}: {rule}"
        script:
            "../workflow/scripts/table.py"
