"""Replicas on the node's own host: they are lent descriptors of files, and read those themselves.

Reading order: ``rights`` (who is lent what) · ``register`` (who is there, and how many may be) ·
``guest`` (one peer) · ``place`` (the socket in the file system) · ``plane`` (all of it together).
What is said stands in ``cache_protocol.local``.
"""
