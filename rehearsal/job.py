"""The training container's program in a rehearsal: its clock is the rehearsal's.

It stands at the moment at which the job was started, which lies beside the job's files.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from training.job import main

if __name__ == "__main__":
    started = json.loads(Path(os.environ["SAGEMAKER_BASE_DIR"], "started.json").read_bytes())
    moment = datetime.fromisoformat(started["at"])
    sys.exit(main(clock=lambda: moment))
