"""The bot, driven by its handler tick by tick, makes the trades of the simulator: all of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from serving import trading_bot
from store.candles import CandleFile
from store.config_file import read_config
from store.synthetic import SyntheticSource
from strategy.config import IndicatorParameters
from tests.parity import ASSET, REAL_CANDLES, ROOT, TIMEFRAME, PaperWorld, bundle_of

CONTEXT = SimpleNamespace(
    function_name="trading_bot",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:ap-southeast-1:123456789012:function:trading_bot",
    aws_request_id="a-request",
)
INDICATORS = IndicatorParameters(8, 24, 48, 7, 7)
END = pd.Timestamp("2026-01-01T00:00Z")


def real_hours() -> pd.DataFrame:
    if not REAL_CANDLES.exists():
        pytest.skip(f"the real candles are not there: {REAL_CANDLES}")
    return CandleFile(REAL_CANDLES, max_gap_bars=24).load(ASSET, TIMEFRAME)


def world_on(candles: pd.DataFrame, begin: pd.Timestamp, folder: Path) -> PaperWorld:
    history = candles[candles.index < begin]
    bundle = bundle_of(history.iloc[-4000:], read_config(ROOT / "config.json"), INDICATORS)
    return PaperWorld(folder, candles, [bundle], begin)


def driven(world: PaperWorld, bars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trading_bot, "deployed_bot", lambda: world.bot)
    for moment in world.moments(bars):
        world.clock.now = moment
        trading_bot.handler({}, CONTEXT)


def test_days_of_the_embedded_market_are_traded_as_the_simulator_trades_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = SyntheticSource(42, 6000, END, trend_strength=0.0).load(ASSET, TIMEFRAME)
    world = world_on(candles, candles.index[-6 * 24], tmp_path)
    driven(world, 5 * 24, monkeypatch)
    (bundle,) = world.bundles
    assert len(world.trades(bundle)) >= 7
    assert world.differences(bundle) == []
    # It can be seen: a wrong price is a difference.
    world.candles = world.candles.assign(open=world.candles["open"] * (1 + 1e-7))
    assert len(world.differences(bundle)) > 0


def test_a_week_of_real_hours_is_traded_as_the_simulator_trades_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = world_on(real_hours(), pd.Timestamp("2023-01-09T00:00Z"), tmp_path)
    driven(world, 7 * 24, monkeypatch)
    report(world, capsys, at_least=6)


@pytest.mark.torture
def test_a_year_of_real_hours_is_traded_as_the_simulator_trades_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = world_on(real_hours(), pd.Timestamp("2023-01-02T00:00Z"), tmp_path)
    driven(world, 365 * 24, monkeypatch)
    report(world, capsys, at_least=500)


def report(world: PaperWorld, capsys: pytest.CaptureFixture[str], at_least: int) -> None:
    (bundle,) = world.bundles
    trades, different = world.trades(bundle), world.differences(bundle)
    kinds = Counter(each.kind for each in world.interventions(bundle))
    reasons = Counter(each.reason for each in trades)
    with capsys.disabled():
        print(
            f"\nparity: {len(trades)} trades {dict(reasons)}, interventions {dict(kinds)}, "
            f"{len(different)} differences"
        )
    assert len(trades) >= at_least
    assert different == []
