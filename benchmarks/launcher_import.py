"""How long the launcher's Lambda function takes to import, and what it does without.

python -m benchmarks.launcher_import
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from benchmarks._common import ROOT, show

HANDLERS = ("launch_spot_validator", "initiate_validation_window", "training_job_events")
HEAVY = ("sagemaker", "mlflow", "pandas", "numpy", "lightgbm")
STARTS = 5
PROGRAM = """
import sys, time
start = time.perf_counter()
import serving.{handler}
print(time.perf_counter() - start, *sorted(set({heavy}) & set(sys.modules)))
"""


def imported(handler: str) -> tuple[float, list[str]]:
    """Seconds in a fresh process, and what heavy packages came with it."""
    program = PROGRAM.format(handler=handler, heavy=HEAVY)
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, *loaded = answer.stdout.split()
    return float(seconds), loaded


def main() -> None:
    for handler in HANDLERS:
        imported(handler)  # its bytecode is there now, as in a deployed function
        starts = [imported(handler) for _ in range(STARTS)]
        seconds = float(np.median([seconds for seconds, _ in starts]))
        loaded = ", ".join(starts[0][1]) or "none"
        show(f"serving.{handler}, s", f"{seconds:.2f}", "<= 1", seconds <= 1)
        show(f"  of {', '.join(HEAVY)} it imports", loaded, "none", loaded == "none")


if __name__ == "__main__":
    main()
