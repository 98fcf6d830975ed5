"""Processes that do tasks one after another; one that does not come back in time is killed and replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_CONTEXT = get_context("spawn")


def _serve(work: Callable[[T], R], wire: Connection) -> None:
    while (task := wire.recv()) is not None:
        wire.send(work(task[0]))


class _Worker(Generic[T, R]):
    """One process, started when there is something to do."""

    def __init__(self, work: Callable[[T], R]) -> None:
        self._work = work
        self._process: BaseProcess | None = None
        self._wire: Connection | None = None

    def do(self, task: T, patience: float) -> R | None:
        """Do a task; None if the process hung or died, and then it is gone."""
        if self._process is None or self._wire is None:
            self._wire, theirs = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_serve, args=(self._work, theirs), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._wire.send((task,))
            if self._wire.poll(patience):
                result: R = self._wire.recv()
                return result
        except (EOFError, OSError):
            pass
        self.end()
        return None

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """End the process, and forget it."""
        self.kill()
        if self._process is not None and self._wire is not None:
            self._process.join()
            self._wire.close()
        self._process = self._wire = None


def each(
    work: Callable[[T], R], tasks: Iterable[T], jobs: int, patience: Callable[[T], float], lost: Callable[[T], R]
) -> Generator[R]:
    """The results, in the order in which they come. A task whose process died, or had to be killed, is ``lost``."""
    waiting: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[R | BaseException | None] = SimpleQueue()
    for task in tasks:
        waiting.put(task)
    stopped = threading.Event()
    workers: list[_Worker[T, R]] = [_Worker(work) for _ in range(jobs)]

    def attend(worker: _Worker[T, R]) -> None:
        try:
            while not stopped.is_set():
                task = waiting.get_nowait()
                result = worker.do(task, patience(task))
                if not stopped.is_set():
                    done.put(lost(task) if result is None else result)
        except Empty:
            pass
        except BaseException as error:  # noqa: BLE001 - told to the caller, who would wait for ever
            done.put(error)
        finally:
            worker.end()
            done.put(None)

    threads = [threading.Thread(target=attend, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        running = jobs
        while running:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        stopped.set()
        for worker in workers:
            worker.kill()
        for thread in threads:
            thread.join(5.0)
