"""The market of a rehearsal: what it is made of, and how a candle passes at the exchange."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import numpy as np
import pandas as pd
import pytest

from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.clock import SimulatedClock
from rehearsal.market import LIFE, Regime, Tape, embedded_market, in_five_minutes, last_close
from store.market import ReplayMarket
from store.synthetic import NO_EDGE, PLANTED_TREND
from strategy.candles import resample

BTC = "BTCUSDT"
BEGIN = datetime(2024, 1, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
BAR = tuple[float, float, float, float]


# What it is made of


def market(seed: int = 1, months: int = 2, **changes: object) -> pd.DataFrame:
    begin = pd.Timestamp("2024-01-01", tz="UTC")
    frames = embedded_market([(BTC, "1h")], begin, months, history_years=1, seed=seed, **changes)  # type: ignore[arg-type]
    return frames[BTC, "1h"]


def test_the_market_is_the_same_for_a_seed_and_another_for_another() -> None:
    pd.testing.assert_frame_equal(market(), market())
    assert not market()["close"].equals(market(seed=2)["close"])


def test_the_history_does_not_depend_on_how_long_the_rehearsal_is() -> None:
    shorter, longer = (market(months=months).loc[:"2023"] for months in (2, 3))
    pd.testing.assert_frame_equal(shorter, longer)


def test_prices_are_in_ticks_and_candles_without_gaps_in_time_and_price() -> None:
    frame = market()
    prices = frame[["open", "high", "low", "close"]]
    assert prices.equals(prices.round(2))
    assert frame.index.equals(pd.date_range("2022-12-02", "2024-02-29 23:00", freq="h", tz="UTC"))
    assert np.allclose(frame["open"].iloc[1:], frame["close"].iloc[:-1], atol=0.011)
    assert (frame["low"] <= prices.min(axis=1)).all()
    assert (frame["high"] >= prices.max(axis=1)).all()


def test_timeframes_of_an_asset_are_of_one_market_and_assets_are_not() -> None:
    begin = pd.Timestamp("2024-01-01", tz="UTC")
    markets = [(BTC, "1h"), (BTC, "4h"), ("ETHUSDT", "1h")]
    frames = embedded_market(markets, begin, 1, history_years=1, seed=1)
    hours, longer = frames[BTC, "1h"], frames[BTC, "4h"]
    assert list(longer["close"].iloc[:50]) == list(hours["close"].iloc[3:200:4])
    assert not hours["close"].equals(frames["ETHUSDT", "1h"]["close"])
    assert last_close(frames) == pd.Timestamp("2024-02-01", tz="UTC")


def momentum(frame: pd.DataFrame) -> float:
    """By how many standard errors the next hour goes on as the last day went."""
    returns = np.log(frame["close"]).diff()
    gained = (
        np.sign(returns.rolling(24).sum()).shift() * returns / returns.rolling(168).std()
    ).dropna()
    return float(gained.mean() / gained.std() * len(gained) ** 0.5)


def test_the_edge_is_there_is_lost_and_comes_back() -> None:
    assert [regime.trend_strength for regime in LIFE] == [PLANTED_TREND, NO_EDGE, PLANTED_TREND]
    regimes = (Regime(12, PLANTED_TREND), Regime(12, NO_EDGE), Regime(12, PLANTED_TREND))
    frame = market(months=36, regimes=regimes)
    history, *years = (frame.loc[str(year)] for year in (2023, 2024, 2025, 2026))
    assert momentum(history) > 3
    assert momentum(years[0]) > 3
    assert abs(momentum(years[1])) < 2
    assert momentum(years[2]) > 3


# How a candle passes


class Played:
    """Hours from BEGIN on, an account, and a position with its stop."""

    def __init__(self, *bars: BAR, funding: str = "0") -> None:
        index = pd.date_range(BEGIN, periods=len(bars), freq="h", name="timestamp")
        frame = pd.DataFrame(bars, index, ["open", "high", "low", "close"]).assign(volume=1.0)
        self.clock = SimulatedClock(BEGIN)
        self.account = FuturesAccount(
            {BTC: Contract(BTC, tick=Decimal("0.01"))},
            {},
            now=self.clock.milliseconds,
            funding_rate=Decimal(funding),
        )
        self.tape = Tape({(BTC, "1h"): frame}, self.account, self.clock)
        self._numbers = count()

    def trade(self, side: str, **parts: str) -> None:
        self.account.place(
            {
                "symbol": BTC,
                "side": side,
                "type": "MARKET",
                "quantity": "1",
                "newClientOrderId": f"order-{next(self._numbers)}",
                **parts,
            }
        )

    def protect(self, side: str, price: str) -> None:
        self.account.place_stop(
            {
                "symbol": BTC,
                "side": side,
                "algoType": "CONDITIONAL",
                "type": "STOP_MARKET",
                "quantity": "1",
                "triggerPrice": price,
                "reduceOnly": "true",
                "clientAlgoId": f"stop-{next(self._numbers)}",
            }
        )

    def until(self, hours: float) -> None:
        self.clock.advance_to(BEGIN + hours * HOUR)
        self.tape.play()

    @property
    def price(self) -> float:
        return float(self.account.prices[BTC])

    @property
    def fills(self) -> list[tuple[float, str]]:
        """Price of each fill but the entry, and when."""
        return [
            (float(fill["price"]), f"{pd.Timestamp(fill['time'], unit='ms'):%H:%M:%S}")
            for fill in self.account.trades[1:]
        ]


STILL: BAR = (1000, 1001, 999, 1000)
SIDES: Sequence[tuple[str, str]] = (("BUY", "SELL"), ("SELL", "BUY"))


def test_the_price_stands_at_the_open_until_the_last_second() -> None:
    world = Played((1000, 1020, 980, 1010), (1011, 1020, 1000, 1005))
    for hours in (0, 0.5, 3598.9 / 3600):
        world.until(hours)
        assert world.price == 1000
    world.until(3599 / 3600)
    assert world.price == 1010
    world.until(1)
    assert world.price == 1011


@pytest.mark.parametrize(("side", "out", "stop"), [("BUY", "SELL", "985"), ("SELL", "BUY", "1015")])
def test_a_stop_is_filled_at_its_price_in_the_bar_whose_extreme_reaches_it(
    side: str, out: str, stop: str
) -> None:
    world = Played(STILL, (1000, 1014.99, 985.01, 1000), (1000, 1015, 985, 1000), STILL)
    world.trade(side)
    world.protect(out, stop)
    world.until(2.9)
    assert world.fills == []
    world.until(4)
    assert world.fills == [(float(stop), "08:59:59")]
    assert world.account.holding(BTC).amount == 0


@pytest.mark.parametrize(
    ("side", "out", "stop", "worse"),
    [
        ("BUY", "SELL", "990", (970, 975, 965, 970)),
        ("SELL", "BUY", "1010", (1030, 1035, 1025, 1030)),
    ],
)
def test_beyond_a_gap_a_stop_is_filled_at_the_open(
    side: str, out: str, stop: str, worse: BAR
) -> None:
    world = Played(STILL, worse)
    world.trade(side)
    world.protect(out, stop)
    world.until(1)
    assert world.fills == [(worse[0], "07:00:00")]


@pytest.mark.parametrize(("side", "out"), SIDES)
def test_the_extreme_against_the_position_comes_first(side: str, out: str) -> None:
    world = Played((1000, 1020, 980, 1000))
    world.trade(side)
    seen: list[float] = []
    world.account.glide = lambda symbol, price: seen.append(float(price))  # type: ignore[method-assign]
    world.until(1)
    assert seen == ([980, 1020, 1000] if side == "BUY" else [1020, 980, 1000])


def test_funding_is_paid_every_8_hours_at_the_price_at_which_the_hour_opens() -> None:
    world = Played(
        (1000, 1001, 999, 1000), STILL, (1100, 1200, 1050, 1060), STILL, funding="0.0001"
    )
    world.trade("BUY")
    world.until(1.99)
    paid = lambda: [r["income"] for r in world.account.income if r["incomeType"] == "FUNDING_FEE"]  # noqa: E731
    assert paid() == []
    world.until(3.5)
    assert paid() == ["-0.11000000"]


def test_a_stop_that_the_open_passes_pays_the_funding_of_that_moment() -> None:
    world = Played(STILL, STILL, (900, 910, 890, 900), funding="0.0001")
    world.trade("BUY")
    world.protect("SELL", "950")
    world.until(2)
    assert world.fills == [(900.0, "08:00:00")]
    assert [r["income"] for r in world.account.income if r["incomeType"] == "FUNDING_FEE"] == [
        "-0.09000000"
    ]


def test_a_rehearsal_may_begin_within_a_bar_and_end_after_the_last_one() -> None:
    world = Played(STILL, (1002, 1003, 1001, 1002))
    world.until(5)
    assert world.price == 1002
    assert world.account.now == world.clock.milliseconds


# Candles of five minutes


def test_five_minutes_make_up_their_candle_and_have_its_extremes_when_it_is_played_so() -> None:
    hours = market().iloc[:50]
    finest = in_five_minutes(hours, "1h")
    pd.testing.assert_frame_equal(resample(finest, "5m", "1h"), hours, check_freq=False)
    still = finest[finest.index.minute < 55]
    for name in ("open", "high", "low", "close"):
        assert still[name].tolist() == hours["open"].repeat(11).tolist()


def test_a_bot_sees_the_same_price_on_either_candles() -> None:
    hours = market().iloc[:50]
    clock = SimulatedClock(hours.index[10].to_pydatetime())
    coarse = ReplayMarket({(BTC, "1h"): hours}, clock)
    fine = ReplayMarket({(BTC, "5m"): in_five_minutes(hours, "1h")}, clock)
    for _ in range(30):
        assert fine.price(BTC) == coarse.price(BTC)
        clock.sleep(300)
