"""Numbers, and the parts that make them: programs, not library code.

Reading order: ``pull`` (the rows and their promises) · ``warm_rows``, ``cold_rows``,
``footprint_rows``, ``rank_rows`` (how each is measured) · ``doors`` (the rows of other people's
protocols) · ``hub_rows``, ``s3_rows`` (how) · ``boot`` (a real vLLM's first token), ``boot_model``
(what it serves), ``paced`` (a node behind a slow link) · ``crowds`` (a replica while thousands
say nothing), ``crowd`` (such a crowd) · ``policy`` (a node of many pipelines) ·
``harness`` (rounds, medians, the table) · ``bench`` (what rows share) ·
``checkpoints`` (models to move), ``ranks`` (what ranks would read of them) · ``node``,
``hub``, ``origin``, ``nginx`` (programs that serve) · ``replica``, ``laid_out``, ``readers``,
``first_request`` (what is measured) · ``floor``, ``disk``, ``download`` (the fastest that this
machine and an origin can do) · ``peers`` (the same job by other programs) · ``device`` and
``device_rows`` (the same for a GPU's memory), ``device_load``, ``device_rates``, ``device_peers``,
``device_shards``, ``device_pins`` (their processes), ``bare_node`` (a node where there is only
torch) · ``memory``, ``resident``, ``threads``, ``children`` (small tools).
"""
