"""Models in the memory of GPUs, through a pinned ring; nothing here imports torch.

Reading order: ``driver`` (the calls that are needed, as a port) · ``bindings`` (the real one), with
``vmm`` (memory that other processes can map) · ``devices`` (opened once) · ``allocation`` and
``shared`` (memory with an owner, or with one in each of two processes) · ``ring`` (pinned slots,
streams, events) · ``passage`` (a model's chunks on their way through it) · ``dlpack`` (the memory
as a tensor library takes it).

Then, for a pipeline in this process: ``arena`` · ``memory`` (its models on their devices, and where
they go when one fails). For an engine: ``laid_out`` (the parameters of its ranks, each on the
rank's device) · ``ranks`` (which device that is).
"""
