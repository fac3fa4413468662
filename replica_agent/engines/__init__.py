"""How weights reach an engine.

Reading order: ``files`` (real names on disk, for any engine) · ``vllm`` (a plug-in: a load format
of its own) · ``vllm_loader`` · ``load`` (one load from the agent's memory; knows no engine) ·
``checkpoint`` (which files hold weights, pure) · ``detour`` (the origin's files, for a
loader that cannot use us).

Parameters that look at memory which holds them already: ``deferred`` (a model without memory) ·
``adopt`` (the model's parameters become views) · ``storages`` (what torch does not show openly) ·
``device_shard`` (such memory on a GPU, as a tensor).
"""
