"""A campaign that several jobs share, some of which are lost, ends as one that is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.integration.interruptions.campaigns import Campaign, Ended, Job, Strike
from tests.integration.interruptions.figures import (
    KILL,
    TERMINATE,
    TERMINATED,
    Figures,
    kind_of,
    struck_at_random,
)

pytestmark = pytest.mark.torture
SEED, CAMPAIGNS = 20261123, 3


def shards_of(undisturbed: Campaign, folder: Path) -> tuple[Job, Job]:
    first, second = (
        Job(folder, undisturbed.config, jobs=1, shard=number, shards=2) for number in (1, 2)
    )
    return first, second


def together(jobs: Sequence[Job], attempt: Callable[[Job], Ended]) -> list[Ended]:
    with ThreadPoolExecutor(len(jobs)) as running:
        return list(running.map(attempt, jobs))


def test_shards_that_are_killed_and_one_that_is_lost_end_as_one_that_is_whole(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    one, two = shards_of(undisturbed, tmp_path)
    strikes = {
        1: Strike("checkpoint-linked", 4, tears=True),
        2: Strike("window-logged", 5, TERMINATE, "campaign"),
    }
    ended = together((one, two), lambda job: job.attempt(strikes[job.shard]))
    assert [each.status for each in ended] == [-KILL, TERMINATED]
    assert two.failure is None

    counted = one.attempt(Strike("coverage-counted"))
    assert (counted.status, counted.strikes) == (-KILL, 1)
    last = two.attempt(Strike("coverage-counted"))
    assert (last.status, last.strikes) == (-KILL, 1)

    walked = one.attempt()
    assert walked.status == 0
    assert "the last one judges" in walked.output
    assert "verdict" not in one.result
    assert two.attempt().status == 0
    assert two.result["verdict"] == "promoted"
    figures.add(two, Counter(SIGKILL=3, SIGTERM=1), undisturbed)


def test_shards_may_be_killed_at_random_moments(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    for number in range(CAMPAIGNS):
        jobs = shards_of(undisturbed, tmp_path / str(number))
        own = {job.shard: np.random.default_rng([SEED, number, job.shard]) for job in jobs}

        def attempt(job: Job) -> Ended:
            return struck_at_random(job, undisturbed, TERMINATE, own[job.shard])  # noqa: B023

        left: Sequence[Job] = jobs
        kills: Counter[str] = Counter()
        while left:
            ended = together(left, attempt)
            kills.update(kind_of(each) for each in ended if each.status != 0)
            left = [job for job, each in zip(left, ended, strict=True) if each.status != 0]
        figures.add(jobs[0], kills, undisturbed)
