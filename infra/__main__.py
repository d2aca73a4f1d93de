"""Deploys the system, says what that costs and who may do what, and takes it away again.

::

    python -m infra deploy --stage prod --preview
    python -m infra deploy --stage prod --set OperatorEmail=me@example.org
    python -m infra pipeline --stage prod --connection ARN
    python -m infra call --stage prod config_service '{}'
    python -m infra secrets
    python -m infra costs
    python -m infra privileges
    python -m infra teardown --stage prod
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from infra import commands
from strategy.errors import INTERRUPTED, TradingSystemError, exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra", description=__doc__.split("\n")[0])
    commands.add(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        Console(stderr=True).print("[red bold]error:[/] interrupted")
        return INTERRUPTED
    except TradingSystemError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {escape(str(error))}", highlight=False)
        return exit_status(error)


if __name__ == "__main__":
    sys.exit(main())
