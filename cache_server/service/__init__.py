"""One slot per pipeline: who starts its fill, who joins, what is served, what is told.

Reading order: ``slot`` (what is known of one pipeline) · ``registrations`` (what may be one) ·
``inventory`` (all of them) · ``clocks`` · ``requests`` (who was asked for when) · ``leases`` (who
reads what) · ``library`` (generations by id, for the data plane) · ``room`` (who goes) ·
``departures`` (on their way out) · ``filling`` (from resolution to publication) · ``proactive``
(fills that nobody waits for) · ``fill_turns`` (how many at once) · ``lookups`` (questions to
origins that nobody waits for) · ``watched_origins`` (what they are asked, counted) ·
``pass_through`` (what is not kept) · ``repairs`` (bytes that are no longer what they were) ·
``scrub`` (who looks for them) · ``disk_watch`` (a disk that is sick) · ``access_watch`` (what may
not be read any more) · ``counters`` · ``identities`` (who may ask) · ``ending`` (how far the node's
end has come) · ``housekeeping`` (what is done unasked) · ``pipelines`` (what is registered) ·
``removal`` (what goes) · ``contents`` (what there is, told without a fill) · ``reading_plans``
(what replicas tell each other of their engines) · ``views`` (what a caller is shown) · ``glance``
(the same in short) · ``figures`` (both, of all that is there) · ``service`` (every call of the
control plane).
"""
