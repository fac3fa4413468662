"""Where this process's memory is, as the kernel tells."""

from pathlib import Path


def in_shard(address):
    """Return whether ``address`` is in memory that the agent laid out for a rank."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(number, 16) for number in line.split()[0].split("-"))
        if begin <= address < end:
            return "memfd:llm-rank" in line
    return False
