"""Where a machine of one's own keeps what AWS keeps elsewhere: all of it below ``var/``."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("var")
TRACKING = "sqlite:///var/mlflow.db"
STATE = "sqlite:///var/state.db"
CHECKPOINTS = "var/checkpoints"
