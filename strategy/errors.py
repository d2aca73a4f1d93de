"""Errors, classified by what the caller must do about them: fix, retry or halt."""

from __future__ import annotations


class TradingSystemError(Exception):
    """Root of every error that this project raises on purpose."""


class FixError(TradingSystemError):
    """A person must change something; trying again with the same input cannot help."""


class ConfigError(FixError):
    """A key of config.json, a setting or a command-line argument is unknown or out of range."""


class DataError(FixError):
    """Candles (or another input file) are malformed, inconsistent or too short."""


class StoreError(FixError):
    """A store (MLflow, folder, database) is unusable: read-only, missing, of another version."""


class RetryError(TradingSystemError):
    """The other side did not answer or asked us to slow down; the same call may succeed later."""


class HaltError(TradingSystemError):
    """Something that must never happen did: stop, open nothing new, call the operator."""
