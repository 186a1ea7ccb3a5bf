"""What every job of Snakemake's goes through, and the lock of the working folder."""
