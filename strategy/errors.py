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


class ConflictError(RetryError):
    """Another writer was faster: read again what it wrote, and decide anew.

    The very same call cannot succeed, so nothing repeats it blindly.
    """


class HaltError(TradingSystemError):
    """Something that must never happen did: stop, open nothing new, call the operator."""


INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def exit_status(error: TradingSystemError) -> int:
    """Exit status of a command that ends with this error, so that scripts can react to it.

    2 for what a person must fix (as argparse has it), 75 for what may work later and 70 for
    what must never happen (``EX_TEMPFAIL`` and ``EX_SOFTWARE`` of sysexits.h).
    """
    if isinstance(error, FixError):
        return 2
    return 75 if isinstance(error, RetryError) else 70
