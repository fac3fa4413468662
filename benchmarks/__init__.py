"""Numbers, and the parts that make them: programs, not library code.

Reading order: ``checkpoints`` (models to move) · ``node`` (a real node as a process) ·
``floor`` (the fastest that this machine can move bytes) · ``peers`` (the same job by other
programs) · ``harness`` (rounds, medians, the table) · ``pull`` (the rows).
"""
