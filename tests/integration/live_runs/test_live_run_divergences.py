"""Live trades beside the simulator's; and what fails keeps nothing else from its run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from mlflow import MlflowClient

from registry.bundle import StrategyBundle
from registry.lifecycle import Lifecycle, Stage
from registry.runs import read_table
from serving.journal import InterventionRecord, TradeRecord
from serving.live_record import LiveParts, record_live_runs
from serving.trading.positions import PARTITION, Account, Position, paper_account
from strategy.errors import DataError, FixError, RetryError
from tests.integration.live_runs.strategy_in_staging import (
    CANDLES,
    HOUR,
    MODEL,
    STAGED,
    STRATEGY,
    Candles,
    add_version,
    day_after,
    divergences,
    keep,
    live_runs,
    move,
    move_by_hand,
    only_run,
    seen,
    simulated,
    until,
    values,
)

# Divergences


def test_each_trade_stands_beside_the_simulator_s(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    now = day_after(trades[0], 10)
    done = until(trades, now)
    worse = done[2].model_copy(
        update={"entry_price": done[2].entry_price * 1.001, "r": done[2].r - 0.1}
    )
    keep(parts, [done[0], *done[3:], worse])  # done[1] was missed
    record_live_runs(parts, now)
    table = divergences(client)
    expected = ["same", "missing in live", "entry late"] + ["same"] * (len(done) - 3)
    assert table["explained"].tolist() == expected
    assert len(done) > 5
    assert table["r_simulated"].tolist() == pytest.approx([trade.r for trade in done])
    assert pd.Timestamp(table["decision_time"][0]) == done[0].decision_time
    assert values(client, "divergent_trades") == [2]
    assert values(client, "unexplained_trades") == [1]
    assert values(client, "r_difference") == [pytest.approx(-0.1 - done[1].r)]


def test_a_strategy_that_trades_nothing_although_it_should_is_seen(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    now = day_after(simulated(bundle)[0], 3)
    record_live_runs(parts, now)
    expected = until(simulated(bundle), now)
    assert divergences(client)["explained"].tolist() == ["missing in live"] * len(expected)


def test_interventions_are_taken_into_account(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    halted = trades[1].decision_time
    now = day_after(trades[1], 4)
    keep(parts, trades[:1])
    for time, kind in ((halted, "halt"), (now.to_pydatetime(), "resume")):
        parts.journal.add_intervention(
            InterventionRecord(
                strategy_id=STRATEGY, book="paper", time=time, kind=kind, price=None, why="test"
            )
        )
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"]


def test_what_a_strategy_would_have_traded_after_it_was_archived_is_not_missing(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    done = until(simulated(bundle), day_after(simulated(bundle)[0], 2))
    keep(parts, done)
    closed = done[-1].exit_time + HOUR
    record_live_runs(parts, closed)
    move(client, 1, Stage.ARCHIVED, closed)
    record_live_runs(parts, closed + timedelta(days=9))
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)


def test_a_position_that_is_still_open_is_not_missing(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    second = trades[1]
    keep(parts, trades[:1])
    end = pd.Timestamp(second.exit_time).floor("D") + pd.Timedelta(days=1)
    only_two = CANDLES[CANDLES.index <= pd.Timestamp(second.exit_time)]
    shown = replace(parts, candles=Candles(only_two))
    record_live_runs(shown, end)
    assert divergences(client)["explained"].tolist() == ["same", "missing in live"]
    account = Account(positions={"BTCUSDT": position_of(second, bundle)})
    state = parts.journal.state
    state.put(PARTITION, paper_account(STRATEGY), account.model_dump(mode="json"), expected=0)
    record_live_runs(shown, end)
    assert divergences(client)["explained"].tolist() == ["same"]


def position_of(trade: TradeRecord, bundle: StrategyBundle) -> Position:
    return Position(
        position_id=trade.position_id,
        strategy_id=STRATEGY,
        model=MODEL,
        version=1,
        asset="BTCUSDT",
        timeframe="1h",
        atr_period=bundle.indicators.atr_period,
        break_even=bundle.break_even,
        side=trade.side,
        risk=trade.risk,
        decision_time=trade.decision_time,
        quantity=Decimal(1),
        stop=trade.entry_price - trade.side * trade.risk,
        stepped_until=trade.decision_time,
    )


def test_a_move_by_hand_counts_from_when_the_bot_saw_it_though_it_is_written_down_later(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    """The version's tags still say Staging, in which it was seen until the third trade."""
    trades = simulated(bundle)
    third, now = trades[2].decision_time, day_after(trades[2], 8)
    done = until(trades, now)
    live = [each.model_copy(update={"book": "live"}) for each in done[2:]]
    keep(parts, [*done[:2], *live])
    seen(parts, ("paper", STAGED, third), ("live", third, None))
    move_by_hand(client, Stage.PRODUCTION)
    record_live_runs(parts, now)
    tables = {
        run.data.tags["book"]: read_table(client, run.info.run_id, "divergence.csv")
        for run in live_runs(client)
    }
    assert tables["live"]["explained"].tolist() == ["same"] * len(live)
    assert len(live) > 2
    assert "paper" not in tables  # a run is begun where a version of it is in Staging


