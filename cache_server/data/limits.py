"""Every bound of the byte plane, with its reason. All times are seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer, and all of them together, may take."""

    # Open at once; one that waits costs a descriptor and about 2 KiB, with TLS 82 kB at most.
    connections: int = 4096
    active: int = 1024  # answers at once, each a thread
    strangers: int = 512  # of these for who has shown no ticket yet
    generation: int = 512  # of these for one generation; 100 hosts of four lanes and one more
    hung: int = 8  # of these hanging in the disk, before no more are sent after them
    disk_time: float = 10.0  # without a byte from the disk that count as hanging
    refusing: int = 256  # connections above the bound, of those that read that they were refused
    head_time: float = 10.0  # from the first byte of a request head to its last
    handshakes: int = 4  # worked on at once: a flood of them leaves cores for answers
    handshake_time: float = 10.0  # from the connection to the end of its handshake
    idle_time: float = 75.0  # between requests; nginx: keepalive_timeout 75
    send_time: float = 30.0  # one send without progress; nginx: send_timeout 60
    drain_time: float = (
        2.0  # reading what a refused peer still sends, so that no reset eats the answer
    )
    wait_slice: float = 2.0  # between two looks whether a reader that waits is still there
    wait_time: float = 600.0  # for one chunk; a fill that is stuck fails long before
    soon: float = 4.5  # to the first byte, for a client of the hub: it gives up after ten
    # To the first byte, for a dialect's client, after what the dialect itself has waited: boto3
    # gives up on a silent server after 60 s in all, and comes back as gladly after a status.
    first_byte: float = 30.0
    accept_pause: float = 0.5  # after the process ran out of descriptors
