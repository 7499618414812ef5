"""Print every ratio: ``python benchmarks/run.py [--quick] [--only TEXT]``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import buckets
import engine
import fingerprints
import frames
import growth
import metadata
import original
import provenance
import remotes
import start
import together
import upkeep
from pairs import print_rows

GROUPS = {
    "metadata": ("Metadata operations against raw pygit2", "raw pygit2", metadata.against_raw),
    "original": ("The same script on tablevault 0.1.1", "tablevault 0.1.1", original.against),
    "engine": ("Executions, the cost of 1,000 rows", "tablevault 0.1.1", engine.against),
    "calls": ("Calls of 100,000 rows, the cost of 1,000", "without them", engine.calls),
    "fingerprints": ("Fingerprints of 200 modules", "ast.parse", fingerprints.of_a_folder),
    "memory": ("The peak of an execution", "its frame", engine.memory),
    "frames": ("A frame of 1,000,000 x 10", "raw pyarrow", frames.against_raw),
    "provenance": ("Differences of 1,000,000 x 10", "get_dataframe", provenance.against_read),
    "growth": ("After 10,000 instances against after 10", "after 10", growth.after_many),
    "verify": ("Upkeep of 1 GB of frames", "git lfs fsck", upkeep.verify_a_gigabyte),
    "together": ("Several processes in one vault", "one process", together.throughput),
    "reopen": ("Opening a full vault", "an empty one", together.reopening),
    "remotes": ("Sharing, with a local remote", "the other", remotes.against_peers),
    "buckets": ("A bucket of a local server", "the other", buckets.against_obstore),
    "start": ("Start-up", "python -c pass", start.starting),
}


def main() -> None:
    """Run the groups that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the pairs")
    parser.add_argument("--only", default="", help="groups whose name holds this text")
    arguments = parser.parse_args()
    for name, (title, against, measure) in GROUPS.items():
        if arguments.only in name:
            folder = Path(tempfile.mkdtemp(prefix=f"benchmark-{name}-"))
            try:
                print_rows(title, against, measure(folder, 5 if arguments.quick else 40))
            finally:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
