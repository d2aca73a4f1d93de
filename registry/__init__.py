"""The MLflow side: the run tree, what is registered, and the stages of its life."""

from __future__ import annotations

import os

# MLflow reports its use to its makers unless told not to, before it is first imported. What a
# trading system runs is nobody's business, and in a closed network the attempt only costs time.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Its progress bars, and its line for every run that ends, would run through our own.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
