"""The control plane: HTTP in, calls of the service, HTTP out. No decision is made here.

Reading order: ``problems`` (which error is which status) · ``bodies`` (what may be sent) ·
``sessions`` (a browser's cookie) · ``auth`` (who asks) · ``access`` (what is theirs to ask) ·
``crowd`` (connections, bounded) · ``encrypted`` and ``sealed`` (TLS before them) · ``leaving``
(connections that are answered elsewhere) · ``front`` (what pages add) · ``door`` (what is looked at
first) · ``pipelines``, ``policy``, ``replicas``, ``boots``, ``tokens``, ``tickets`` (the routes) ·
``streams``, ``recent``, ``events`` (what goes on) · ``manifests`` (signed URLs for a generation) ·
``answers``, ``described`` (what the API says of itself) · ``api`` (all of it put together).
"""
