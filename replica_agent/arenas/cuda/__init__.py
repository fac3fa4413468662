"""Models in the memory of GPUs, through a pinned ring; nothing here imports torch.

Reading order: ``driver`` (the calls that are needed, as a port) · ``bindings`` (the real one), with
``vmm`` (memory that other processes can map) · ``allocation`` and ``shared`` (memory with an owner,
or with one in each of two processes) · ``ring`` (pinned slots, streams, events) · ``passage`` (a
model's chunks on their way through it) · ``arena`` · ``memory`` (a pipeline's models on their
devices, and where they go when one fails) · ``dlpack`` (the memory as a tensor library takes it).
"""
