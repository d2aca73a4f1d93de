"""A finished campaign as MLflow has it: its trials, its candidate, its market."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from registry.connection import Client, connect
from registry.gates import GateVerdict
from registry.runs import Run, find_campaign, read_json, read_table
from store.candle_arguments import SYNTHETIC, candle_source
from strategy.candles import digest
from strategy.config import Config, IndicatorParameters, LightGBMParameters, config_from
from strategy.errors import ConfigError, DataError
from training.arguments import tracking_uri
from training.publication import CANDIDATE, CONFIG, GATES, TRADES, TRIALS
from training.walk_forward import PreparedMarket, TrialParameters


@dataclass(frozen=True)
class FoundCampaign:
    """A finished campaign; each of its files is read once, when it is first needed.

    Every property that reads raises StoreError or RetryError as
    :func:`registry.runs.read_text` says: a campaign that its preflight stopped has no files.
    """

    client: Client
    run: Run
    """Of the campaign itself."""

    @property
    def name(self) -> str:
        return str(self.run.info.run_name)

    @property
    def tags(self) -> Mapping[str, str]:
        tags: Mapping[str, str] = self.run.data.tags
        return tags

    @property
    def metrics(self) -> Mapping[str, float]:
        """Figures of the whole campaign (:func:`training.publication.campaign_metrics`)."""
        metrics: Mapping[str, float] = self.run.data.metrics
        return metrics

    @property
    def subtitle(self) -> str:
        """Below every figure: what was searched, and whether the market is real."""
        market = "SYNTHETIC MARKET, " if self.tags["synthetic"] == "true" else ""
        return f"{self.tags['asset']} {self.tags['timeframe']} · {market}{self.tags['candles']}"

    @cached_property
    def config(self) -> Config:
        return config_from(self._json(CONFIG), source=f"{CONFIG} of {self.name}")

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial (:func:`training.publication.trials_table`)."""
        return read_table(self.client, self.run.info.run_id, TRIALS)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Out-of-sample trades of the candidate, in order of time; times in UTC."""
        trades = read_table(self.client, self.run.info.run_id, TRADES)
        times = [str(name) for name in trades if str(name).endswith("_time")]
        return trades.assign(**{name: pd.to_datetime(trades[name], utc=True) for name in times})

    @cached_property
    def gates(self) -> tuple[GateVerdict, ...]:
        return tuple(GateVerdict(**gate) for gate in self._json(GATES))

    @property
    def candidate(self) -> int:
        """Number of the trial that was judged."""
        return int(self._candidate["trial"])

    @property
    def eligible(self) -> bool:
        """False if no trial was left to win, and the candidate is the best of those that lost."""
        return bool(self._candidate["eligible"])

    @property
    def parameters(self) -> TrialParameters:
        """Of the candidate."""
        flat = self._candidate["parameters"]
        return TrialParameters(
            IndicatorParameters(**{name: flat[name] for name in IndicatorParameters._fields}),
            LightGBMParameters(**{name: flat[name] for name in LightGBMParameters.model_fields}),
        )

    @property
    def signal_counts(self) -> dict[int, tuple[int, int, int]]:
        """By window that the candidate walked: its sell, neutral and buy signals."""
        counts = self._candidate["signal_counts"]
        return {int(number): (of[0], of[1], of[2]) for number, of in counts.items()}

    def market(self, candles: str | None = None) -> PreparedMarket:
        """The candles that the campaign has read, with what is computed from them.

        Parameters
        ----------
        candles
            As ``--candles`` of the campaign's own command; None: the embedded market that it
            names.

        Raises
        ------
        ConfigError
            It was not an embedded market, and no candles are given.
        DataError
            These are other candles.
        """
        asset, timeframe, read = (self.tags[name] for name in ("asset", "timeframe", "candles"))
        source = candle_source(
            argparse.Namespace(candles=candles or self._embedded(), asset=asset), self.config
        )
        found = source.load(asset, timeframe)
        if digest(found) != self.tags["data_digest"]:
            raise DataError(
                f"{source.name}: not the candles of the campaign {self.name}, which read {read} "
                f"(digest {self.tags['data_digest'][:12]}, these have {digest(found)[:12]}); "
                "give the same ones"
            )
        return PreparedMarket(found, timeframe, self.config)

    @cached_property
    def _candidate(self) -> dict[str, Any]:
        document: dict[str, Any] = self._json(CANDIDATE)
        return document

    def _embedded(self) -> str:
        for name in SYNTHETIC:
            source = candle_source(argparse.Namespace(candles=name), self.config)
            if source.name == self.tags["candles"]:
                return name
        raise ConfigError(
            f"the campaign {self.name} read {self.tags['candles']}: say where these candles are "
            "(CANDLES), as --candles of the campaign did"
        )

    def _json(self, path: str) -> Any:
        return read_json(self.client, self.run.info.run_id, path)


def find(model_name: str, reference: str = "latest", uri: str | None = None) -> FoundCampaign:
    """A finished campaign.

    Parameters
    ----------
    model_name
        Asset and timeframe, as ``BTCUSDT-1h``.
    reference
        As :func:`registry.runs.find_campaign` has it; the newest by default.
    uri
        The MLflow store; else MLFLOW_TRACKING_URI, else the embedded one.

    Raises
    ------
    StoreError, RetryError
        There is no such store or campaign, or it does not answer.
    """
    client = connect(tracking_uri(uri))
    return FoundCampaign(client, find_campaign(client, model_name, reference))


def gate_table(gates: tuple[GateVerdict, ...]) -> pd.DataFrame:
    """The verdicts of a campaign, one row a gate."""
    return pd.DataFrame(
        {
            "gate": gate.name,
            "figure": gate.figure,
            "threshold": f"{gate.comparison} {gate.threshold:g}",
            "verdict": "passed" if gate.passed else "failed",
            "meaning": gate.detail,
        }
        for gate in gates
    )
