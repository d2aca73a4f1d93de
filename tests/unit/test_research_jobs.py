"""Training jobs as the state table has them: status, savings, cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from serving.status import status_document
from strategy.errors import ConfigError
from tests.job_specs import IMAGE_URI, ROLE_ARN, job_spec
from tests.launch_world import CAMPAIGN_ID, World, job
from training.research import jobs
from training.research.jobs import (
    ModelTrainerJobs,
    campaign_costs,
    conclusion,
    hours_figure,
    jobs_table,
    missing_for_launch,
    requests_table,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two jobs of a campaign: one ended, interrupted twice, of which half was billed."""
    world = World(tmp_path)
    world.launched(shards=2)
    world.report(1, windows_done=40)
    world.jobs.end(job(1, 2), interruptions=2)
    world.hear(job(1, 2))
    world.report(2, status="running", windows_done=17)
    return world


def ledger_of(world: World) -> Any:
    return status_document(world.stack.state, world.clock)["cost"]["ledger"]


def test_the_table_has_a_row_a_job_with_what_it_and_its_launcher_have_told(world: World) -> None:
    table = jobs_table(world.stack.state, [CAMPAIGN_ID])
    assert table["job"].tolist() == [job(1, 2), job(2, 2)]
    assert table["status"].tolist() == ["Completed", "running"]
    assert table["windows_done"].tolist() == [40, 17]
    assert table["interruptions"].tolist()[0] == 2
    assert table["savings"].tolist()[0] == 0.5
    assert math.isnan(table["savings"].tolist()[1])


def test_a_campaign_begun_by_hand_is_one_job_that_nobody_bills(world: World) -> None:
    world.stack.state.put(
        "campaign#feed", "shard-1of1", {"status": "completed", "windows_done": 14}, expected=0
    )
    world.stack.state.put("campaign#feed", "mlflow", {"run_id": "r"}, expected=0)
    table = jobs_table(world.stack.state, ["feed"])
    assert table["job"].tolist() == ["shard-1of1, begun by hand"]
    assert table["cost_usd"].isna().all()
    assert campaign_costs(table, {}).loc["feed", "cost_usd"] == 0


def test_a_campaign_costs_what_its_ended_jobs_did_and_reserves_what_others_may(
    world: World,
) -> None:
    costs = campaign_costs(jobs_table(world.stack.state, [CAMPAIGN_ID]), ledger_of(world))
    entries = ledger_of(world)["jobs"]
    row = costs.loc[CAMPAIGN_ID]
    assert row["cost_usd"] == pytest.approx(entries[job(1, 2)]["usd"])
    assert row["reserved_usd"] == pytest.approx(entries[job(2, 2)]["usd"])
    assert row[["jobs", "interruptions", "savings"]].tolist() == [2, 2, 0.5]
    assert row[["training_hours", "billable_hours"]].tolist() == [1.0, 0.5]


def test_an_earlier_submission_of_a_shard_counts_too_and_none_counts_twice(world: World) -> None:
    table = jobs_table(world.stack.state, [CAMPAIGN_ID])
    ledger = {
        "jobs": {
            job(1, 2): {"usd": table["cost_usd"][0], "ended_at": "2026-03-01T12:00:00+00:00"},
            job(2, 2): {"usd": 0.25, "ended_at": "2026-03-01T11:00:00+00:00"},
            job(2, 2, 1): {"usd": 1.5, "ended_at": None},
            "ETHUSDT-1h-0a1b2c3d4e5e-shard1of1-0": {"usd": 9.0, "ended_at": None},
        }
    }
    row = campaign_costs(table, ledger).loc[CAMPAIGN_ID]
    assert row["cost_usd"] == pytest.approx(table["cost_usd"][0] + 0.25)
    assert (row["reserved_usd"], row["jobs"]) == (1.5, 3)


def test_requests_say_why_they_wait(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask()
    world.deliver()
    table = requests_table(status_document(world.stack.state, world.clock)["requests"])
    assert table["reason"].tolist() == ["waits for the launch window to open"]
    assert requests_table([]).empty


def test_the_figure_says_what_was_billed_and_what_spot_saved(world: World) -> None:
    figure = hours_figure(jobs_table(world.stack.state, [CAMPAIGN_ID]), subtitle="a test")
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [30, 30]  # minutes
    assert "2 × interrupted" in figure.axes[0].texts[0].get_text()
    none = hours_figure(jobs_table(world.stack.state, []), subtitle="a test")
    assert none.axes[0].texts[0].get_text() == "no launched job has ended yet"


def test_the_sentences_sum_up_status_interruptions_savings_and_cost(world: World) -> None:
    table = jobs_table(world.stack.state, [CAMPAIGN_ID])
    costs = campaign_costs(table, ledger_of(world))
    text = conclusion(table, costs)
    assert "Jobs: 2 (1 Completed, 1 running), of campaigns: 1." in text
    assert "instances of 1 of 1 launched jobs, 2 times in all" in text
    assert "Of 1.00 hours on instances 0.50 were billed: Spot saved 50%." in text
    assert f"${costs['cost_usd'].sum():.2f} for jobs that have ended" in text
    own = table.assign(billable_seconds=math.nan)
    assert "None of these jobs was billed" in conclusion(own, costs)
    assert conclusion(table.head(0), costs) == "- No job is known here yet."


def test_what_is_missing_for_a_launch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConfigError("set the environment variables BUCKET")

    monkeypatch.setattr(jobs.importlib.util, "find_spec", lambda name: None)
    first, second = missing_for_launch(refuse)
    assert "BUCKET" in first
    assert "requirements-sagemaker.txt" in second
    monkeypatch.setattr(jobs.importlib.util, "find_spec", lambda name: name)
    assert missing_for_launch(dict) == []


def test_a_launcher_is_given_model_trainer_in_the_place_of_its_own_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        jobs,
        "launch_with_model_trainer",
        lambda spec, role_arn, image_uri: started.append((spec, role_arn, image_uri)),
    )
    ModelTrainerJobs(ROLE_ARN, IMAGE_URI).create(job_spec())
    assert started == [(job_spec(), ROLE_ARN, IMAGE_URI)]
