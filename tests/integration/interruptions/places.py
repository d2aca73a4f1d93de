"""Where a campaign can be killed, by name, in the order in which a campaign comes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CLIENT = "mlflow.tracking.client:MlflowClient"
TRACKER = "registry.tracking:CampaignTracker"
MOVE = "registry.lifecycle:Lifecycle.move"
REGISTER = "registry.registration:register"
CREATE = "store.objects:FolderObjects.create"
CHECKPOINTED = "store.job_records:JobRecord.checkpointed"


@dataclass(frozen=True)
class Place:
    """A call of a campaign's code, as ``module:name``, and the side of it that is meant.

    Parameters
    ----------
    within
        The outer call in which alone it counts.
    """

    call: str
    when: Literal["before", "during", "after", "leaving"] = "after"
    within: str | None = None


AT_START = {
    "mlflow-tables": Place("mlflow.store.db.utils:_initialize_tables", "during"),
    "campaign-run-created": Place(f"{CLIENT}.create_run", within="registry.tracking:open_campaign"),
    "run-agreed-on": Place("store.job_records:JobRecord.agree_on_run"),
    "dataset-logged": Place(f"{CLIENT}.log_inputs"),
}
"""Passed by every start of a campaign."""

IN_A_WORKER = {
    "fit": Place("registry.fitting:fit", "during"),
    "checkpoint-in-part": Place("os:link", "before", within=CREATE),
    "checkpoint-linked": Place("os:link", within=CREATE),
    "checkpoint-kept": Place("training.checkpointing:WindowCheckpoints.keep"),
}
"""Passed for every window, by the worker that evaluates it."""

OF_A_WINDOW = {
    "record-due": Place(CHECKPOINTED, "before"),
    "record-in-transaction": Place(
        "store.sqlite_file:SqliteFile.writing", "leaving", within=CHECKPOINTED
    ),
    "record-written": Place(CHECKPOINTED),
    "window-run-created": Place(f"{CLIENT}.create_run", within=f"{TRACKER}.log_window"),
    "window-logged": Place(f"{CLIENT}.log_batch", within=f"{TRACKER}.log_window"),
    "window-closed": Place(f"{CLIENT}.set_terminated", within=f"{TRACKER}.log_window"),
}
"""Passed for every window, by the campaign's own process."""

OF_A_TRIAL = {
    "trial-run-created": Place(f"{CLIENT}.create_run", within=f"{TRACKER}.open_trial"),
    "trial-parameters-logged": Place(f"{CLIENT}.log_batch", within=f"{TRACKER}.open_trial"),
    "trial-figures-logged": Place(f"{CLIENT}.log_batch", within=f"{TRACKER}.close_trial"),
    "trial-closed": Place(f"{TRACKER}.close_trial"),
    "generation-asked-in-part": Place(
        "optuna.study.study:Study.ask", within="training.search:next_generation"
    ),
}

OF_THE_JUDGEMENT = {
    "winner-known": Place("training.discovery:confirm", "before"),
    "model-trained-again": Place("training.scheduler:fit_in_worker"),
    "judging": Place("training.candidate:judge", "during"),
    "figures-of-the-campaign-logged": Place(
        f"{CLIENT}.log_batch", within="training.publication:publish"
    ),
    "files-in-part": Place("shutil:copyfile", within="training.publication:publish"),
    "monte-carlo-run-created": Place(f"{CLIENT}.create_run", within=f"{TRACKER}.log_monte_carlo"),
    "monte-carlo-logged": Place(f"{CLIENT}.log_batch", within=f"{TRACKER}.log_monte_carlo"),
    "monte-carlo-closed": Place(f"{TRACKER}.log_monte_carlo"),
}

OF_THE_REGISTRATION = {
    "model-created": Place(f"{CLIENT}.create_logged_model", within=REGISTER),
    "model-files-in-part": Place("shutil:copyfile", within=f"{CLIENT}.log_model_artifacts"),
    "model-files-stored": Place(f"{CLIENT}.log_model_artifacts", within=REGISTER),
    "model-ready": Place(f"{CLIENT}.finalize_logged_model", within=REGISTER),
    "model-name-created": Place(f"{CLIENT}.create_registered_model", within=REGISTER),
    "version-created": Place(f"{CLIENT}.create_model_version", within=REGISTER),
    "model-shown-by-its-run": Place(f"{CLIENT}.log_outputs", within=REGISTER),
    "registered": Place(REGISTER),
    "move-told-in-part": Place(f"{CLIENT}.set_model_version_tag", within=MOVE),
    "stage-moved": Place(f"{CLIENT}.transition_model_version_stage", within=MOVE),
    "alias-set": Place(f"{CLIENT}.set_registered_model_alias", within=MOVE),
    "move-ended": Place(f"{CLIENT}.delete_model_version_tag", within=MOVE),
}

AT_THE_END = {
    "reason-logged": Place(f"{CLIENT}.log_batch", within=f"{TRACKER}.finish"),
    "old-checkpoints-removed": Place("store.checkpoints:Checkpoints.remove_others"),
    "record-closed": Place("training.campaign:_close"),
}

AFTER_THE_END = {"campaign-finished": Place(f"{TRACKER}.finish")}
"""From here on the campaign is finished, though its checkpoints and its record are not."""

OF_A_SHARD = {"coverage-counted": Place("store.job_records:JobRecord.covered")}
"""Passed where several jobs share a campaign, at the end of each one's part."""

PLACES = {
    **AT_START,
    **IN_A_WORKER,
    **OF_A_WINDOW,
    **OF_A_TRIAL,
    **OF_THE_JUDGEMENT,
    **OF_THE_REGISTRATION,
    **AT_THE_END,
    **AFTER_THE_END,
    **OF_A_SHARD,
}
