"""A world in which the bot trades on paper, and the trades that the simulator makes of the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.bundle import StrategyBundle
from registry.connection import Client, connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from serving.journal import InterventionRecord, Journal, TradeRecord
from serving.trading.bot import TradingBot
from serving.trading.roster import Roster
from store.config_file import read_config
from store.market import ReplayMarket
from store.notifications import LogNotifier
from store.settings import SettingsFile
from store.sqlite_state import SqliteState
from strategy.candles import open_times, timeframe_delta
from strategy.config import Config, IndicatorParameters, LightGBMParameters
from strategy.costs import charges_on
from strategy.exit_rule import ExitRule
from strategy.exits import ExitReason
from strategy.features import FEATURE_NAMES, FeatureFactory
from strategy.simulate import Bars, Intervention, InterventionKind, simulate
from tests.manual_clock import ManualClock

ROOT = Path(__file__).resolve().parents[1]
REAL_CANDLES = ROOT.parent / "shared" / "data" / "BTCUSDT-1h.parquet"
ASSET, TIMEFRAME, MODEL = "BTCUSDT", "1h", "BTCUSDT-1h"
TICK = timedelta(minutes=5)


def bundle_of(
    candles: pd.DataFrame, config: Config, indicators: IndicatorParameters, name: str = "c0ffee"
) -> StrategyBundle:
    """A strategy that trades often, since its model learnt labels drawn by chance."""
    features = FeatureFactory(candles).matrix(indicators)
    known = ~np.isnan(features).any(axis=1)
    labels = np.random.default_rng(len(name)).integers(0, 3, known.sum())
    hyperparameters = LightGBMParameters(
        learning_rate=0.1, num_leaves=20, min_data_in_leaf=20, n_estimators=30
    )
    booster = lgb.train(
        {"objective": "multiclass", "num_class": 3, "num_leaves": 20, "verbosity": -1}
        | {"num_threads": 1, "deterministic": True},
        lgb.Dataset(features[known], labels),
        num_boost_round=hyperparameters.n_estimators,
    )
    return StrategyBundle(
        strategy_id=f"{MODEL}-{name}",
        asset=ASSET,
        timeframe=TIMEFRAME,
        indicators=indicators,
        hyperparameters=hyperparameters,
        max_bin=63,
        seed=42,
        break_even=config.break_even,
        feature_names=FEATURE_NAMES,
        training_start=candles.index[0],
        training_end=candles.index[-1] + timeframe_delta(TIMEFRAME),
        config_digest="c" * 64,
        data_digest="d" * 64,
        code_version="abc1234",
        booster_text=booster.model_to_string(),
        metadata={},
    )


def staged(
    client: Client,
    bundles: Sequence[StrategyBundle],
    folder: Path,
    example: pd.DataFrame,
    at: pd.Timestamp,
) -> None:
    """Register bundles and move them to Staging at that moment."""
    experiment = ensure_experiment(client, MODEL, folder / "artifacts")
    for bundle in bundles:
        run = client.create_run(experiment)
        number = register(
            client,
            run.info.run_id,
            bundle,
            model_name=MODEL,
            input_example=example.tail(3),
            description="for a test",
            tags={"synthetic": "true"},
        )
        Lifecycle(client, MODEL, lambda: round(1000 * at.timestamp())).move(
            number, Stage.STAGING, who="a test", why="to trade"
        )


@dataclass
class PaperWorld:
    """The bot with embedded parts of its own below a folder, at a clock that it is moved on by.

    Parameters
    ----------
    candles
        Candle frame of BTCUSDT hours; those until ``begin`` are history.
    bundles
        What is in Staging.
    """

    folder: Path
    candles: pd.DataFrame
    bundles: Sequence[StrategyBundle]
    begin: pd.Timestamp
    config: Config = field(default_factory=lambda: read_config(ROOT / "config.json"))
    clock: ManualClock = field(init=False)
    bot: TradingBot = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ManualClock(self.begin.to_pydatetime())
        uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        ensure_store(uri)
        staged(connect(uri), self.bundles, self.folder, self.candles, self.begin)
        self.state = SqliteState(self.folder / "state.db", self.clock)
        self.settings = SettingsFile(self.folder / "settings.json")
        self.uri = uri
        self.bot = self.new_bot()

    def new_bot(self) -> TradingBot:
        """As a new process would have it."""
        return TradingBot(
            config=self.config,
            settings=self.settings,
            state=self.state,
            market=ReplayMarket({(ASSET, TIMEFRAME): self.candles}, self.clock, synthetic=True),
            roster=Roster(lambda: connect(self.uri), 12, self.clock),
            notifier=LogNotifier(self.folder / "notifications.log", self.clock),
            clock=self.clock,
            open_live=_no_account,
        )

    def moments(self, bars: int) -> list[datetime]:
        """All ticks of so many bars."""
        return [
            (self.begin + tick * TICK).to_pydatetime()
            for tick in range(bars * int(timeframe_delta(TIMEFRAME) / TICK))
        ]

    def trades(self, bundle: StrategyBundle) -> list[TradeRecord]:
        return Journal(self.state).trades(bundle.strategy_id, "paper")

    def interventions(self, bundle: StrategyBundle) -> list[InterventionRecord]:
        return Journal(self.state).interventions(bundle.strategy_id, "paper")

    def simulated(self, bundle: StrategyBundle) -> NDArray[np.void]:
        """What the simulator makes of the same candles and interventions, as far as it closed."""
        index = open_times(self.candles)
        signals = np.nan_to_num(bundle.signals(self.candles)["signal"].to_numpy()).astype(np.int8)
        rule = ExitRule(bundle.indicators.atr_period, bundle.break_even)
        made = simulate(
            Bars.of(self.candles),
            signals,
            rule.distances(self.candles),
            charges_on(index, TIMEFRAME, self.config.costs),
            timeframe=TIMEFRAME,
            start=int(index.searchsorted(self.begin)) - 1,
            end=self._closed_bars,
            interventions=[
                Intervention(
                    pd.Timestamp(each.time),
                    InterventionKind[each.kind.upper()],
                    math.nan if each.price is None else each.price,
                )
                for each in self.interventions(bundle)
            ],
        )
        return made[made["reason"] != ExitReason.WINDOW_END]

    @property
    def _closed_bars(self) -> int:
        newest = pd.Timestamp(self.clock.now) - timeframe_delta(TIMEFRAME)
        return int(open_times(self.candles).searchsorted(newest, side="right"))

    def differences(self, bundle: StrategyBundle) -> list[str]:
        """Where the bot's trades are not the simulator's: bars, side, prices, reason, R to 1e-9."""
        index = open_times(self.candles)
        ended = index[self._closed_bars]
        traded = [each for each in self.trades(bundle) if pd.Timestamp(each.exit_time) < ended]
        made = self.simulated(bundle)
        found = [] if len(traded) == len(made) else [f"{len(traded)} trades, not {len(made)}"]
        for own, row in zip(traded, made, strict=False):
            same = (
                pd.Timestamp(own.decision_time) == index[row["entry_bar"]]
                and pd.Timestamp(own.entry_time).floor("h") == index[row["entry_bar"]]
                and pd.Timestamp(own.exit_time).floor("h") == index[row["exit_bar"]]
                and own.side == row["side"]
                and own.entry_price == row["entry_price"]
                and math.isclose(own.exit_price, row["exit_price"], rel_tol=1e-12)
                and math.isclose(own.risk, row["risk"], rel_tol=1e-9)
                and own.reason == ExitReason(row["reason"]).name.lower()
                and abs(own.r - row["r"]) < 1e-9
            )
            if not same:
                found.append(f"{own} is not {dict(zip(row.dtype.names, row, strict=True))}")
        return found


def _no_account() -> None:
    raise AssertionError("paper trading asked for the account with real money")
