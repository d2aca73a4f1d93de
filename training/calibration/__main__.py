"""``python -m training.calibration``."""

from __future__ import annotations

import sys

from training.calibration.command import main

if __name__ == "__main__":
    sys.exit(main())
