"""What the programs that we start find in their environment: all that we do, but our token.

None of them asks the cache, and engines and their crash reporters print their environment.
"""

import os

WITHHELD = ("REPLICA_AGENT_TOKEN",)


def environment() -> dict[str, str]:
    """Return the environment of a child."""
    return {name: value for name, value in os.environ.items() if name not in WITHHELD}
