"""A rank's weights in the memory of its GPU, as a tensor of bytes: what the agent laid out there.

The memory is the agent's and ours in common, by a descriptor that came over the hand-over. It lives
as long as the tensor, or a view of it, also after the agent has gone; nothing is copied.
"""

from collections.abc import Callable

import torch
import torch.utils.dlpack

from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.dlpack import Bytes
from replica_agent.arenas.cuda.driver import Driver
from replica_agent.arenas.cuda.shared import AdoptedMemory


def device_shard(
    descriptor: int, size: int, uuid: str, load: Callable[[], Driver] = load_driver
) -> torch.Tensor:
    """Return the ``size`` bytes that the agent shared, at least one, on the device ``uuid``.

    ``descriptor`` stays the caller's, and is needed no more. The tensor's device says which of
    torch's devices that is.

    Raises:
        DriverError: this process does not see the device, or cannot map its memory.
    """
    driver = load()
    memory = AdoptedMemory(driver.open(driver.find(uuid)), descriptor, size)
    flat: torch.Tensor = torch.utils.dlpack.from_dlpack(Bytes(memory, 0, memory.size))
    return flat
