"""The byte plane: a small threaded HTTP/1.1 range server on blocking sockets and ``sendfile``.

One thread, the poller, owns every connection that waits for a request; a connection whose request
is whole goes to a worker thread, which sits in ``sendfile`` without the GIL, and comes back.

Reading order: ``request`` (bytes to a request) · ``answer`` (a request to status and head) ·
``wire`` (how bytes leave) · ``tls`` and ``tls_wire`` (the same, sealed) · ``prefetch`` (what will
be asked next) and ``read_ahead`` (the disk kept busy) · ``guests`` (whose connections these are) ·
``answers`` (how many of one generation, where a disk hangs) · ``delivery`` (a file's bytes, as they
come) · ``responder`` (one request of a replica) · ``plain`` (readers that cannot wait for long) ·
``dialect`` (another protocol) · ``speaker`` (in which words a request is answered) · ``homes``
(connections of another port) · ``connection`` (requests of one peer, in order) · ``workers``
(bounded threads) · ``handshakes`` (who stands in line to be encrypted) · ``strangers`` (who goes
first) · ``poller`` (who waits, who works, who leaves) · ``plane`` (the whole, as others use it) ·
``limits`` and ``stats`` (bounds and counts).
"""
