"""The campaign that was left alone, with which those that were interrupted are compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.interruptions.campaigns import Campaign, pruning_config
from tests.integration.interruptions.endings import ending
from tests.integration.interruptions.figures import Figures


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Six trials through ten windows, one of which is pruned; ends in Staging."""
    campaign = Campaign(tmp_path_factory.mktemp("undisturbed"), pruning_config())
    ended = campaign.attempt()
    assert ended.status == 0, ended.output
    found = ending(campaign.var)
    assert {status for _, status in found["statuses"]} == {"FINISHED"}
    assert [version["stage"] for version in found["versions"]] == ["Staging"]
    pruned = {tags["pruned"] for tags in found["tags"].values() if "pruned" in tags}
    assert pruned == {"true", "false"}
    assert not campaign.recomputed
    return campaign


@pytest.fixture
def figures(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Iterator[Figures]:
    """Shown on the screen, whatever becomes of the test."""
    found = Figures()
    yield found
    with capsys.disabled():
        print(f"\n{request.node.name}: {found}")
