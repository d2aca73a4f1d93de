"""What a campaign sets aside is what its jobs read, so that their digests are the same."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.campaign_input import CANDLES, CONFIG, MARKET, read_input, set_aside
from store.config_file import read_config
from strategy.candles import digest
from strategy.config import Config
from strategy.errors import ConfigError, DataError, TradingSystemError
from tests.markets import markets

ROOT = Path(__file__).parents[2]


def put_aside(folder: Path, config: Config, candles: pd.DataFrame, synthetic: bool = False) -> None:
    set_aside(
        str(folder),
        asset="BTCUSDT",
        timeframe="1h",
        config=config,
        candles=candles,
        source_name="candles.csv",
        synthetic=synthetic,
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """The config of the repository with other numbers in it, some of many digits."""
    config = read_config(ROOT / "config.json")
    share = st.floats(1e-9, 0.01)
    costs = {name: draw(share) for name in ("fee_per_side", "slippage_per_side", "funding_per_8h")}
    seed = {"random_seed": draw(st.integers(0, 2**32 - 1))}
    return config.model_copy(
        update={
            "costs": config.costs.model_copy(update=costs),
            "monte_carlo_config": config.monte_carlo_config.model_copy(update=seed),
        }
    )


@given(config=configs(), candles=markets(200), synthetic=st.booleans())
def test_config_and_candles_keep_their_digests(
    config: Config, candles: pd.DataFrame, synthetic: bool
) -> None:
    with TemporaryDirectory() as scratch:
        put_aside(Path(scratch), config, candles, synthetic)
        read, source = read_input(Path(scratch))
        assert (read.model_dump(), read.digest) == (config.model_dump(), config.digest)
        assert digest(source.load("BTCUSDT", "1h")) == digest(candles)
        assert (source.name, source.synthetic) == ("candles.csv", synthetic)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = pd.date_range("2026-01-01", periods=3, freq="h", tz="UTC", name="timestamp")
    row = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 7.0}
    put_aside(tmp_path, read_config(ROOT / "config.json"), pd.DataFrame(row, index=index))
    return tmp_path


def test_another_market_is_refused(folder: Path) -> None:
    _, source = read_input(folder)
    with pytest.raises(ConfigError, match="holds BTCUSDT 1h, not ETHUSDT 4h"):
        source.load("ETHUSDT", "4h")


@pytest.mark.parametrize("name", [CONFIG, CANDLES, MARKET])
@pytest.mark.parametrize("damage", ["removed", "emptied", "cut"])
def test_a_file_that_is_missing_or_damaged_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "removed":
        path.write_bytes(b"" if damage == "emptied" else whole[: len(whole) // 2])
    with pytest.raises(TradingSystemError, match=name) as raised:
        read_input(folder)[1].load("BTCUSDT", "1h")
    assert isinstance(raised.value, ConfigError | DataError)
