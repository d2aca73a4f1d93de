"""What makes two campaigns the same one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd

from registry.code_version import code_digest
from strategy.candles import digest
from strategy.config import Config


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
