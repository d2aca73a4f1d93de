"""Monte Carlo of a campaign's candidate: its exits and risk, with entries at random.

Van Tharp's claim is that what a system earns comes from its exits and sizing. So the model's
signals are replaced by random ones, as frequent as the model's own in every validation
window, and the strategy is robust if these earn as well. Runs as a part of every campaign,
and alone on a finished one::

    python -m training.random_signal_simulator --campaign latest --simulations 5000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from registry.connection import Client, connect
from registry.gates import GateVerdict
from registry.runs import Run, find_campaign, read_json, read_table
from registry.tracking import CampaignTracker
from store.candle_arguments import add_market_arguments, candle_source
from store.clock import milliseconds, utc_now
from strategy.candles import digest
from strategy.config import Config, MonteCarlo, config_from
from strategy.errors import DataError
from strategy.simulate import outcomes
from training import report
from training.arguments import add_store_argument, tracking_uri
from training.console import console, gate_table, run_command
from training.random_entries import (
    EntryWindow,
    RandomEntries,
    passes_gate,
    simulate_random_entries,
)
from training.walk_forward import PreparedMarket

EQUITY_POINTS = 250
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

SignalCounts = Mapping[int, tuple[int, int, int]]
"""By window number: sell, neutral and buy signals over all bars of its validation."""


class Simulation(NamedTuple):
    """Random entries through the candidate's windows, and the model beside them."""

    entries: RandomEntries
    times: pd.DatetimeIndex
    """When the equity was recorded, shape (EQUITY_POINTS,)."""
    model_percentile: float
    """Share of the simulations that the model's own expectancy beats."""
    seconds: float
    """Wall time that the simulations took."""

    @property
    def fan(self) -> NDArray[np.float64]:
        """Quantiles of the equity in R, shape (EQUITY_POINTS, len(QUANTILES))."""
        return np.quantile(self.entries.equity.astype(np.float64), QUANTILES, axis=0).T


def monte_carlo(
    market: PreparedMarket,
    atr_period: int,
    signal_counts: SignalCounts,
    model_expectancy: float,
    *,
    n_simulations: int,
    seed: int,
) -> Simulation:
    """Simulate random entries through the windows in which the model gave these signals.

    Parameters
    ----------
    atr_period
        Of the candidate: fixes its stop distance and so its exits.
    signal_counts
        The windows to trade through and how often the model wanted in, in position or not.
    model_expectancy
        R per trade of the model itself over the same windows.
    """
    started = time.perf_counter()
    distance = market.stop_distance(atr_period)
    windows = [window for window in market.windows if window.number in signal_counts]
    entry_windows = []
    for window in windows:
        start, end = window.train_end, window.validation_end
        sells, _, buys = signal_counts[window.number]
        table = outcomes(market.bars, distance, market.charges, start=start, end=end)
        bars = end - start
        entry_windows.append(EntryWindow(start, *table, buys / bars, sells / bars))
    recorded = np.linspace(
        windows[0].train_end, windows[-1].validation_end - 1, EQUITY_POINTS
    ).astype(np.int64)
    entries = simulate_random_entries(
        entry_windows, n_simulations=n_simulations, seed=seed, equity_bars=recorded
    )
    percentile = entries.percentile_of(model_expectancy)
    seconds = time.perf_counter() - started
    return Simulation(entries, market.index[recorded], percentile, seconds)


def monte_carlo_gates(entries: RandomEntries, rule: MonteCarlo) -> tuple[GateVerdict, ...]:
    """The two conditions under which a strategy counts as robust."""
    count = len(entries.expectancy)
    return (
        GateVerdict(
            name="monte_carlo_positive_share",
            figure=entries.share_positive,
            threshold=rule.confidence_level,
            comparison=">",
            detail=f"share of {count} random-entry simulations with positive expectancy",
        ),
        GateVerdict(
            name="monte_carlo_mean",
            figure=entries.mean_expectancy,
            threshold=0.0,
            comparison=">",
            detail=f"mean R per trade over {count} simulations",
        ),
        GateVerdict(
            name="monte_carlo_p_value",
            figure=entries.p_value,
            threshold=rule.p_value_threshold,
            comparison="<",
            detail="t-test of mean > 0; one price path for all, so it overstates",
        ),
    )


def monte_carlo_metrics(simulation: Simulation, config: Config) -> dict[str, float]:
    """Consolidated figures of the simulations, for their run."""
    entries = simulation.entries
    quantiles = {
        f"{name}_p{round(100 * level):02d}": float(np.nanquantile(values, level))
        for name, values in (
            ("expectancy", entries.expectancy),
            ("hit_rate", entries.hit_rate),
            ("profit_factor", entries.profit_factor),
            ("max_drawdown", entries.max_drawdown),
        )
        for level in QUANTILES
        if np.isfinite(values).any()
    }
    return {
        "share_positive": entries.share_positive,
        "mean_expectancy": entries.mean_expectancy,
        "p_value": entries.p_value,
        "mean_trades": float(entries.trades.mean()),
        "model_percentile": simulation.model_percentile,
        "passed": float(passes_gate(entries, config.monte_carlo_config)),
        **quantiles,
    }


def monte_carlo_params(config: Config) -> dict[str, Any]:
    """What was asked for, for the simulations' run."""
    return config.monte_carlo_config.model_dump()


