"""What a campaign is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from registry.code_version import git_commit
from registry.identity import Identity
from store.candles import CandleSource
from store.clock import Clock
from store.state import StateTable
from strategy.config import Config
from training.discovery import WHOLE, Part


@dataclass(frozen=True)
class CampaignRequest:
    """What is asked for."""

    asset: str
    timeframe: str
    config: Config
    source: CandleSource
    tracking_uri: str
    jobs: int
    """Processes that evaluate."""
    checkpoints: str
    """Folder or ``s3://bucket/prefix`` below which checkpoints are kept."""
    state: StateTable
    clock: Clock
    part: Part = WHOLE
    resume_limit: float = math.inf
    """How often in a row the job may be resumed without a new checkpoint."""

    @property
    def model_name(self) -> str:
        """The registered model; also the name of the experiment."""
        return f"{self.asset}-{self.timeframe}"

    @property
    def subtitle(self) -> str:
        """Below every figure: what was searched, and whether the market is real."""
        market = "SYNTHETIC MARKET, " if self.source.synthetic else ""
        return f"{self.asset} {self.timeframe} · {market}{self.source.name}"


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
