"""Asks which exit rules random entries would pass the Monte Carlo gate under.

::

    python -m training.preflight --candles BTCUSDT-1h.parquet --multipliers 1-1.5,2-3

Random entries need no model, so hundreds of exit rules are judged in seconds, before a campaign
spends hours on one of them. A heat map and a table of all cells are written to ``--out``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import pandas as pd
from rich.progress import track

from store.candle_arguments import add_market_arguments, candle_source
from store.candles import CandleSource
from store.clock import milliseconds, utc_now
from store.config_file import read_config
from strategy.candles import digest, timeframe_delta
from strategy.config import Config, config_from
from strategy.errors import StoreError
from training.arguments import artifact_root
from training.console import console, run_command
from training.preflight_grid import Cell, Grid, evaluate
from training.preflight_report import cells_frame, grid_table, heat_map, multiplier_name

T = TypeVar("T")

TIMEFRAMES = ("1h", "2h", "4h", "8h", "12h", "1d")
MULTIPLIERS = ((1.0, 1.5), (1.5, 2.0), (2.0, 3.0), (3.0, 4.0))
MAKER_FEE = 0.0002
"""Of Binance USDT-M futures for a resting order; config.json has what a market order pays."""
FIGURE, TABLE = "preflight_grid.png", "preflight_grid.csv"
SOURCE = "the command line's values"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and evaluate the grid; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.preflight", description=__doc__.split("\n")[0]
    )
    add_market_arguments(parser)
    parser.add_argument(
        "--timeframes",
        type=_list_of(str),
        help=f"to try; coarser ones are made from --timeframe's candles ({','.join(TIMEFRAMES)})",
    )
    parser.add_argument(
        "--multipliers",
        type=_list_of(_span),
        default=MULTIPLIERS,
        help="ranges of the volatility multiplier (1-1.5,1.5-2,2-3,3-4)",
    )
    parser.add_argument(
        "--atr-periods", type=_list_of(int), help="in bars (those of the config's grid)"
    )
    parser.add_argument(
        "--fees",
        type=_list_of(float),
        help=f"per side, as fractions (0,{MAKER_FEE} and the config's)",
    )
    parser.add_argument(
        "--simulations", type=int, help="a cell; instead of monte_carlo_config.n_simulations"
    )
    parser.add_argument("--seed", type=int, help="instead of monte_carlo_config.random_seed")
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("var/preflight"),
        metavar="FOLDER",
        help=f"for {FIGURE} and {TABLE} (%(default)s)",
    )
    parser.add_argument("--tracking-uri", help="log both files to this MLflow store as well")
    options = parser.parse_args(arguments)
    return run_command(lambda: _command(options))


class _Market(NamedTuple):
    asset: str
    timeframe: str
    source: CandleSource
    candles: pd.DataFrame


def _command(options: argparse.Namespace) -> int:
    config = _config(options)
    grid = _grid(options, config)
    with _written_to(options.out):  # before the work, and not only after it
        options.out.mkdir(parents=True, exist_ok=True)
    source = candle_source(options, config)
    candles = source.load(options.asset, options.timeframe)
    market = _Market(options.asset, options.timeframe, source, candles)
    subtitle = _subtitle(market, config)
    console.print(subtitle)
    found = evaluate(candles, options.timeframe, grid, config)
    cells = list(track(found, "exit rules and fees", grid.size, console=console, transient=True))
    files = [options.out / FIGURE, options.out / TABLE]
    with _written_to(options.out):
        heat_map(cells, grid, config, subtitle=subtitle).savefig(files[0])
        cells_frame(cells).to_csv(files[1], index=False)
    console.print(grid_table(cells, config))
    passing = sum(cell.passes for cell in cells)
    console.print(f"{passing} of {len(cells)} cells pass. All of them: {files[0]}, {files[1]}")
    if options.tracking_uri:
        run_id = _log(options.tracking_uri, market, grid, config, cells, files)
        console.print(f"Logged as run {run_id} of experiment {options.asset}-preflight.")
    return 0


@contextmanager
def _written_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"--out {folder} cannot be written to: {error.strerror}; give another folder"
        ) from error


def _config(options: argparse.Namespace) -> Config:
    config = read_config(Path(options.config))
    if options.simulations is not None:
        config = _with(config, "monte_carlo_config", n_simulations=options.simulations)
    if options.seed is not None:
        config = _with(config, "monte_carlo_config", random_seed=options.seed)
    return config


def _grid(options: argparse.Namespace, config: Config) -> Grid:
    """The grid that was asked for, held to the bounds that config.json has for the same values."""
    finest = timeframe_delta(options.timeframe)
    coarser = [each for each in TIMEFRAMES if timeframe_delta(each) > finest]
    timeframes = options.timeframes or (options.timeframe, *coarser)
    periods = options.atr_periods or config.indicator_parameters.atr.period.values
    fees = options.fees or sorted({0.0, MAKER_FEE, config.costs.fee_per_side})
    for period in periods:
        only = {"period": {"start": period, "end": period, "step": 1}}
        _with(config, "indicator_parameters", atr=only)
    for fee in fees:
        _with(config, "costs", fee_per_side=fee)
    return Grid(
        timeframes=tuple(dict.fromkeys(timeframes)),
        break_evens=tuple(
            _with(config, "break_even", min_multiplier=low, max_multiplier=high).break_even
            for low, high in dict.fromkeys(options.multipliers)
        ),
        atr_periods=tuple(dict.fromkeys(periods)),
        fees=tuple(dict.fromkeys(fees)),
    )


def _with(config: Config, section: str, **values: object) -> Config:
    """The config with other values in one section; ConfigError if they are out of range."""
    document = config.model_dump(mode="json")
    document[section] |= values
    return config_from(document, source=SOURCE)


def _subtitle(market: _Market, config: Config) -> str:
    kind = "SYNTHETIC MARKET · " if market.source.synthetic else ""
    index = market.candles.index
    return (
        f"{kind}{market.asset} · {market.source.name} · {len(index):,} candles of "
        f"{market.timeframe}, {index[0]:%Y-%m-%d} .. {index[-1]:%Y-%m-%d} UTC · "
        f"{config.monte_carlo_config.n_simulations:,} simulations a cell, "
        f"seed {config.monte_carlo_config.random_seed}"
    )


def _log(
    uri: str,
    market: _Market,
    grid: Grid,
    config: Config,
    cells: Sequence[Cell],
    files: Sequence[Path],
) -> str:
    # MLflow takes seconds to import, and most preflights are not logged.
    from registry.connection import connect, ensure_experiment, ensure_store
    from registry.preflight_run import log_preflight
    from registry.tracking import CandleSource as LoggedCandles

    ensure_store(uri)
    client = connect(uri)
    kind: Literal["synthetic", "local"] = "synthetic" if market.source.synthetic else "local"
    rule, source = config.monte_carlo_config, market.source.name
    return log_preflight(
        client,
        ensure_experiment(client, f"{market.asset}-preflight", artifact_root(uri)),
        name=f"preflight {market.candles.index[-1]:%Y-%m-%d}",
        params={
            "timeframes": ",".join(grid.timeframes),
            "multipliers": ",".join(map(multiplier_name, grid.break_evens)),
            "atr_periods": ",".join(map(str, grid.atr_periods)),
            "fees": ",".join(map(str, grid.fees)),
            "n_simulations": rule.n_simulations,
            "random_seed": rule.random_seed,
        },
        metrics={"cells": len(cells), "passing": sum(cell.passes for cell in cells)},
        candles=LoggedCandles(source, digest(market.candles), source, kind),
        files=files,
        clock=milliseconds(utc_now),
    )


def _list_of(item: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        try:
            return tuple(item(part.strip()) for part in text.split(","))
        except ValueError:
            message = f"{text!r} is not a list as in the example of --help, with commas"
            raise argparse.ArgumentTypeError(message) from None

    return parse


def _span(text: str) -> tuple[float, float]:
    low, high = text.split("-")
    return float(low), float(high)
