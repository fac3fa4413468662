"""A small engine, as a process: takes its weights as it is told, says what it got, may serve.

python -m tests.fakes.engine --say FILE [--load-format warmline] [--port N] [--stay] [--exit CODE]
    [--hold FILE] [--adopts] [--refuse REASON] [--send-plan FILE] MODEL …

It appends one line of JSON per event to FILE: what it found in each MODEL's directory when it
started, then the sha256 of every file that it got, and by which way.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cache_protocol.errors import CacheError, GenerationGoneError
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.shared import AdoptedMemory
from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import read_place


def main():
    options = _options()
    say = _Say(options.say)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: (say(event="sigterm"), ended.set()))
    signal.signal(signal.SIGUSR1, lambda *_: say(event="sigusr1"))
    for model in options.models:
        say(event="start", pid=os.getpid(), model=str(model), found=sorted(_names(model)))
    if options.hold:
        _wait_for(options.hold)
    for model in options.models:
        if options.load_format == "warmline":
            _take(say, model, options)
        else:
            got = {name: _sha256((model / name).read_bytes()) for name in _names(model)}
            say(event="loaded", way="files", model=str(model), got=got)
    if options.port is not None:
        _serve(options.port, ended)
    elif options.stay:
        ended.wait()
    say(event="end")
    return options.exit


class _Say:
    def __init__(self, path):
        self._path = path

    def __call__(self, **fields):
        with self._path.open("a") as file:
            file.write(json.dumps({"at": time.monotonic(), **fields}) + "\n")


def _take(say, model, options):
    place = read_place(model)
    began = time.monotonic()
    try:
        if options.refuse:
            with attach(place.socket, place.model, adopts=True) as attached:
                say(event="refuses", shard=attached.shard is not None)
                attached.refuse(options.refuse)
        try:
            got = _attached(say, place, options, began)
        except GenerationGoneError:
            if not options.adopts:
                raise
            got = _attached(say, place, options, began)  # its shard was void
        say(event="loaded", way="handover", model=place.model, got=got)
    except CacheError as error:
        say(event="failed", model=place.model, code=error.code, detail=str(error))


def _attached(say, place, options, began):
    with attach(place.socket, place.model, adopts=options.adopts) as attached:
        say(event="attached", model=place.model)
        if options.send_plan:
            attached.send_plan(options.send_plan.read_bytes())
        got = _given(attached)
        attached.wait_confirmed()
        adopted = attached.shard.size if attached.shard else 0
        attached.done(Outcome.LOADED, time.monotonic() - began, adopted=adopted)
    return got


def _given(attached):
    shard = attached.shard
    if shard is None:
        return {f.path: _sha256(attached.read(f.path)) for f in attached.files}
    attached.wait_confirmed()
    if shard.device:
        return {"shard": _sha256(_copied(shard)), "plan": shard.plan, "device": shard.device}
    return {"shard": _sha256(shard.map()), "plan": shard.plan}


def _copied(shard):
    """Return what is in a shard on a device, which this process maps as an engine does."""
    driver, descriptor = load_driver(), shard.take()
    device = driver.open(driver.find(shard.device))
    memory = AdoptedMemory(device, descriptor, shard.size)
    os.close(descriptor)
    content = bytearray(shard.size)
    device.copy_out(memoryview(content), memory.address)
    return content


def _names(model):
    return [
        str(path.relative_to(model))
        for path in model.rglob("*")
        if path.is_file() and path.name != ".warmline.json"
    ]


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _wait_for(path):
    while not path.exists():
        time.sleep(0.005)


def _serve(port, ended):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self._answer({"data": [{"id": "m"}]})

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({"choices": [{"text": "!"}]})

        def _answer(self, fields):
            body = json.dumps(fields).encode() + b"\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    ended.wait()
    server.shutdown()
    thread.join()
    server.server_close()


def _options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--say", type=Path, required=True)
    parser.add_argument("--load-format", default="auto")
    parser.add_argument("--port", type=int)
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--exit", type=int, default=0)
    parser.add_argument("--hold", type=Path)
    parser.add_argument("--adopts", action="store_true")
    parser.add_argument("--refuse")
    parser.add_argument("--send-plan", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
