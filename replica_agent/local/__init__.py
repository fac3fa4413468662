"""The node on our own host: its files are read from their descriptors, not over the network.

Reading order: ``offer`` (whether it is on our host) · ``loans`` (the unix socket) · ``disk_time``
(a disk that hangs) · ``source`` (a lane's chunks). What is said stands in ``cache_protocol.local``.
"""
