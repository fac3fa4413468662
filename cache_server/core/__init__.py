"""Every decision of the node, as functions of values: no I/O, no clock, no threads.

Reading order, by what is decided:

A slot: ``sources`` (where a model lives) · ``content`` (what a generation consists of) ·
``chunk_map`` (which chunks of a file are there) · ``slots`` (life of a slot).
Its fill: ``fill_order`` (what to pull next) · ``backoff`` (when to try again) · ``drip`` (how
slowly an origin may send) · ``fair_turns`` (which tenant is next).
Room: ``ledger`` (who holds how much) · ``recency`` (how long ago) · ``eviction`` (who goes) ·
``shares`` (how many of something each tenant holds).
The disk: ``disk_health`` (is it well) · ``scrub_plan`` (what is looked at next) · ``pace`` (how
fast).
Rights: ``access`` (who may do what) · ``attempts`` (who guesses) · ``key_ring`` (what signs
tickets) · ``tenants`` (whose origins) · ``reach`` and ``loopback`` (where those may be) ·
``standing`` (what may still be read) · ``led`` (what a browser was led to ask).
Doors: ``first_line`` (to whom a request leads) · ``commits`` and ``hub_tokens`` (what the hub's
programs expect) · ``on_demand`` (pipelines that nobody put) · ``vain`` (what is not asked again) ·
``coming_back`` (when to ask again).
What is told: ``chip_words`` (to people) · ``counted`` (to machines) · ``histogram`` ·
``boot_stats`` (what many starts say) · ``tracing`` (for whom it was done).
"""
