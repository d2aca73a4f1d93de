"""What holds for every source of candles, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from rehearsal.binance.klines import binance_server
from store.aws import REGION, client
from store.backoff import Backoff
from store.binance import BinanceSource
from store.candle_archive import CandleArchive, open_archive
from store.candles import CandleFile, CandleSource
from store.synthetic import SyntheticSource, synthetic_candles
from strategy.candles import candle_frame, digest, timeframe_delta
from strategy.errors import ConfigError, FixError
from tests.aws_fakes import fake_aws

ASSET, TIMEFRAME = "BTCUSDT", "1h"
MAX_GAP_BARS = 24
NOW = pd.Timestamp("2024-03-10T10:25:00Z")


class Case(NamedTuple):
    """A source under test, and what the suite has to know about it."""

    source: CandleSource
    expected: pd.DataFrame | None
    """The candles that it must give; None where it makes its own."""
    knows_assets: bool
    """Whether it can tell an asset that it does not have."""


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    """Two months of candles with a gap; the last one is in progress at NOW."""
    hours = synthetic_candles(
        np.random.default_rng(3), 24 * 60, NOW.floor("h") - pd.Timedelta(hours=24 * 60 - 1)
    )
    return hours.drop(hours.index[200:205])


@pytest.fixture(
    params=[
        *("parquet file", "csv file", "gzipped csv file", "folder archive", "s3 archive"),
        *("binance into a folder", "binance into s3", "synthetic"),
    ]
)
def case(request: pytest.FixtureRequest, market: pd.DataFrame, tmp_path: Path) -> Iterator[Case]:
    closed = market.iloc[:-1]
    with ExitStack() as stack:
        match request.param:
            case "parquet file":
                path = tmp_path / "candles.parquet"
                closed.reset_index().to_parquet(path)
                yield Case(CandleFile(path, MAX_GAP_BARS), closed, knows_assets=False)
            case "csv file" | "gzipped csv file":
                suffix = "csv.gz" if "gzipped" in request.param else "csv"
                path = tmp_path / f"candles.{suffix}"
                closed.to_csv(path)
                yield Case(CandleFile(path, MAX_GAP_BARS), closed, knows_assets=False)
            case "folder archive" | "s3 archive":
                archive = empty_archive(request.param, tmp_path, stack)
                archive.write(ASSET, TIMEFRAME, closed)
                yield Case(archive, closed, knows_assets=True)
            case "binance into a folder" | "binance into s3":
                archive = empty_archive(request.param, tmp_path, stack)
                server = stack.enter_context(binance_server({(ASSET, TIMEFRAME): market}))
                source = BinanceSource(
                    archive,
                    pd.DateOffset(years=1),
                    server.client(),
                    lambda: NOW,
                    Backoff(lambda seconds: None),
                )
                yield Case(source, closed, knows_assets=True)
            case "synthetic":
                yield Case(SyntheticSource(1, 24 * 60, NOW), None, knows_assets=False)


def empty_archive(where: str, tmp_path: Path, stack: ExitStack) -> CandleArchive:
    if "s3" not in where:
        return open_archive(tmp_path / "candles", MAX_GAP_BARS)
    stack.enter_context(fake_aws())
    client("s3").create_bucket(
        Bucket="trading", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return open_archive("s3://trading/candles", MAX_GAP_BARS)


def test_it_gives_a_candle_frame(case: Case) -> None:
    candles = case.source.load(ASSET, TIMEFRAME)
    validated = candle_frame(candles, TIMEFRAME, max_gap_bars=MAX_GAP_BARS)
    pd.testing.assert_frame_equal(validated, candles)


def test_times_are_utc_in_nanoseconds(case: Case) -> None:
    index = case.source.load(ASSET, TIMEFRAME).index
    assert index.dtype == "datetime64[ns, UTC]"
    assert index.name == "timestamp"


def test_it_gives_the_very_candles_that_it_holds(case: Case) -> None:
    candles = case.source.load(ASSET, TIMEFRAME)
    if case.expected is None:
        assert len(candles) == 24 * 60
    else:
        pd.testing.assert_frame_equal(candles, case.expected, check_exact=True, check_freq=False)


def test_every_candle_is_closed(case: Case) -> None:
    candles = case.source.load(ASSET, TIMEFRAME)
    assert candles.index[-1] + timeframe_delta(TIMEFRAME) <= NOW


def test_loading_again_gives_the_same_candles(case: Case) -> None:
    once, again = (case.source.load(ASSET, TIMEFRAME) for _ in range(2))
    assert digest(once) == digest(again)


def test_what_is_done_to_a_loaded_frame_does_not_reach_the_next(case: Case) -> None:
    first = case.source.load(ASSET, TIMEFRAME)
    before = digest(first)
    first.iloc[:] = 1.0
    assert digest(case.source.load(ASSET, TIMEFRAME)) == before


def test_an_unknown_timeframe_is_a_config_error_that_names_it(case: Case) -> None:
    with pytest.raises(ConfigError, match="7h"):
        case.source.load(ASSET, "7h")


def test_a_timeframe_that_it_does_not_hold_is_an_error_to_fix(case: Case) -> None:
    with pytest.raises(FixError, match="15m"):
        case.source.load(ASSET, "15m")


def test_an_asset_that_it_does_not_have_is_an_error_that_names_it(case: Case) -> None:
    if case.knows_assets:
        with pytest.raises(FixError, match="DOGEUSDT"):
            case.source.load("DOGEUSDT", TIMEFRAME)
    else:
        assert not case.source.load("DOGEUSDT", TIMEFRAME).empty


def test_it_has_a_name_and_says_whether_it_is_synthetic(case: Case) -> None:
    assert case.source.name
    assert case.source.synthetic == ("synthetic" in case.source.name)
