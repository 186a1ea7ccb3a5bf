"""Accept a change of data: take its record out of the data lock, so that the next download records it anew.

`python -m trainyard.fetch.accept NAME [ORIGIN]`, as `make accept-data DATA=NAME ORIGIN=mirror` does.
"""

import argparse
import sys
import typing

from trainyard.core.errors import InputError
from trainyard.fetch.lock import PATH, DataLock, Origin


def main() -> int:
    """Forget what the command line names; 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m trainyard.fetch.accept", description=__doc__)
    parser.add_argument("name", help="the entry's name in config/datasets.yaml, models.yaml or tokenizers.yaml")
    parser.add_argument("origin", nargs="?", choices=typing.get_args(Origin), help="all by default")
    given = parser.parse_args()
    try:
        for line in DataLock(PATH).forget(given.name, given.origin):
            print(f"{PATH}: forgot {line}. The next download records what it finds.")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
