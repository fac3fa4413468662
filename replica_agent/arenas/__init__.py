"""Where a model's bytes land. Each module is an ``Arena`` of ``replica_agent.ports``.

Reading order: ``host`` (memory that views are taken of) · ``striped``
(the same for this process alone) · ``directory`` (files on disk) ·
``room`` (how much memory there is to take) · ``cuda`` (a GPU's memory).
"""
