"""Every decision of the node, as functions of values: no I/O, no clock, no threads.

Reading order: ``sources`` (where a model lives) · ``content`` (what a generation consists of) ·
``slots`` (life of a slot) · ``fill_order`` (what to pull next) · ``backoff`` (when to try again)
· ``ledger`` (who holds how much room) · ``recency`` (how long ago) · ``eviction`` (who goes)
· ``access`` (who may do what) · ``attempts`` (who guesses) · ``key_ring`` (what signs tickets)
· ``reach`` (where origins may be) · ``tenants`` (which of them a tenant may use) · ``drip`` (how
slowly they may send).
"""
