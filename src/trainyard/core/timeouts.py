"""How long processes that train together wait for each other, and others for them when they are to end."""

import os
from datetime import timedelta

from trainyard.core.errors import InputError

TIMEOUT = "TRAINYARD_TIMEOUT_MINUTES"
# For a trainer to finish its step and save a checkpoint. SLURM ends by SIGKILL itself what takes longer than its
# own time; that is 30 s, or as much as the profile's warning signal comes early.
GRACE_SECONDS = 100.0 if "SLURM_JOB_ID" in os.environ else 20.0
# After which a trainer that hasn't come to hear it ends itself: before it is ended, so that its log says where it was.
DEAF_SECONDS = 0.9 * GRACE_SECONDS


def read_timeout() -> timedelta:
    """How long a process waits for the others before it takes one for lost: half an hour, or what TIMEOUT says.

    Nobody waits so long in order: ranks differ by parts of a step, and wait only for rank 0
    while it reads or writes the hashes of a checkpoint, or a model.

    Raises:
        InputError: the variable holds no such time.
    """
    text = os.environ.get(TIMEOUT, "30")
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise InputError(f"{TIMEOUT}: {text!r} is not a number of minutes above 0; change or unset it")
    return timedelta(minutes=minutes)
