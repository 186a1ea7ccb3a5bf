"""What SLURM says of a job that ran out of memory.

It counts a step in which the kernel has killed a process as failed, however the step ends; Snakemake
then deletes the outputs and tries again. So the outcome waits in the working folder for the next
attempt, which writes the outputs. Where SLURM has killed a job whole, nobody was left to write an
outcome: the next attempt asks how the job has ended that the working folder names.
"""

import subprocess


def killed_for_memory(job: str) -> bool:
    """Whether SLURM has ended a job for want of memory; False where it doesn't tell, or no longer.

    Its controller remembers a job for some minutes (MinJobAge), and the accounting, where there is one, for long.
    """
    states = _told("scontrol", "show", "job", job, "--oneliner").split()
    states += _told("sacct", f"--jobs={job}", "--parsable2", "--noheader", "--format=State").split()
    return any(state.removeprefix("JobState=") == "OUT_OF_MEMORY" for state in states)


def _told(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
