"""The control plane: HTTP in, calls of the service, HTTP out. No decision is made here.

Reading order: ``problems`` (which error is which status) · ``bodies`` (what may be sent) ·
``sessions`` (a browser's cookie) with ``sites`` (for which site it acts) · ``auth`` (who asks) ·
``access`` (what is theirs to ask) · ``crowd`` (connections, bounded) · ``unread`` (answers that
nobody takes, bounded) · ``encrypted`` and ``sealed`` (TLS before them) · ``leaving`` (connections
that are answered elsewhere) · ``tracing`` (a request's id) · ``timing`` (what is counted of its
answer) · ``front`` (what pages add) · ``annex`` (what other protocols add) · ``door`` (what is
looked at first) with ``plan_turns`` (plans, which may be larger) · ``pipelines``, ``policy``,
``replicas``, ``reading_plans`` with ``plan_readers`` (threads of its own), ``boots``, ``tokens``,
``tickets``, ``metrics`` (the routes) · ``scrubbing`` and ``boot_figures`` (what is shown of those)
· ``streams``, ``recent``, ``events`` (what goes on) · ``opening`` (what a reader can have now) ·
``manifests`` (signed URLs for a generation) · ``answers``, ``described`` (what the API says of
itself) · ``api`` (all of it put together).
"""
