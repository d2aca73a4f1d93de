"""The text of config.schema.json, by which editors complete and check config.json.

``python -m strategy.config_schema`` prints it; ``make schema`` writes the file.
"""

from __future__ import annotations

import json

from strategy.config import json_schema


def schema_text() -> str:
    """The JSON Schema of config.json as checked in: indented, with a newline at its end."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
