"""From a configuration to jobs: what Snakemake's rules ask."""
