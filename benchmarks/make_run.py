"""Wall time of the main job, second call: a figure of this machine, told as such."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, "-m", "flightsim", "run", "default", "--out", f"{folder}/run"]
        subprocess.run(command, check=True, capture_output=True)
        print(f"flightsim run default: {time.perf_counter() - started:.1f} s wall on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
