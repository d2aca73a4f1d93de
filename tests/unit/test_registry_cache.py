"""The rehearsal's memory of what the registry said."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from rehearsal.registry_cache import RememberingClient

VERSIONS = "name = 'BTCUSDT-1h'"


@pytest.fixture
def client() -> Mock:
    return Mock(search_model_versions=Mock(side_effect=lambda _: object()), tracking_uri="sqlite:")


def test_reading_forgets_nothing(client: Mock) -> None:
    """To ask for the URI once did, and the registry was searched at every tick."""
    remembering = RememberingClient(client)
    first = remembering.search_model_versions(VERSIONS)
    remembering.get_model_version("BTCUSDT-1h", "1")
    remembering.log_batch("run")  # is not of the registry
    assert remembering.tracking_uri == "sqlite:"
    assert remembering.search_model_versions(VERSIONS) is first
    assert client.search_model_versions.call_count == 1


def test_what_is_written_by_it_or_by_others_is_asked_for_anew(client: Mock) -> None:
    remembering = RememberingClient(client)
    first = remembering.search_model_versions(VERSIONS)
    remembering.transition_model_version_stage("BTCUSDT-1h", "1", "Staging")
    second = remembering.search_model_versions(VERSIONS)
    remembering.forget()
    third = remembering.search_model_versions(VERSIONS)
    assert len({id(each) for each in (first, second, third)}) == 3
