"""Numbers, and the parts that make them: programs, not library code.

Reading order: ``pull`` (the rows and their promises) · ``warm_rows``, ``cold_rows``,
``footprint_rows``, ``rank_rows`` (how each is measured) · ``doors`` (the rows of other people's
protocols) · ``hub_rows`` · ``harness`` (rounds, medians, the table) · ``bench`` (what rows share) ·
``checkpoints`` (models to move), ``ranks`` (what ranks would read of them) · ``node``,
``hub``, ``nginx`` (real programs that serve) · ``replica``, ``laid_out``, ``readers``,
``first_request`` (what is measured) · ``floor``, ``disk``, ``download`` (the fastest that this
machine and an origin can do) · ``peers`` (the same job by other programs) · ``device`` and
``device_rows`` (the same for a GPU's memory), ``device_load``, ``device_rates``, ``device_peers``,
``device_shards``, ``device_pins`` (their processes), ``bare_node`` (a node where there is only
torch) · ``memory``, ``resident``, ``threads``, ``children`` (small tools).
"""
