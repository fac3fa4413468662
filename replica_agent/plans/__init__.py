"""Reading plans: which rank wants which bytes, where, before its engine exists.

The plan itself is ``cache_protocol.plans``. Reading order: ``scatter`` (from a span of a file to
the places of its bytes, pure) · ``groups`` (which plans make up one engine, pure).
"""
