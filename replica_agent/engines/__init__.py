"""How weights reach an engine.

Reading order: ``files`` (real names on disk, for any engine) · ``vllm`` (a plug-in: a load format
of its own) · ``vllm_loader`` · ``vllm_adoption`` (which of its models can look at our memory) ·
``vllm_plan`` (what a plan of it holds for) · ``installed`` (which vLLM there is) · ``load`` (one
load from the agent's memory; knows no engine) · ``checkpoint`` (which files hold weights, pure) ·
``detour`` (the origin's files, for a loader that cannot use us).

Parameters that look at memory which holds them already: ``planned`` (what plans have to do with
one load) · ``trace``, ``recorder``, ``state`` (what a model reads, told by itself) · ``deferred``
(a model without memory) · ``adopt`` (its parameters become views) · ``storages`` (what torch does
not show openly) · ``device_shard`` (such memory on a GPU, as a tensor).

Tensors that an engine copies to its GPU by itself: ``registration`` (pinned where they are) ·
``ahead`` (by threads that nobody waits for).
"""