def test_a_version_that_left_staging_before_the_bot_looked_has_missed_nothing_on_paper(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    record_live_runs(parts, STAGED + HOUR)  # begins its run of paper trades
    trades = simulated(bundle)
    seen(parts, ("live", trades[0].decision_time, None))
    move_by_hand(client, Stage.PRODUCTION)
    record_live_runs(parts, day_after(trades[0], 3))
    paper = [run for run in live_runs(client) if run.data.tags["book"] == "paper"]
    assert [run.data.metrics.get("divergent_trades", 0) for run in paper] == [0]


def test_a_version_that_came_back_is_held_to_both_its_times(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    left, back = trades[1].decision_time, trades[3].decision_time
    now = day_after(trades[3], 4)
    done = until(trades, now)
    keep(parts, [done[0], *done[3:]])
    seen(parts, ("paper", STAGED, left), ("live", left, back), ("paper", back, None))
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"] * (len(done) - 2)


def test_a_version_is_held_to_candles_that_are_older_than_itself_where_the_bot_replayed_them(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    move_by_hand(client, Stage.NONE)
    move(client, 1, Stage.STAGING, datetime.fromisoformat("2025-08-01T12:00Z"))
    now = day_after(trades[0], 8)
    done = until(trades, now)
    keep(parts, done)
    seen(parts, ("paper", STAGED, None))
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)


# What fails


def test_a_strategy_that_fails_does_not_keep_the_others_from_theirs(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    other = replace(bundle, strategy_id="BTCUSDT-1h-aaaaaa")
    source = Lifecycle(client, MODEL, lambda: 0).version(1).run_id
    add_version(client, source, other, STAGED)
    trades = simulated(bundle)
    keep(parts, trades[:1])
    strange = InterventionRecord(
        strategy_id=other.strategy_id, book="paper", time=STAGED, kind="halt", price=None, why=""
    )
    parts.journal.add_intervention(strange)
    damaged = parts.journal.state
    key = f"paper/{STAGED.isoformat(timespec='microseconds')}/halt"
    damaged.put(f"interventions/{other.strategy_id}", key, {"kind": "?"}, expected=1)
    with pytest.raises(FixError, match=r"BTCUSDT-1h-aaaaaa, paper: .*damaged"):
        record_live_runs(parts, day_after(trades[0]))
    runs = {run.data.tags["strategy_id"]: run for run in live_runs(client)}
    assert runs[STRATEGY].data.metrics["trades"] == 1
    assert "divergent_trades" in runs[STRATEGY].data.metrics


@pytest.mark.parametrize("error", [RetryError("not now"), DataError("bad candles")])
def test_equity_is_logged_although_there_are_no_candles(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle, error: Exception
) -> None:
    trades = simulated(bundle)
    now = day_after(trades[0])
    done = until(trades, now)
    keep(parts, done)
    without = replace(parts, candles=Candles(CANDLES, error=error))
    kind = RetryError if isinstance(error, RetryError) else FixError
    with pytest.raises(kind, match=f"{STRATEGY}, paper: {error}"):
        record_live_runs(without, now)
    assert values(client, "equity_r") == [pytest.approx(sum(trade.r for trade in done))]
    assert values(client, "band_mid") == [0.5 * len(done)]
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)


def test_equity_is_logged_although_the_backtest_is_gone(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    monkeypatch.setattr("serving.live_record.BACKTEST_TRADES", "gone.csv")
    with pytest.raises(FixError, match=r"not all live runs are up to date: .* has no file gone"):
        record_live_runs(parts, day_after(trades[0]))
    assert values(client, "equity_r") == [trades[0].r]
    assert "band_mid" not in only_run(client).data.metrics
