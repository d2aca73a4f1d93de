"""The function that keeps candles up to date, against a Binance on the loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rehearsal.binance.klines import UNAVAILABLE, BinanceServer, binance_server
from serving import data_downloader
from serving.data_downloader import (
    FINEST,
    RESERVE_SECONDS,
    Downloader,
    download,
    handler,
    markets_of,
)
from store.aws import REGION, client
from store.backoff import Backoff
from store.binance import BinanceSource
from store.candle_archive import CandleArchive, open_archive
from store.config_file import config_at
from store.sqlite_state import SqliteState
from strategy.config import Config, config_from
from strategy.errors import ConfigError, DataError, RetryError, StoreError
from tests.aws_fakes import create_state_table, fake_aws
from tests.candle_frames import candles
from tests.launch_world import Told
from tests.manual_clock import ManualClock

EVENTS = Path(__file__).parents[1] / "events"
DAILY = json.loads((EVENTS / "candles_daily.json").read_text())
ON_DEMAND = json.loads((EVENTS / "candles_on_demand.json").read_text())

MIDNIGHT = pd.Timestamp("2026-03-01T00:00:00Z")
HOURS, FINE = 2400, 288
"""Closed candles that the exchange has at midnight."""
ASSETS = ("BTCUSDT", "ETHUSDT")


def market(bars: int, freq: str) -> pd.DataFrame:
    """So many closed candles, then those of two days that are still to come."""
    to_come = pd.Timedelta(days=2) // pd.Timedelta(freq)
    return candles(bars + to_come, str(MIDNIGHT - bars * pd.Timedelta(freq)), freq)


MARKET = {"1h": market(HOURS, "1h"), FINEST: market(FINE, "5min")}


class Desk:
    """A downloader on this machine, its clock and what the operator was told."""

    def __init__(self, server: BinanceServer, config: Config, folder: Path) -> None:
        self.server = server
        self.clock = ManualClock(MIDNIGHT.to_pydatetime())
        self.told = Told()
        self.archive = open_archive(folder / "candles", config.candles.max_gap_bars)
        self.downloader = Downloader(
            config,
            BinanceSource(
                self.archive,
                pd.DateOffset(days=1),
                server.client(),
                self.clock,
                Backoff(lambda seconds: None, attempts=2),
            ),
            SqliteState(folder / "state.db", self.clock),
            self.told,
        )

    def download(
        self, event: dict[str, Any] = DAILY, pages: int | None = None
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """What came of each market; time for so many pages in all, or for any number."""
        asked = iter(range(pages)) if pages is not None else None
        time_left = (lambda: True) if asked is None else (lambda: next(asked, None) is not None)
        records = download(event, replace(self.downloader, time_left=time_left))
        return {(each["asset"], each["timeframe"]): each for each in records}

    def change(self, asset: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Have the exchange hold other hours of an asset."""
        self.server.candles[asset, "1h"] = change(self.server.candles[asset, "1h"].copy())


def config_of(**asset_timeframes: list[str]) -> Config:
    document = json.loads(Path("config.json").read_text())
    document["asset_timeframes"] = asset_timeframes
    document["walk_forward_config"]["history_years"] = 1
    return config_from(document)


CONFIG = config_of(BTCUSDT=["1h"], ETHUSDT=["1h"])


@pytest.fixture
def server() -> Iterator[BinanceServer]:
    held = {(asset, timeframe): MARKET[timeframe] for asset in ASSETS for timeframe in MARKET}
    with binance_server(held) as running:
        yield running


@pytest.fixture
def desk(server: BinanceServer, tmp_path: Path) -> Desk:
    return Desk(server, CONFIG, tmp_path)


def held(archive: CandleArchive, asset: str, timeframe: str = "1h") -> pd.DatetimeIndex:
    return archive.open_times(asset, timeframe)


def test_every_day_all_markets_are_brought_up_to_date(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "serving"):
        records = desk.download()
    logged = [each.candles for each in caplog.records if hasattr(each, "candles")]
    assert logged == list(records.values())
    assert set(records) == {(asset, timeframe) for asset in ASSETS for timeframe in MARKET}
    for (asset, timeframe), record in records.items():
        closed = MARKET[timeframe].index[: {"1h": HOURS, FINEST: FINE}[timeframe]]
        assert held(desk.archive, asset, timeframe).equals(closed)
        assert record == {
            "asset": asset,
            "timeframe": timeframe,
            "added": len(closed),
            "revised": [],
            "gaps": [],
            "complete": True,
            "error": None,
        }
    assert desk.told == []


