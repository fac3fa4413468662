"""Hand a model's memory to the engine's process: one mapping per host, no copy, no pickle.

    agent                                         engine's process (each rank)
      HandoverServer ── unix socket, 0700 dir ──> attach(socket, model)
        the model's memfd, read-only ───────────> a private mapping of it
        the rank's own memory, if laid out ─────> its parameters, where they are
        what has arrived and was checked ───────> tensors, each as soon as it is whole
        every file confirmed ───────────────────> the load may end
        <───────────────────────── plan, refused: what it reads; that it is not this
        <─────────────────────────────── done: how it went, how long it waited

Reading order: ``messages`` (what is said, pure) · ``lines`` (how it travels) · ``place`` (how an
engine finds its agent) · ``giving`` (what is handed over) · ``consumers`` (to whom) ·
``generations`` (of which all have one) · ``sent`` (what they say they read) · ``headers`` (of files
that arrive) · ``client`` (in the engine's process) · ``server`` (in the agent).
"""
