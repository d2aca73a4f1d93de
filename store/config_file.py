"""Reads config.json from a file."""

from __future__ import annotations

from pathlib import Path

from strategy.config import Config, parse_config
from strategy.errors import ConfigError


def read_config(path: Path) -> Config:
    """Read and validate config.json.

    Raises
    ------
    ConfigError
        The file cannot be read, is not JSON, or a key is unknown or out of its range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give --config PATH") from error
    return parse_config(text, source=str(path))