def test_the_next_day_adds_a_day(desk: Desk) -> None:
    desk.download()
    desk.clock.forward(days=1)
    assert desk.download()["BTCUSDT", "1h"]["added"] == 24
    assert desk.download()["BTCUSDT", "1h"]["added"] == 0


def test_on_demand_one_market_alone_is_downloaded(desk: Desk) -> None:
    assert set(desk.download(ON_DEMAND)) == {("BTCUSDT", "1h")}
    assert held(desk.archive, "BTCUSDT", FINEST).empty
    assert held(desk.archive, "ETHUSDT").empty


def test_an_asset_alone_means_all_of_its_timeframes(desk: Desk) -> None:
    assert set(desk.download({"asset": "ETHUSDT"})) == {("ETHUSDT", FINEST), ("ETHUSDT", "1h")}


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        ({"asset": "DOGEUSDT"}, ConfigError, "DOGEUSDT.*known are.*BTCUSDT 1h"),
        ({"asset": "BTCUSDT", "timeframe": "4h"}, ConfigError, "4h.*known are"),
        ({"timeframe": "1h"}, DataError, "name the asset"),
    ],
)
def test_an_event_that_means_nothing_is_refused(
    desk: Desk, event: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        desk.download(event)
    assert desk.server.requests == []


def test_the_finest_candles_are_kept_for_a_month_unless_they_are_traded() -> None:
    markets = markets_of(config_of(BTCUSDT=["1h", FINEST], ETHUSDT=["4h"]))
    histories = {(each.asset, each.timeframe): each.history for each in markets}
    assert histories == {
        ("BTCUSDT", "1h"): pd.DateOffset(years=1),
        ("BTCUSDT", FINEST): pd.DateOffset(years=1),
        ("ETHUSDT", "4h"): pd.DateOffset(years=1),
        ("ETHUSDT", FINEST): pd.DateOffset(days=31),
    }


def test_a_market_that_fails_does_not_keep_the_others_from_it(
    server: BinanceServer, tmp_path: Path
) -> None:
    desk = Desk(server, config_of(AAAUSDT=["1h"], BTCUSDT=["1h"]), tmp_path)
    records = desk.download()
    assert "no perpetual contract 'AAAUSDT'" in records["AAAUSDT", "1h"]["error"]
    assert records["BTCUSDT", "1h"]["complete"]
    assert desk.told.subjects == [
        f"AAAUSDT {timeframe}: candles cannot be downloaded" for timeframe in (FINEST, "1h")
    ]
    assert "It needs you" in desk.told[0][1]


def test_a_failure_is_told_once_a_day(server: BinanceServer, tmp_path: Path) -> None:
    desk = Desk(server, config_of(AAAUSDT=[FINEST]), tmp_path)
    desk.download()
    desk.download()
    assert len(desk.told) == 1
    desk.clock.forward(days=1)
    desk.download()
    assert len(desk.told) == 2


def test_what_may_work_later_is_an_error_after_all_else_is_done(desk: Desk) -> None:
    desk.server.fail_klines(UNAVAILABLE, UNAVAILABLE, after=2)  # the second page of the second
    with pytest.raises(RetryError, match="BTCUSDT 1h: Binance is unreachable"):
        desk.download()
    assert len(held(desk.archive, "BTCUSDT")) == 1000
    assert len(held(desk.archive, "ETHUSDT")) == HOURS
    ((subject, text),) = desk.told
    assert subject == "BTCUSDT 1h: candles cannot be downloaded"
    assert "It is tried again" in text

    assert desk.download()["BTCUSDT", "1h"]["added"] == HOURS - 1000
    assert len(desk.told) == 1


def test_a_passing_fault_is_nobodys_business(desk: Desk) -> None:
    desk.server.fail_klines(UNAVAILABLE, after=2)
    assert desk.download()["BTCUSDT", "1h"]["added"] == HOURS
    assert desk.told == []


def test_revised_candles_are_told_of_once(desk: Desk) -> None:
    desk.download()
    late = MARKET["1h"].index[[HOURS - 10, HOURS - 1]]

    def revise(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[late, "volume"] += 1
        return frame

    desk.change("ETHUSDT", revise)
    desk.clock.forward(hours=1)
    assert desk.download()["ETHUSDT", "1h"]["revised"] == [time.isoformat() for time in late]
    ((subject, text),) = desk.told
    assert subject == "ETHUSDT 1h: 2 candle(s) revised"
    assert all(str(time) in text for time in late)
    desk.clock.forward(hours=1)
    assert desk.download()["ETHUSDT", "1h"]["revised"] == []
    assert len(desk.told) == 1


def test_revisions_are_told_of_even_if_the_download_fails_after_them(desk: Desk) -> None:
    desk.download({"asset": "BTCUSDT", "timeframe": "1h"})

    def revise(frame: pd.DataFrame) -> pd.DataFrame:
        frame.iloc[HOURS - 1] *= 1.01
        return frame.drop(frame.index[HOURS])  # the page ends early, another is asked for

    desk.change("BTCUSDT", revise)
    desk.clock.forward(hours=1)
    healthy = len(desk.server.klines_asked()) + 1
    desk.server.fail_klines(UNAVAILABLE, UNAVAILABLE, after=healthy)
    with pytest.raises(RetryError):
        desk.download({"asset": "BTCUSDT", "timeframe": "1h"})
    assert desk.told.subjects == [
        "BTCUSDT 1h: candles cannot be downloaded",
        "BTCUSDT 1h: 1 candle(s) revised",
    ]


def test_a_gap_that_makes_candles_unusable_is_told_of_once(desk: Desk) -> None:
    gap = MARKET["1h"].index[500:525]
    desk.change("BTCUSDT", lambda frame: frame.drop(gap))
    desk.change("ETHUSDT", lambda frame: frame.drop(gap[1:]))
    records = desk.download()
    after = MARKET["1h"].index[499]
    assert records["BTCUSDT", "1h"]["gaps"] == [{"after": after.isoformat(), "missing_bars": 25}]
    assert records["ETHUSDT", "1h"]["gaps"][0]["missing_bars"] == 24
    ((subject, text),) = desk.told
    assert subject == "BTCUSDT 1h: gap of 25 candles"
    assert str(after) in text
    desk.clock.forward(days=1)
    desk.download()
    assert len(desk.told) == 1


def test_an_asset_that_is_no_longer_traded_is_told_of_once(desk: Desk) -> None:
    desk.download()
    desk.change("ETHUSDT", lambda frame: frame.iloc[:HOURS])
    desk.clock.forward(hours=24)
    desk.download()
    assert desk.told == []
    for _ in range(2):
        desk.clock.forward(hours=1)
        desk.download()
    assert desk.told.subjects == ["ETHUSDT 1h: gap of 25 candles"]


@pytest.mark.parametrize("pages_a_call", [1, 2])
def test_short_of_time_it_stops_at_a_page_and_later_calls_go_on(
    desk: Desk, pages_a_call: int
) -> None:
    market = MARKET["1h"].iloc[:HOURS].drop(MARKET["1h"].index[700:800])
    desk.change("BTCUSDT", lambda frame: frame.drop(frame.index[700:800]))
    kept = 0
    for _ in range(2 // pages_a_call):
        with pytest.raises(RetryError, match="BTCUSDT 1h: out of time"):
            desk.download(ON_DEMAND, pages_a_call)
        times = held(desk.archive, "BTCUSDT")
        assert len(times) > kept
        assert times.equals(market.index[: len(times)])
        assert desk.told == [], "what is not there yet is no gap"
        kept = len(times)
    record = desk.download(ON_DEMAND)["BTCUSDT", "1h"]
    assert record["complete"]
    assert record["revised"] == []
    assert record["added"] == len(market) - kept
    assert held(desk.archive, "BTCUSDT").equals(market.index)
    loaded = desk.archive.load("BTCUSDT", "1h", market.index[700])
    pd.testing.assert_frame_equal(loaded, market.iloc[700:], check_freq=False)
    assert desk.told.subjects == ["BTCUSDT 1h: gap of 100 candles"]


def test_short_of_time_the_newest_candles_come_before_old_gaps(desk: Desk) -> None:
    desk.change("BTCUSDT", lambda frame: frame.drop(frame.index[700:800]))
    desk.download()
    desk.clock.forward(days=1)
    with pytest.raises(RetryError):
        desk.download(ON_DEMAND, pages=1)
    assert held(desk.archive, "BTCUSDT")[-1] == MARKET["1h"].index[HOURS + 23]


def test_without_any_time_nothing_is_asked_for(desk: Desk) -> None:
    with pytest.raises(RetryError, match=r"BTCUSDT 1h: out of time; .*ETHUSDT 1h: out"):
        desk.download(pages=0)
    assert desk.server.requests == []
    assert desk.told == []


def test_all_is_downloaded_before_an_operator_who_cannot_be_told(
    server: BinanceServer, tmp_path: Path
) -> None:
    desk = Desk(server, config_of(AAAUSDT=["1h"], BTCUSDT=["1h"]), tmp_path)
    desk.told.fault = StoreError("the topic is gone")
    with pytest.raises(StoreError, match="topic"):
        desk.download()
    assert len(held(desk.archive, "BTCUSDT")) == HOURS


class Deployed:
    """The function as AWS runs it: bucket, table and topic in one account."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self.seconds = [300.0]
        """What is left whenever it is asked for; the last one stays."""

    def call(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        def remaining() -> int:
            return int(1000 * (self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]))

        context = SimpleNamespace(
            function_name="data-downloader",
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:{REGION}:123456789012:function:data-downloader",
            aws_request_id="52fdfc07-2182-154f-163f-5f0f9a621d72",
            get_remaining_time_in_millis=remaining,
        )
        return handler(event, context)

    def told(self) -> list[str]:
        """Subjects of the messages that arrived."""
        answer = client("sqs").receive_message(QueueUrl=self.inbox, MaxNumberOfMessages=10)
        return [json.loads(each["Body"])["Subject"] for each in answer.get("Messages", ())]


@pytest.fixture
def deployed(server: BinanceServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    with fake_aws():
        place = {"LocationConstraint": REGION}
        client("s3").create_bucket(Bucket="trading", CreateBucketConfiguration=place)
        client("s3").put_object(
            Bucket="trading", Key="config.json", Body=CONFIG.model_dump_json().encode()
        )
        create_state_table(client("dynamodb"), "state")
        topic = client("sns").create_topic(Name="operator")["TopicArn"]
        inbox = client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
        arn = client("sqs").get_queue_attributes(QueueUrl=inbox, AttributeNames=["QueueArn"])
        client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"]
        )
        monkeypatch.setenv("BUCKET", "trading")
        monkeypatch.setenv("STATE_URI", "dynamodb://state")
        monkeypatch.setenv("TOPIC_ARN", topic)
        monkeypatch.setattr(data_downloader, "connect", server.client)
        monkeypatch.setattr(data_downloader, "utc_now", lambda: MIDNIGHT.to_pydatetime())
        yield Deployed(inbox)


def test_deployed_it_fills_the_bucket(deployed: Deployed) -> None:
    records = deployed.call(DAILY)
    assert json.loads(json.dumps(records)) == records
    assert len(records) == 4
    archive = open_archive("s3://trading/candles", 24)
    assert held(archive, "ETHUSDT").equals(MARKET["1h"].index[:HOURS])
    assert deployed.call(ON_DEMAND)[0]["added"] == 0


def test_deployed_it_stops_while_time_is_left_and_goes_on_when_called_again(
    deployed: Deployed,
) -> None:
    deployed.seconds = [RESERVE_SECONDS + 0.1, RESERVE_SECONDS + 0.1, RESERVE_SECONDS]
    with pytest.raises(RetryError, match="BTCUSDT 1h: out of time"):
        deployed.call(ON_DEMAND)
    assert len(held(open_archive("s3://trading/candles", 24), "BTCUSDT")) == 2000
    deployed.seconds = [300.0]
    assert deployed.call(ON_DEMAND)[0]["added"] == HOURS - 2000


def test_deployed_it_tells_the_operator_through_the_topic(
    deployed: Deployed, server: BinanceServer
) -> None:
    server.candles["BTCUSDT", "1h"] = MARKET["1h"].drop(MARKET["1h"].index[500:525])
    for _ in range(2):
        deployed.call(ON_DEMAND)
    assert deployed.told() == ["BTCUSDT 1h: gap of 25 candles"]


def test_what_is_not_set_is_named(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOPIC_ARN")
    monkeypatch.setenv("BUCKET", "")
    with pytest.raises(ConfigError, match=r"BUCKET \(.*TOPIC_ARN \("):
        deployed.call(DAILY)


def test_a_config_in_a_bucket_is_read_like_a_file(deployed: Deployed) -> None:
    assert config_at("s3://trading/config.json").digest == CONFIG.digest
    assert config_at("config.json").asset_timeframes == {"BTCUSDT": ["1h"]}
    with pytest.raises(ConfigError, match=r"s3://trading/other\.json: there is no such file"):
        config_at("s3://trading/other.json")
    client("s3").put_object(Bucket="trading", Key="config.json", Body=b"{\xff")
    with pytest.raises(ConfigError, match=r"s3://trading/config\.json"):
        deployed.call(DAILY)
