"""One slot per pipeline: who starts its fill, who joins, what is served, what is told.

Reading order: ``slot`` (what is known of one pipeline) · ``leases`` (who reads what) ·
``library`` (generations by id, for the data plane) · ``filling`` (from resolution to publication)
· ``service`` (every call of the control plane) · ``views`` (what a caller is shown).
"""
