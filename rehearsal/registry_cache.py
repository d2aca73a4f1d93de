"""A registry that is asked again only after something was written to it.

The bot reads it at every bar, and on this machine each time costs as much as all else that a bar
costs. Whoever writes past this client (a job, a person) says so by :meth:`forget`.
"""

from __future__ import annotations

from typing import Any

from registry.connection import Client

_READING = ("get_", "search_", "download_", "list_", "tracking_uri")
_WRITING_RUNS = {
    "create_run",
    "log_artifact",
    "log_artifacts",
    "log_batch",
    "log_metric",
    "log_text",
    "set_tag",
    "set_terminated",
    "update_run",
}


class RememberingClient:
    """MLflow's client, which answers from memory what the bot and the orchestrator ask most."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[tuple[str, ...], Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in _WRITING_RUNS and not name.startswith(_READING):
            self._found.clear()
        return getattr(self._client, name)

    def search_model_versions(self, condition: str) -> Any:
        """As MLflow's; the same answer as before where nothing was written since."""
        return self._remembered("search_model_versions", condition)

    def get_registered_model(self, name: str) -> Any:
        """As MLflow's; the same answer as before where nothing was written since."""
        return self._remembered("get_registered_model", name)

    def get_model_version_download_uri(self, name: str, version: str) -> Any:
        """As MLflow's; the same answer as before where nothing was written since."""
        return self._remembered("get_model_version_download_uri", name, version)

    def forget(self) -> None:
        """Somebody else has written to the registry."""
        self._found.clear()

    def _remembered(self, *question: str) -> Any:
        if question not in self._found:
            method, *arguments = question
            self._found[question] = getattr(self._client, method)(*arguments)
        return self._found[question]
