"""The MLflow side: the run tree, what is registered, and the stages of its life."""

from __future__ import annotations

import os

# MLflow reports its use to its makers unless told not to, before it is first imported. What a
# trading system runs is nobody's business, and in a closed network the attempt only costs time.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Its progress bars for files that take no time would run through the ones people look at.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
