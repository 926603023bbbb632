"""Build partitions one after the other in one process, which parses the project once.

Reads a list of runs as JSON from standard input, each with the ``environment`` of its warehouse
and the ``arguments`` of ``dbt build``. Starting dbt for each would take twice as long.
"""

import json
import os
import sys

from dbt.cli.main import dbtRunner


def main() -> int:
    """Return 1 if a build failed."""
    runs = json.load(sys.stdin)
    os.environ.update(runs[0]["environment"])
    parsed = dbtRunner().invoke(["parse", *runs[0]["options"]])
    if not parsed.success:
        return 1
    failed = False
    for run in runs:
        os.environ.update(run["environment"])
        build = ["build", *run["options"], *run["arguments"]]
        failed |= not dbtRunner(manifest=parsed.result).invoke(build).success
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
