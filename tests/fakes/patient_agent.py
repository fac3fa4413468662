"""``replica-agent`` that waits for a node's plans as long as a test takes: for a busy machine.

python -m tests.fakes.patient_agent boot …
"""

import sys

from replica_agent.__main__ import main
from replica_agent.boot import asking
from tests.fakes.boots import LIMIT

if __name__ == "__main__":
    asking.PATIENCE = LIMIT
    sys.exit(main())
