"""Where a model's bytes land: each kind is an ``Arena`` of ``replica_agent.ports``.

Reading order: ``host`` (memory that views are taken of) · ``striped`` (the same for this process
alone) · ``laid_out`` (memory for ranks whose plans are known) · ``by_plan`` (when it is that) ·
``links`` (memory for engines that read files) · ``directory`` (files on disk) · ``cuda`` (a GPU's
memory). What they need: ``bounce`` (a buffer per thread, before a byte's place) · ``room`` (how
much memory there is to take) · ``mounts`` (which file system, and its room).
"""
