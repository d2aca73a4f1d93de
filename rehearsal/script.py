"""What is rehearsed: a market, a span of it, and what goes wrong."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from rehearsal.embedded import embedded_system
from rehearsal.market import Frames, embedded_market, last_close
from rehearsal.system import Build
from store.candles import CandleFile
from store.config_file import chosen_config
from strategy.config import Config
from strategy.errors import ConfigError

SYNTHETIC = "synthetic"
_SYNTHETIC_BEGIN = pd.Timestamp("2024-01-01T00:00:00Z")
_LEAST_HISTORY = pd.DateOffset(years=2)  # a year to learn from, and windows to choose by


@dataclass(frozen=True)
class Script:
    """What is to be rehearsed.

    Parameters
    ----------
    begin, end
        UTC; candles from before ``begin`` are history.
    rate
        Of faults among events.
    only
        Keys of the faults that may strike; None: all.
    build
        Puts the system together.
    """

    config: Config
    frames: Frames
    market: str
    begin: datetime
    end: datetime
    seed: int
    rate: float
    only: frozenset[str] | None = None
    build: Build = embedded_system

    def __post_init__(self) -> None:
        if self.end <= self.begin:
            raise ConfigError(f"a rehearsal from {self.begin} to {self.end} has no length")
        if pd.Timestamp(self.end) > (last := last_close(self.frames)):
            raise ConfigError(f"candles end at {last}: a rehearsal to {self.end} is too long")
        for (asset, timeframe), frame in self.frames.items():
            if frame.index[0] > pd.Timestamp(self.begin):
                raise ConfigError(f"{asset} {timeframe}: candles begin after {self.begin}")


def script_of(options: argparse.Namespace) -> Script:
    """The script that the command line asks for.

    Raises
    ------
    ConfigError, DataError
        config.json or the candles cannot be used, or are too few.
    """
    build = build_on(options.aws)
    config = chosen_config(argparse.Namespace(**{**vars(options), "seed": None}))
    months = pd.DateOffset(months=options.months)
    if options.candles == SYNTHETIC:
        begin = _SYNTHETIC_BEGIN
        years = config.walk_forward_config.history_years
        frames = embedded_market(
            config.markets, begin, options.months, history_years=years, seed=options.seed
        )
        end, market = begin + months, f"the embedded market (seed {options.seed})"
    else:
        frames, market = recorded(options.candles, config), Path(options.candles).name
        end = last_close(frames).floor("D")
        begin = end - months
        first = max(frame.index[0] for frame in frames.values())
        if first + _LEAST_HISTORY > begin:
            raise ConfigError(
                f"{options.candles} begins at {first}: too late for {options.months} months after "
                "two years of history; give fewer --months"
            )
    return Script(
        config=config,
        frames=frames,
        market=market,
        begin=begin.to_pydatetime(),
        end=end.to_pydatetime(),
        seed=options.seed,
        rate=options.faults,
        build=build,
    )


def build_on(aws: str | None) -> Build:
    """How the system is put together: on embedded parts, or on what the templates deploy.

    Raises
    ------
    ConfigError
        moto is not installed.
    """
    if aws is None:
        return embedded_system
    if find_spec("moto") is None:
        raise ConfigError(
            "--aws moto: moto is not installed here; the environment of `make test` has it"
        )
    from rehearsal.deployed import deployed_system  # moto is a tool of development

    return deployed_system


def recorded(place: str, config: Config) -> Frames:
    """Candles of every market of config.json: ``PATH``, or ``ASSET=PATH,ASSET=PATH``.

    Raises
    ------
    ConfigError, DataError
        A file cannot be read, or an asset of config.json has none.
    """
    named = dict(part.split("=", 1) for part in place.split(",") if "=" in part)
    frames = {}
    for asset, timeframe in config.markets:
        path = named.get(asset) if named else place
        if path is None:
            raise ConfigError(f"--candles {place}: config.json has {asset}, too; give {asset}=PATH")
        source = CandleFile(Path(path), config.candles.max_gap_bars)
        frames[asset, timeframe] = source.load(asset, timeframe)
    return frames
