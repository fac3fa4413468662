"""The queue of fills that nobody waits for: whose turn it is, and how often."""

import threading

from cache_protocol.errors import OriginUnavailableError
from cache_server.catalogue.registry import Key
from cache_server.service.proactive import Proactive
from cache_server.service.slot import Work

ASR, LLM, TTS = (Key("default", name) for name in ("asr", "llm", "tts"))


class Fills:
    """Begins what it is asked for, or joins it, and writes down what was begun."""

    def __init__(self):
        self.begun = []
        self._running = {}
        self.queue = Proactive(threading.RLock(), self._begin)

    def _begin(self, key):
        if key not in self._running:
            self.begun.append(key)
            self._running[key] = Work(refresh=False)
        return self._running[key]

    def fail(self, key):
        self._running.pop(key).done.set_exception(OriginUnavailableError("503"))


def test_a_pipeline_that_is_asked_for_again_while_it_waits_has_one_turn():
    fills = Fills()
    fills.queue.ask([ASR, LLM])
    for _ in range(3):  # rounds of housekeeping, while both turns are taken
        fills.queue.ask([TTS])
    fills.fail(ASR)
    assert fills.begun == [ASR, LLM, TTS]
    fills.fail(TTS)
    fills.fail(LLM)
    assert fills.begun == [ASR, LLM, TTS]  # who failed is not begun again with no pause


def test_a_fill_that_is_asked_for_while_it_runs_keeps_the_other_turn_free():
    fills = Fills()
    fills.queue.ask([ASR])
    fills.queue.ask([ASR])
    fills.queue.ask([LLM])
    assert fills.begun == [ASR, LLM]


def test_at_most_two_run_at_once():
    fills = Fills()
    fills.queue.ask([ASR, LLM, TTS])
    assert fills.begun == [ASR, LLM]
