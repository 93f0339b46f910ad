"""The event loop of the models."""

import threading

from caredio.llm import model


def test_threads_that_begin_at_once_share_the_loop():
    for _ in range(20):
        model._made_loop.cache_clear()
        found, ready = [], threading.Barrier(4)

        def begin(ready=ready, found=found):
            ready.wait()
            found.append(model._loop())

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, found))) == 1
