"""What the operator wants, in SQL: registrations and pins; and when each was last asked for.

Weights and their states are not here: what is on disk is derived from the disk. Reading order:
``tables`` (the schema) · ``registry`` (the calls) · ``boots`` (what replicas reported) ·
``tokens`` (who is known).
"""
