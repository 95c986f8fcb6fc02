"""Writes a journal by the product's own code: FILE BYTES -> JSON with records, bytes, seconds.

It runs in the product's virtual environment. Each record is one as a probe leaves it; what is recorded waits for the
disk as it does in the plugin, and never more of it than the journal keeps.
"""

import json
import os
import sys
import time
from pathlib import Path

from aurora_circus.journal import Journal
from aurora_circus.settings import Journal as Rotation

AT_ONCE = 2000
DETAILS = {"healthy": True, "status": 200, "latency_ms": 0.8, "pid": 12345, "changed": False}


def main() -> int:
    """Run as told by the command line."""
    file, size = Path(sys.argv[1]), int(sys.argv[2])
    journal = Journal(file, "bench", Rotation(max_bytes=10 * size))
    journal.start()
    begun, records = time.monotonic(), 0
    while not file.exists() or os.stat(file).st_size < size:  # noqa: PTH116 - asked between batches only
        for _ in range(AT_ONCE):
            records += 1
            journal.record("health_check", f"svc{records % 5}", DETAILS, time.time())
        if not journal.flush(60):
            return 1
    taken = time.monotonic() - begun
    journal.close(60)
    print(json.dumps({"records": records, "bytes": file.stat().st_size, "seconds": taken}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
