"""What a campaign reads, set aside when it is asked for, so that all of its jobs read the same.

Between the request and a resumed job days later candles are downloaded and config.json is
edited; a campaign is about those that it began with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from store.candles import CandleFile, csv_gz
from store.config_file import read_config
from store.objects import open_objects
from strategy.config import Config
from strategy.errors import ConfigError, DataError

CONFIG, CANDLES, MARKET = "config.json", "candles.csv.gz", "market.json"


@dataclass(frozen=True)
class SetAside:
    """A :class:`store.candles.CandleSource`: the candles of one campaign, as they were."""

    folder: Path
    asset: str
    timeframe: str
    name: str
    """Of the source that they came from."""
    synthetic: bool
    max_gap_bars: int

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        if (asset, timeframe) != (self.asset, self.timeframe):
            raise ConfigError(
                f"{self.folder}: holds {self.asset} {self.timeframe}, not {asset} {timeframe}"
            )
        return CandleFile(self.folder / CANDLES, self.max_gap_bars).load(asset, timeframe)


def set_aside(
    uri: str,
    *,
    asset: str,
    timeframe: str,
    config: Config,
    candles: pd.DataFrame,
    source_name: str,
    synthetic: bool,
) -> None:
    """Write a campaign's input to ``s3://bucket/prefix`` or a folder.

    Raises
    ------
    StoreError, RetryError
        The place cannot be written.
    """
    market = {
        "asset": asset,
        "timeframe": timeframe,
        "source": source_name,
        "synthetic": synthetic,
    }
    place = open_objects(uri)
    place.replace(CONFIG, config.model_dump_json(indent=2).encode())
    place.replace(CANDLES, csv_gz(candles))
    place.replace(MARKET, json.dumps(market, indent=2).encode())


def read_input(folder: Path) -> tuple[Config, SetAside]:
    """Config and candles that were set aside, from a folder where they have been brought.

    Raises
    ------
    ConfigError, DataError
        A file is missing or malformed; names it.
    """
    config = read_config(folder / CONFIG)
    path = folder / MARKET
    try:
        market = json.loads(path.read_bytes())
        return config, SetAside(
            folder,
            market["asset"],
            market["timeframe"],
            market["source"],
            bool(market["synthetic"]),
            config.candles.max_gap_bars,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); ask for the campaign again"
        ) from error
