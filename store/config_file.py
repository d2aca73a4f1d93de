"""Reads config.json from a file, with what the command line says instead."""

from __future__ import annotations

import argparse
from pathlib import Path

from strategy.config import Config, config_from, parse_config
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


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """``--config --max-trials --seed --preflight``: the file, and values instead of its own."""
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.add_argument("--max-trials", type=int, help="instead of search.max_trials")
    parser.add_argument(
        "--seed",
        type=int,
        help="of search, simulations and embedded market; instead of the config's",
    )
    parser.add_argument(
        "--preflight", choices=("warn", "stop", "off"), help="instead of preflight.mode"
    )


def chosen_config(options: argparse.Namespace) -> Config:
    """The config with the command line's values in it, validated like the file's own.

    Raises
    ------
    ConfigError
        As :func:`read_config`.
    """
    document = read_config(Path(options.config)).model_dump(mode="json")
    if options.max_trials is not None:
        document["search"]["max_trials"] = options.max_trials
    if options.seed is not None:
        document["monte_carlo_config"]["random_seed"] = options.seed
    if options.preflight is not None:
        document["preflight"]["mode"] = options.preflight
    return config_from(document, source=f"{options.config} with the command line's values")


def config_at(uri: str) -> Config:
    """Read config.json from ``s3://bucket/config.json``, or from a file.

    Raises
    ------
    ConfigError
        As :func:`read_config`.
    StoreError, RetryError
        The bucket cannot be read, or not now.
    """
    if not uri.startswith("s3://"):
        return read_config(Path(uri))
    from store.objects import open_objects  # loads boto3, which a file does not need

    place, _, name = uri.rpartition("/")
    content = open_objects(place).read(name)
    if content is None:
        raise ConfigError(f"{uri}: there is no such file; upload config.json to it")
    return parse_config(content.decode(errors="replace"), source=uri)