def monte_carlo_figures(
    simulation: Simulation, trades: pd.DataFrame, config: Config, subtitle: str
) -> dict[str, Figure]:
    """Fan and histogram, by the name of their file; ``trades`` are the model's own."""
    running = np.concatenate([[0.0], trades["r"].cumsum()])
    model = running[np.searchsorted(trades["exit_time"], simulation.times, side="right")]
    entries, rule = simulation.entries, config.monte_carlo_config
    verdict = (
        f"{entries.share_positive:.1%} of {len(entries.expectancy)} simulations positive (gate: > "
        f"{rule.confidence_level:.0%}), mean {entries.mean_expectancy:+.3f} R, p = "
        f"{entries.p_value:.2g} (gate: < {rule.p_value_threshold:g}): "
        f"{'passed' if passes_gate(entries, rule) else 'failed'}.\n"
        "All simulations share one price path, so the t-test overstates its significance."
    )
    expectancy = float(trades["r"].mean()) if len(trades) else float("nan")
    return {
        "monte_carlo_fan": report.monte_carlo_fan(
            simulation.times,
            simulation.fan,
            [100 * level for level in QUANTILES],
            model,
            subtitle=subtitle,
        ),
        "monte_carlo_histogram": report.monte_carlo_histogram(
            entries.expectancy, expectancy, verdict=verdict, subtitle=subtitle
        ),
    }


def simulations_table(entries: RandomEntries) -> pd.DataFrame:
    """One row a simulation."""
    return pd.DataFrame(entries._asdict() | {"equity": entries.equity[:, -1]}).rename(
        columns={"equity": "total_r"}
    )


def publish_monte_carlo(
    tracker: CampaignTracker,
    name: str,
    simulation: Simulation,
    trades: pd.DataFrame,
    config: Config,
    *,
    subtitle: str,
) -> None:
    """Log the simulations as one run below the campaign: figures, table and metrics."""
    run_id = tracker.log_monte_carlo(
        name,
        params=monte_carlo_params(config),
        metrics=monte_carlo_metrics(simulation, config),
        tags={},
        seconds=simulation.seconds,
    )
    with tempfile.TemporaryDirectory() as folder:
        for file, figure in monte_carlo_figures(simulation, trades, config, subtitle).items():
            figure.savefig(Path(folder) / f"{file}.png")
        simulations_table(simulation.entries).to_csv(Path(folder) / "simulations.csv", index=False)
        tracker.log_folder(run_id, Path(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the Monte Carlo of a finished campaign again, with other numbers if wished."""
    parser = argparse.ArgumentParser(
        prog="python -m training.random_signal_simulator", description=__doc__.split("\n")[0]
    )
    add_market_arguments(parser)
    parser.add_argument("--campaign", default="latest", help="id, run name or run id (%(default)s)")
    parser.add_argument("--simulations", type=int, help="instead of the campaign's own number")
    parser.add_argument("--seed", type=int, help="instead of the campaign's own")
    add_store_argument(parser)
    options = parser.parse_args(arguments)
    return run_command(lambda: _again(options))


def _again(options: argparse.Namespace) -> int:
    client = connect(tracking_uri(options.tracking_uri))
    campaign = find_campaign(client, f"{options.asset}-{options.timeframe}", options.campaign)
    config = _config(client, campaign, options)
    candles = candle_source(options, config).load(options.asset, options.timeframe)
    if digest(candles) != campaign.data.tags["data_digest"]:
        raise DataError(
            f"--candles {options.candles}: not the candles of the campaign "
            f"{campaign.info.run_name} (it read {campaign.data.tags['candles']}, digest "
            f"{campaign.data.tags['data_digest'][:12]}, these have {digest(candles)[:12]}); "
            "give the same ones"
        )
    candidate = read_json(client, campaign.info.run_id, "candidate.json")
    trades = read_table(client, campaign.info.run_id, "trades.csv")
    trades["exit_time"] = pd.to_datetime(trades["exit_time"], utc=True)
    simulation = monte_carlo(
        PreparedMarket(candles, options.timeframe, config),
        candidate["parameters"]["atr_period"],
        {int(number): tuple(counts) for number, counts in candidate["signal_counts"].items()},
        float(trades["r"].mean()),
        n_simulations=config.monte_carlo_config.n_simulations,
        seed=config.monte_carlo_config.random_seed,
    )
    rule = config.monte_carlo_config
    publish_monte_carlo(
        CampaignTracker(client, campaign, milliseconds(utc_now)),
        f"{rule.n_simulations}-{rule.random_seed}",
        simulation,
        trades,
        config,
        subtitle=f"{campaign.info.run_name} · trial {candidate['trial']}",
    )
    console.print(gate_table("Monte Carlo", monte_carlo_gates(simulation.entries, rule)))
    console.print(f"The model beats {simulation.model_percentile:.1%} of the simulations.")
    return 0


def _config(client: Client, campaign: Run, options: argparse.Namespace) -> Config:
    """The campaign's own config, with the simulations that were asked for."""
    document = read_json(client, campaign.info.run_id, "config.json")
    if options.simulations is not None:
        document["monte_carlo_config"]["n_simulations"] = options.simulations
    if options.seed is not None:
        document["monte_carlo_config"]["random_seed"] = options.seed
    return config_from(document, source=f"config.json of {campaign.info.run_name}")


if __name__ == "__main__":
    sys.exit(main())
