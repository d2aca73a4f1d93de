"""A campaign that is killed, anywhere and however often, ends exactly as one left alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from strategy.errors import INTERRUPTED
from tests.integration.interruptions import places
from tests.integration.interruptions.campaigns import Campaign, Job, Strike
from tests.integration.interruptions.endings import ending
from tests.integration.interruptions.figures import (
    CTRL_C,
    KILL,
    TERMINATE,
    Figures,
    kind_of,
    struck_at_random,
)

SEED, MOMENTS = 20261122, 32
RETRY = 75


FIRST_OF_A_TRIAL = ("trial-run-created", "trial-parameters-logged")
LATER = {
    **dict.fromkeys(places.IN_A_WORKER, 2),
    **dict.fromkeys(("window-run-created", "window-logged", "window-closed"), 2),
    "files-in-part": 9,
    "model-files-in-part": 20,
    "move-told-in-part": 2,
}
"""At which passing to strike where it is not the first."""
CHAIN = tuple(
    dict.fromkeys(
        (
            *places.AT_START,
            *FIRST_OF_A_TRIAL,
            *places.IN_A_WORKER,
            *places.OF_A_WINDOW,
            *places.OF_A_TRIAL,
            *places.OF_THE_JUDGEMENT,
            *places.OF_THE_REGISTRATION,
            *places.AT_THE_END,
        )
    )
)
"""In the order in which a campaign comes by."""


@pytest.mark.torture
def test_it_may_be_killed_at_every_place_once(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    campaign = Campaign(tmp_path, undisturbed.config)
    for number, place in enumerate(CHAIN):
        whom: Literal["campaign", "group"] = "group" if number % 2 else "campaign"
        ended = campaign.attempt(Strike(place, LATER.get(place, 1), whom=whom))
        assert (place, ended.status, ended.strikes) == (place, -KILL, 1), ended.output
    assert campaign.attempt().status == 0
    figures.add(campaign, Counter(SIGKILL=len(CHAIN)), undisturbed)


@pytest.mark.torture
def test_it_may_be_stopped_in_order_at_every_place_once(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    """As by Ctrl-C, after which nothing is computed again and no run is left RUNNING."""
    campaign = Campaign(tmp_path, undisturbed.config)
    for place in CHAIN:
        ended = campaign.attempt(Strike(place, LATER.get(place, 1), CTRL_C, "group"))
        assert (place, ended.status, ended.strikes) == (place, INTERRUPTED, 1), ended.output
        assert "Traceback" not in ended.output
        if place not in places.AT_START:  # the campaign's own run is only being opened
            assert "RUNNING" not in {status for _, status in ending(campaign.var)["statuses"]}
    assert campaign.attempt().status == 0
    figures.add(campaign, Counter(SIGINT=len(CHAIN)), undisturbed)


@pytest.mark.torture
def test_a_worker_that_dies_ends_the_campaign_as_one_worth_a_retry(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    job = Job(tmp_path, undisturbed.config)
    ended = job.attempt(Strike("fit", passing=9, whom="self"))
    assert (ended.status, ended.strikes) == (RETRY, 1), ended.output
    assert job.failure is not None and job.failure.startswith("RetryError: a worker process died")
    told = job.record.values
    assert (told["status"], told["worth_retrying"]) == ("failed", True)
    finished = job.attempt(Strike("campaign-finished"))
    assert (finished.status, finished.strikes) == (-KILL, 1)
    assert job.attempt().status == 0
    assert job.result["verdict"] == "promoted"
    figures.add(job, Counter(SIGKILL=2), undisturbed)


@pytest.mark.torture
def test_it_may_be_killed_at_random_moments(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    """One campaign after the other, each killed until it comes to its end all the same."""
    rng = np.random.default_rng(SEED)
    while figures.kills.total() < MOMENTS:
        number = figures.campaigns
        form, stop = ((Campaign, CTRL_C), (Job, TERMINATE))[number % 2]
        campaign = form(tmp_path / str(number), undisturbed.config)
        kills: Counter[str] = Counter()
        while (ended := struck_at_random(campaign, undisturbed, stop, rng)).status != 0:
            kills[kind_of(ended)] += 1
        figures.add(campaign, kills, undisturbed)
