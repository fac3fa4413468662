"""The cache node: pulls a pipeline's weights from the origin once and streams them to replicas.

Reading order, along the way of a byte: ``http`` (a replica asks for a manifest) · ``service``
(one slot per pipeline; who starts a fill, who joins) · ``fill`` (origin to slot) · ``origins``
(where the bytes come from) · ``store`` (files, digest tables, publication) · ``data`` (slot to
wire) · ``core`` (every decision, pure) · ``catalogue`` (what the operator wants, in SQL) ·
``ports`` (what the parts promise each other).
"""
