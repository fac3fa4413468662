"""One slot per pipeline: who starts its fill, who joins, what is served, what is told.

Reading order: ``slot`` (what is known of one pipeline) · ``leases`` (who reads what) ·
``library`` (generations by id, for the data plane) · ``filling`` (from resolution to publication)
· ``repairs`` (bytes that are no longer what they were) · ``scrub`` (who looks for them) ·
``service`` (every call of the control plane) · ``views`` (what a caller is shown).
"""
