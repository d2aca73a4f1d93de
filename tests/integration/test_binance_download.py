"""Downloading from Binance: the real ccxt client against a server on the loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rehearsal.binance.klines import (
    BANNED,
    CUT_OFF,
    ILLEGAL_PARAMETER,
    INVALID_SYMBOL,
    RESTRICTED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    WEB_PAGE,
    BinanceServer,
    Fault,
    binance_server,
)
from store import aws
from store.aws import REGION
from store.backoff import Backoff
from store.binance import BinanceSource, Page, missing_spans
from store.candle_archive import Gap, open_archive
from store.download import main
from store.synthetic import synthetic_candles
from strategy.candles import resample
from strategy.errors import ConfigError, DataError, FixError, RetryError
from tests.aws_fakes import fake_aws

ASSET, TIMEFRAME = "BTCUSDT", "4h"
BAR = pd.Timedelta(hours=4)
DAY = pd.Timedelta(days=1)
NOW = pd.Timestamp("2024-03-10T10:25:00Z")
IN_PROGRESS = pd.Timestamp("2024-03-10T08:00:00Z")
YEAR_AGO = pd.Timestamp("2023-03-10T08:00:00Z")


class Patience:
    """A sleep that takes no time and remembers what it was asked for."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    """All candles that the exchange has at NOW, the one in progress included."""
    start = pd.Timestamp("2023-02-01T00:00:00Z")
    hours = int((IN_PROGRESS + BAR - start) / pd.Timedelta(hours=1))
    return resample(synthetic_candles(np.random.default_rng(5), hours, start), "1h", TIMEFRAME)


@pytest.fixture(scope="module")
def history(market: pd.DataFrame) -> pd.DataFrame:
    """The closed candles of the last year."""
    return market.loc[YEAR_AGO : IN_PROGRESS - BAR]


@pytest.fixture
def server(market: pd.DataFrame) -> Iterator[BinanceServer]:
    with binance_server({(ASSET, TIMEFRAME): market}) as running:
        yield running


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def source(server: BinanceServer, patience: Patience, tmp_path: Path) -> BinanceSource:
    return source_at(NOW, server, patience, tmp_path)


def source_at(
    now: pd.Timestamp, server: BinanceServer, patience: Patience, folder: Path, attempts: int = 4
) -> BinanceSource:
    return BinanceSource(
        archive=open_archive(folder, max_gap_bars=24),
        history=pd.DateOffset(years=1),
        exchange=server.client(),
        now=lambda: now,
        backoff=Backoff(patience, np.random.default_rng(0), attempts),
    )


def moment(milliseconds: str) -> pd.Timestamp:
    return pd.Timestamp(int(milliseconds), unit="ms", tz="UTC")


def test_the_closed_candles_of_the_last_years_arrive_exactly_as_they_are(
    source: BinanceSource, server: BinanceServer, history: pd.DataFrame
) -> None:
    candles = source.load(ASSET, TIMEFRAME)
    pd.testing.assert_frame_equal(candles, history, check_exact=True, check_freq=False)
    assert len(server.klines_asked()) > 1, "more than one page was needed"


def test_the_candle_in_progress_is_never_taken(source: BinanceSource, market: pd.DataFrame) -> None:
    assert market.index[-1] == IN_PROGRESS, "the server does have it"
    assert source.load(ASSET, TIMEFRAME).index[-1] == IN_PROGRESS - BAR


def test_a_candle_is_taken_from_the_moment_that_it_closes(
    server: BinanceServer, patience: Patience, tmp_path: Path
) -> None:
    at_close = source_at(IN_PROGRESS + BAR, server, patience, tmp_path)
    assert at_close.load(ASSET, TIMEFRAME).index[-1] == IN_PROGRESS


def test_only_public_futures_data_is_asked_for(
    source: BinanceSource, server: BinanceServer
) -> None:
    source.load(ASSET, TIMEFRAME)
    assert {path for path, _ in server.requests} == {
        "/fapi/v1/exchangeInfo",
        "/fapi/v1/klines",
    }


def test_a_folder_that_is_up_to_date_needs_no_network(
    source: BinanceSource, server: BinanceServer, history: pd.DataFrame
) -> None:
    source.load(ASSET, TIMEFRAME)
    server.requests.clear()
    assert len(source.load(ASSET, TIMEFRAME)) == len(history)
    assert server.requests == []


def test_later_only_the_newest_candles_are_asked_for(
    server: BinanceServer, patience: Patience, tmp_path: Path
) -> None:
    source_at(NOW - 2 * BAR, server, patience, tmp_path).load(ASSET, TIMEFRAME)
    server.requests.clear()
    later = source_at(NOW, server, patience, tmp_path)
    assert later.download(ASSET, TIMEFRAME).added == 2
    (query,) = server.klines_asked()
    newest_held = IN_PROGRESS - 3 * BAR
    assert moment(query["startTime"]) == newest_held - DAY, "the newest day comes once more"


def test_no_more_than_the_asked_years_are_given_of_a_folder_that_holds_more(
    source: BinanceSource, market: pd.DataFrame, history: pd.DataFrame
) -> None:
    source.archive.write(ASSET, TIMEFRAME, market.iloc[:-1])
    assert source.load(ASSET, TIMEFRAME).index.equals(history.index)


def test_an_asset_that_is_younger_than_the_history_begins_with_its_first_candle(
    source: BinanceSource, server: BinanceServer, market: pd.DataFrame
) -> None:
    young = market.iloc[-100:]
    server.candles[ASSET, TIMEFRAME] = young
    assert source.load(ASSET, TIMEFRAME).index.equals(young.index[:-1])
    assert source.download(ASSET, TIMEFRAME).added == 0


def test_an_interrupted_download_goes_on_where_it_stopped(
    server: BinanceServer, patience: Patience, tmp_path: Path, history: pd.DataFrame
) -> None:
    source = source_at(NOW, server, patience, tmp_path, attempts=1)
    server.fail_klines(UNAVAILABLE, after=1)
    with pytest.raises(RetryError):
        source.download(ASSET, TIMEFRAME)
    kept = source.archive.open_times(ASSET, TIMEFRAME)
    assert 0 < len(kept) < len(history)

    server.requests.clear()
    assert source.download(ASSET, TIMEFRAME).added == len(history) - len(kept)
    assert moment(server.klines_asked()[0]["startTime"]) == kept[-1] - DAY
    assert source.archive.open_times(ASSET, TIMEFRAME).equals(history.index)


def test_a_month_that_was_deleted_is_downloaded_again(
    source: BinanceSource, history: pd.DataFrame, tmp_path: Path
) -> None:
    source.load(ASSET, TIMEFRAME)
    (tmp_path / ASSET / TIMEFRAME / "2024-01.csv.gz").unlink()
    assert source.download(ASSET, TIMEFRAME).added == 31 * 6
    assert source.load(ASSET, TIMEFRAME).index.equals(history.index)


def test_a_gap_of_the_exchange_stays_a_gap(
    source: BinanceSource, server: BinanceServer, market: pd.DataFrame, history: pd.DataFrame
) -> None:
    missing = history.index[700:706]
    server.candles[ASSET, TIMEFRAME] = market.drop(missing)
    assert source.load(ASSET, TIMEFRAME).index.equals(history.index.drop(missing))
    assert source.gaps(ASSET, TIMEFRAME) == [Gap(history.index[699], 6)]


def test_a_gap_that_is_old_and_stays_empty_is_asked_for_once(
    source: BinanceSource, server: BinanceServer, market: pd.DataFrame, history: pd.DataFrame
) -> None:
    source.download(ASSET, TIMEFRAME)
    shutil.rmtree(Path(source.archive.name, ASSET))
    server.candles[ASSET, TIMEFRAME] = market.drop(history.index[700:706])
    source.download(ASSET, TIMEFRAME)
    server.requests.clear()
    source.download(ASSET, TIMEFRAME)
    assert server.requests == []


def test_a_new_gap_is_asked_for_every_day_until_it_is_a_week_old(
    server: BinanceServer, patience: Patience, tmp_path: Path, market: pd.DataFrame
) -> None:
    gap = market.index[-100:-97]
    server.candles[ASSET, TIMEFRAME] = market.drop(gap)
    asked = []
    for day in range(10):
        now = gap[-1] + BAR + DAY * (day + 1)
        server.requests.clear()
        source_at(now, server, patience, tmp_path).download(ASSET, TIMEFRAME)
        begun = [moment(query["startTime"]) for query in server.klines_asked()]
        asked.append(gap[0] - BAR in begun)
    # On the first day it lies in the newest day, which is asked for anyway.
    assert asked == [False, *[True] * 6, False, False, False]


def test_a_gap_that_is_filled_within_a_week_is_filled_here(
    server: BinanceServer, patience: Patience, tmp_path: Path, market: pd.DataFrame
) -> None:
    gap = market.index[-40:-37]
    server.candles[ASSET, TIMEFRAME] = market.drop(gap)
    source_at(NOW - 2 * BAR, server, patience, tmp_path).download(ASSET, TIMEFRAME)
    server.candles[ASSET, TIMEFRAME] = market
    later = source_at(NOW, server, patience, tmp_path)
    assert later.download(ASSET, TIMEFRAME).added == 3 + 2
    assert later.gaps(ASSET, TIMEFRAME) == []


def test_a_gap_too_long_to_be_tolerated_is_asked_for_every_time(
    source: BinanceSource, server: BinanceServer, market: pd.DataFrame, history: pd.DataFrame
) -> None:
    server.candles[ASSET, TIMEFRAME] = market.drop(history.index[700:725])
    source.download(ASSET, TIMEFRAME)
    server.candles[ASSET, TIMEFRAME] = market
    assert source.download(ASSET, TIMEFRAME).added == 25


def test_a_gap_counts_as_empty_only_when_the_whole_download_ended_well(
    server: BinanceServer, patience: Patience, tmp_path: Path, market: pd.DataFrame
) -> None:
    source = source_at(NOW, server, patience, tmp_path, attempts=1)
    gap = market.index[300:303]
    server.candles[ASSET, TIMEFRAME] = market.drop(gap)
    server.fail_klines(UNAVAILABLE, after=1)
    with pytest.raises(RetryError):
        source.download(ASSET, TIMEFRAME)
    assert source.archive.absent(ASSET, TIMEFRAME).empty
    server.candles[ASSET, TIMEFRAME] = market
    source.download(ASSET, TIMEFRAME)
    assert source.gaps(ASSET, TIMEFRAME) == []


def test_an_exchange_that_gives_nothing_new_leaves_a_gap_up_to_now(
    source: BinanceSource, server: BinanceServer, market: pd.DataFrame
) -> None:
    server.candles[ASSET, TIMEFRAME] = market.iloc[:-31]
    source.download(ASSET, TIMEFRAME)
    assert source.gaps(ASSET, TIMEFRAME) == [Gap(market.index[-32], 30)]


def test_no_candles_at_all_is_an_error_that_names_the_asset(
    source: BinanceSource, server: BinanceServer, market: pd.DataFrame
) -> None:
    server.candles[ASSET, TIMEFRAME] = market.iloc[:0]
    source.download(ASSET, TIMEFRAME)
    with pytest.raises(DataError, match="no 4h candles of BTCUSDT"):
        source.gaps(ASSET, TIMEFRAME)


def test_months_that_ended_before_the_history_begins_are_removed(
    source: BinanceSource, market: pd.DataFrame
) -> None:
    source.archive.write(ASSET, TIMEFRAME, market.iloc[:-1])
    home = Path(source.archive.name, ASSET, TIMEFRAME)
    assert (home / "2023-02.csv.gz").exists()
    source.download(ASSET, TIMEFRAME)
    assert min(path.name for path in home.glob("*.csv.gz")) == "2023-03.csv.gz"
    kept = source.archive.open_times(ASSET, TIMEFRAME)
    assert kept[0] == pd.Timestamp("2023-03-01T00:00:00Z"), "the month in which it begins stays"


def test_nothing_is_removed_when_the_download_fails(
    server: BinanceServer, patience: Patience, tmp_path: Path, market: pd.DataFrame
) -> None:
    source = source_at(NOW, server, patience, tmp_path, attempts=1)
    source.archive.write(ASSET, TIMEFRAME, market.iloc[:50])
    server.fail_klines(UNAVAILABLE, after=0)
    with pytest.raises(RetryError):
        source.download(ASSET, TIMEFRAME)
    assert len(source.archive.open_times(ASSET, TIMEFRAME)) == 50


def test_what_is_answered_beyond_the_question_is_not_taken(
    source: BinanceSource, server: BinanceServer, history: pd.DataFrame
) -> None:
    server.minds_the_end = False
    assert source.load(ASSET, TIMEFRAME).index.equals(history.index)


def test_one_may_stop_at_any_page_and_go_on_later(
    source: BinanceSource, server: BinanceServer, history: pd.DataFrame
) -> None:
    first = next(source.pages(ASSET, TIMEFRAME))
    assert first.added == first.done == 1000
    assert len(server.klines_asked()) == 1, "no page is asked for ahead"
    assert source.archive.open_times(ASSET, TIMEFRAME).equals(history.index[:1000])
    assert first.added + source.download(ASSET, TIMEFRAME).added == len(history)
    assert source.load(ASSET, TIMEFRAME).index.equals(history.index)


def test_a_candle_that_the_exchange_revised_is_replaced_and_reported(
    server: BinanceServer, patience: Patience, tmp_path: Path, market: pd.DataFrame
) -> None:
    source_at(NOW - BAR, server, patience, tmp_path).load(ASSET, TIMEFRAME)
    newest = IN_PROGRESS - 2 * BAR
    revised = market.copy()
    revised.loc[[newest - DAY - BAR, newest - DAY, newest], "volume"] += 1.5
    server.candles[ASSET, TIMEFRAME] = revised
    later = source_at(NOW, server, patience, tmp_path)
    seen = [newest - DAY, newest]
    assert list(later.download(ASSET, TIMEFRAME).revised) == seen, "those of the newest day"
    assert later.load(ASSET, TIMEFRAME).loc[seen].equals(revised.loc[seen])


@pytest.mark.parametrize("fault", [TOO_MANY_REQUESTS, UNAVAILABLE, CUT_OFF])
def test_a_passing_fault_is_outlasted(
    fault: Fault,
    source: BinanceSource,
    server: BinanceServer,
    patience: Patience,
    history: pd.DataFrame,
) -> None:
    server.faults += [fault]
    server.fail_klines(fault, fault, after=1)
    assert source.load(ASSET, TIMEFRAME).index.equals(history.index)
    assert len(patience.slept) == 3, "once for the list of contracts, twice for the second page"


def test_pauses_double_and_are_cut_by_chance(
    source: BinanceSource, server: BinanceServer, patience: Patience
) -> None:
    server.faults += [UNAVAILABLE] * 100
    with pytest.raises(RetryError):
        source.load(ASSET, TIMEFRAME)
    assert len(patience.slept) == 3, "four attempts have three pauses"
    for pause, longest in zip(patience.slept, [1, 2, 4], strict=True):
        assert longest / 2 <= pause < longest


def test_a_pause_that_binance_asks_for_is_kept(
    source: BinanceSource, server: BinanceServer, patience: Patience
) -> None:
    server.faults.append(TOO_MANY_REQUESTS)
    source.load(ASSET, TIMEFRAME)
    assert patience.slept == [7]


def test_a_ban_of_hours_is_not_waited_for(
    source: BinanceSource, server: BinanceServer, patience: Patience
) -> None:
    server.faults.append(BANNED)
    with pytest.raises(RetryError, match="418"):
        source.load(ASSET, TIMEFRAME)
    assert patience.slept == []


def test_binance_that_stays_away_is_an_error_that_says_where_and_what_to_do(
    source: BinanceSource, server: BinanceServer
) -> None:
    server.faults += [UNAVAILABLE] * 100
    with pytest.raises(RetryError, match="unreachable") as caught:
        source.load(ASSET, TIMEFRAME)
    for part in (ASSET, server.url, "4 time(s)", "503", "try again", "is kept"):
        assert part in str(caught.value)


def test_no_connection_at_all_is_a_retry_error(patience: Patience, tmp_path: Path) -> None:
    with binance_server({}) as gone:
        source = source_at(NOW, gone, patience, tmp_path)
    with pytest.raises(RetryError, match="unreachable"):
        source.load(ASSET, TIMEFRAME)


def test_a_restricted_place_is_named_and_not_tried_again(
    source: BinanceSource, server: BinanceServer, patience: Patience
) -> None:
    server.faults.append(RESTRICTED)
    with pytest.raises(FixError, match=r"HTTP 451.*United States"):
        source.load(ASSET, TIMEFRAME)
    assert len(server.requests) == 1
    assert patience.slept == []


def test_an_asset_that_binance_does_not_list_is_a_config_error(
    source: BinanceSource, server: BinanceServer
) -> None:
    with pytest.raises(ConfigError, match="DOGEUSD"):
        source.load("DOGEUSD", TIMEFRAME)
    assert server.klines_asked() == []


@pytest.mark.parametrize(
    ("fault", "error"), [(INVALID_SYMBOL, ConfigError), (ILLEGAL_PARAMETER, FixError)]
)
def test_a_refusal_is_not_tried_again(
    fault: Fault, error: type[FixError], source: BinanceSource, server: BinanceServer
) -> None:
    source.exchange.load_markets()
    server.faults.append(fault)
    with pytest.raises(error, match=ASSET):
        source.load(ASSET, TIMEFRAME)
    assert len(server.klines_asked()) == 1


def test_a_web_page_in_the_way_is_named(source: BinanceSource, server: BinanceServer) -> None:
    server.faults.append(WEB_PAGE)
    with pytest.raises(RetryError, match="login page"):
        source.load(ASSET, TIMEFRAME)


def test_progress_counts_up_to_the_whole(source: BinanceSource, history: pd.DataFrame) -> None:
    told: list[Page] = []
    source.download(ASSET, TIMEFRAME, told.append)
    assert [page.done for page in told] == [1000, 2000, len(history)]
    assert {page.total for page in told} == {len(history)}


def test_missing_spans_are_the_head_the_holes_and_the_tail() -> None:
    hour = pd.Timedelta(hours=1)
    hours = pd.date_range("2024-01-01", periods=10, freq="h", tz="UTC")
    held = hours[[2, 3, 6, 7]]
    assert missing_spans(held, hours[0], hours[9], hour) == [
        (hours[0], hours[2]),
        (hours[3], hours[6]),
        (hours[7], hours[9]),
    ]
    assert missing_spans(hours, hours[0], hours[9], hour) == []
    assert missing_spans(hours[:0], hours[0], hours[9], hour) == [(hours[0], hours[9])]


def command(tmp_path: Path, asset: str = ASSET) -> list[str]:
    return [
        *("--asset", asset, "--timeframe", TIMEFRAME),
        *("--config", str(tmp_path / "config.json"), "--into", str(tmp_path / "candles")),
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    document = json.loads(Path("config.json").read_text())
    document["asset_timeframes"] = {ASSET: [TIMEFRAME]}
    document["walk_forward_config"]["history_years"] = 1
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    return path


def test_the_command_downloads_and_says_what_there_is(
    server: BinanceServer,
    patience: Patience,
    market: pd.DataFrame,
    history: pd.DataFrame,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.candles[ASSET, TIMEFRAME] = market.drop(history.index[500:503])
    status = main(command(tmp_path), client=server.client, now=lambda: NOW, sleep=patience)
    out = capsys.readouterr().out
    assert status == 0
    assert f"{len(history) - 3:,} candles" in out
    assert f"gap: 3 missing after {history.index[499]}" in out
    assert len(open_archive(tmp_path / "candles", 24).load(ASSET, TIMEFRAME)) == len(history) - 3


def test_the_command_asks_for_old_gaps_again_when_told_to(
    server: BinanceServer,
    patience: Patience,
    market: pd.DataFrame,
    history: pd.DataFrame,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.candles[ASSET, TIMEFRAME] = market.drop(history.index[500:503])
    downloading = {"client": server.client, "now": lambda: NOW, "sleep": patience}
    assert main(command(tmp_path), **downloading) == 0
    server.candles[ASSET, TIMEFRAME] = market
    assert main(command(tmp_path), **downloading) == 0
    assert "0 of them new\ngap: 3 missing" in capsys.readouterr().out
    assert main([*command(tmp_path), "--all-gaps"], **downloading) == 0
    out = capsys.readouterr().out
    assert "3 of them new" in out
    assert "gap" not in out


def test_the_command_shows_a_gap_that_is_too_long_and_fails(
    server: BinanceServer,
    patience: Patience,
    market: pd.DataFrame,
    history: pd.DataFrame,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.candles[ASSET, TIMEFRAME] = market.drop(history.index[500:530])
    assert main(command(tmp_path), client=server.client, now=lambda: NOW, sleep=patience) == 2
    said = capsys.readouterr()
    assert f"gap: 30 missing after {history.index[499]}" in said.out
    assert "longer than candles.max_gap_bars = 24" in said.err


def test_the_command_downloads_into_a_bucket(
    server: BinanceServer,
    patience: Patience,
    history: pd.DataFrame,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with fake_aws():
        where = {"LocationConstraint": REGION}
        aws.client("s3").create_bucket(Bucket="trading", CreateBucketConfiguration=where)
        arguments = [*command(tmp_path)[:-1], "s3://trading/candles"]
        assert main(arguments, client=server.client, now=lambda: NOW, sleep=patience) == 0
        assert "in s3://trading/candles" in capsys.readouterr().out
        archive = open_archive("s3://trading/candles", 24)
        assert archive.open_times(ASSET, TIMEFRAME).equals(history.index)


def test_the_command_names_an_error_and_fails(
    server: BinanceServer,
    patience: Patience,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.faults.append(RESTRICTED)
    assert main(command(tmp_path), client=server.client, now=lambda: NOW, sleep=patience) == 2
    assert "HTTP 451" in capsys.readouterr().err

    assert main(command(tmp_path, "NOPE"), client=server.client, now=lambda: NOW) == 2
    assert "asset_timeframes: unknown asset 'NOPE'" in capsys.readouterr().err

    config.unlink()
    assert main(command(tmp_path), client=server.client, now=lambda: NOW) == 2
    assert "config.json cannot be read" in capsys.readouterr().err


def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(
    server: BinanceServer, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    server.fail_klines(UNAVAILABLE, after=1)
    status = main(command(tmp_path), client=server.client, now=lambda: NOW, sleep=interrupt)
    assert status == 130
    assert "goes on from here" in capsys.readouterr().err
    assert len(open_archive(tmp_path / "candles", 24).open_times(ASSET, TIMEFRAME)) == 1000
