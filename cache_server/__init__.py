"""The cache node: pulls a pipeline's weights from the origin once and streams them to replicas.

Reading order, along the way of a byte: ``http`` (a replica asks for a manifest) · ``service``
(one slot per pipeline; who starts a fill, who joins) · ``fill`` (origin to slot) · ``origins``
(where the bytes come from) · ``store`` (files, digest tables, publication) · ``data`` (slot to
wire) · ``local`` (the same for replicas on this host) · ``doors`` (the same by other people's
protocols) · ``core`` (every decision, pure) · ``catalogue`` (what the operator wants, in SQL) ·
``ports`` (what the parts promise each other).

Around it: ``__main__`` (the command; it alone reads the environment) · ``settings`` ·
``pipelines_file`` and ``tenants_file`` (what an operator writes) · ``node`` (the parts put
together) · ``certificates`` (what TLS shows) · ``handed`` (connections that change ports) ·
``upkeep`` (what is done again and again) · ``stopping`` · ``cli`` (commands that ask a node) ·
``dashboard`` (pages for people) · ``metrics`` (what Prometheus is told) · ``logs`` ·
``crash_points`` (where a test may kill the node).
"""
