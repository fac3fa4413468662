"""What Prometheus is told: every family, its labels and its help, and nothing else.

Read in this order: ``families`` (how one is written) · ``node`` (its room, and what replicas asked
for) · ``origins`` (bytes, fills, faults) · ``lanes`` (the data plane) · ``tenants`` (their room) ·
``pipelines`` (how each one stands) · ``boots`` (starts, as histograms) · ``last_boots`` (the last
start of each pipeline) · ``requests`` (answers of the control plane) · ``exposition`` (all of it as
text). Counting happens where things happen, without this package; only histograms of answers and of
starts live here. Names are part of the contract, see docs/metrics.md.
"""
