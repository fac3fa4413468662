"""The control plane: HTTP in, calls of the service, HTTP out. No decision is made here.

Reading order: ``problems`` (which error is which status) · ``bodies`` (what may be sent) ·
``auth`` (who may ask) · ``door`` (what is looked at first) · ``manifests`` (signed URLs for a
generation) · ``boots`` (reports) · ``api`` (the routes).
"""
