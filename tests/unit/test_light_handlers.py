"""Functions on Lambda begin quickly: they import nothing that takes seconds, and need no layer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANDLERS = (
    "config_service",
    "initiate_validation_window",
    "launch_spot_validator",
    "training_job_events",
)
HEAVY = {"ccxt", "lightgbm", "mlflow", "numpy", "pandas", "pyarrow", "rich", "sagemaker", "scipy"}
PROGRAM = f"""
import sys
import {", ".join(f"serving.{name}" for name in HANDLERS)}
from serving.stack import aws_stack, _VARIABLES
aws_stack(dict.fromkeys(_VARIABLES, "x") | {{"STATE_URI": "dynamodb://state"}})
print(*sorted(sys.modules))
"""


def test_no_handler_imports_what_takes_seconds_nor_do_the_parts_it_is_given() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(answer.stdout.split())
    assert "serving.launch_spot_validator" in loaded
    assert not HEAVY & loaded
