"""What a campaign is asked for, and what makes two campaigns the same one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd

from registry.code_version import code_digest, git_commit
from store.candles import CandleSource
from strategy.candles import digest
from strategy.config import Config


@dataclass(frozen=True)
class CampaignRequest:
    """What is asked for."""

    asset: str
    timeframe: str
    config: Config
    source: CandleSource
    tracking_uri: str
    jobs: int

    @property
    def model_name(self) -> str:
        """The registered model; also the name of the experiment."""
        return f"{self.asset}-{self.timeframe}"

    @property
    def subtitle(self) -> str:
        """Below every figure: what was searched, and whether the market is real."""
        market = "SYNTHETIC MARKET, " if self.source.synthetic else ""
        return f"{self.asset} {self.timeframe} · {market}{self.source.name}"


@dataclass(frozen=True)
class Identity:
    """What makes two campaigns the same one."""

    config_digest: str
    data_digest: str
    code_digest: str

    @classmethod
    def of(cls, config: Config, candles: pd.DataFrame) -> Identity:
        """With the code that runs here and now."""
        return cls(config.digest, digest(candles), code_digest())

    def campaign_id(self, model_name: str) -> str:
        """Equal for equal config, candles and code; its runs in MLflow are shared."""
        text = "\n".join((model_name, self.config_digest, self.data_digest, self.code_digest))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_tags(request: CampaignRequest, identity: Identity) -> dict[str, str]:
    """Tags of every run of the campaign, so that the UI can filter by them."""
    return {
        "asset": request.asset,
        "timeframe": request.timeframe,
        "candles": request.source.name,
        "synthetic": str(request.source.synthetic).lower(),
        "config_digest": identity.config_digest,
        "data_digest": identity.data_digest,
        "code_digest": identity.code_digest,
        "git_commit": git_commit(),
    }
