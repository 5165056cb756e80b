"""Works on media in threads: makes the files of generations, each distinct one once, and measures uploads."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

from hedra_provider.sandbox import measuring, speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hedra_provider.sandbox.media import Facts
    from hedra_provider.sandbox.records import Job
    from hedra_provider.sandbox.store import FileStore

PLACEHOLDER = b"This is a placeholder: the sandbox runs without media.\n"

Made = tuple[str, int]
"""Name in the store and size in bytes."""


class Studio:
    """See the module.

    :param store: has the inputs and takes the results.
    :param media_enabled: False makes placeholders, and rejects no file.
    """

    def __init__(self, store: FileStore, *, media_enabled: bool) -> None:
        self._store = store
        self._media = media_enabled
        self._jobs: dict[Job, asyncio.Future[Made]] = {}
        self._stop = threading.Event()
        workers = min(4, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox-studio")
        # Threads of their own: an upload does not wait until videos are made, nor a file until it is
        # measured.
        self._measuring = ThreadPoolExecutor(workers, thread_name_prefix="sandbox-measuring")

    def make(self, job: Job, done: Callable[[asyncio.Future[Made]], None]) -> None:
        """Start a job, or join one that makes the same.

        :param job: what to make.
        :param done: called in the event loop when the job has finished or failed.
        """
        future = self._jobs.get(job)
        if future is None or (future.done() and (future.cancelled() or future.exception())):
            future = asyncio.get_running_loop().run_in_executor(self._threads, self._run, job)
            self._jobs[job] = future
            future.add_done_callback(self._count)
        if future.done():
            done(future)
        else:
            future.add_done_callback(done)

    async def measure(self, path: Path, asset_type: str) -> Facts:
        """Measure an uploaded file.

        :param path: the file.
        :param asset_type: ``image``, ``audio`` or ``video``.
        :raises hedra_provider.sandbox.media.Unreadable: if the file is not such a medium.
        """
        measure = measuring.measure if self._media else measuring.measure_quickly
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._measuring, measure, path, asset_type, self._stop)

    async def wait(self, jobs: Iterable[Job], seconds: float) -> None:
        """Wait for jobs.

        :param jobs: what to wait for.
        :param seconds: the longest wait, in seconds of real time.
        """
        futures = [self._jobs[job] for job in jobs if job in self._jobs]
        if pending := [future for future in futures if not future.done()]:
            await asyncio.wait(pending, timeout=seconds)
        # The callbacks that store a result run only after the future is done.
        await asyncio.sleep(0)

    def forget(self) -> None:
        """Forget finished work. Running jobs go on, and their results are dropped."""
        self._jobs.clear()

    def _count(self, made: asyncio.Future[Made]) -> None:
        if not made.cancelled() and made.exception() is None:
            self._store.count(made.result()[1])

    @property
    def closed(self) -> bool:
        """Whether the studio was closed; jobs that ran then have failed for that reason alone."""
        return self._stop.is_set()

    def close(self) -> None:
        """Stop all work and delete unfinished files."""
        self._stop.set()
        for threads in (self._threads, self._measuring):
            threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job) -> Made:
        self._store.require_room()
        result = self._store.path(f"part-{uuid4().hex}")
        with ExitStack() as cleanup:
            cleanup.callback(result.unlink, missing_ok=True)
            if not self._media:
                result.write_bytes(PLACEHOLDER + repr(job).encode())
            elif job.kind == "audio":
                speech.synthesise_speech(result, job.speech or "", job.duration_ms)
            else:
                self._video(job, result, cleanup)
            return self._store.adopt(result)

    def _video(self, job: Job, result: Path, cleanup: ExitStack) -> None:
        from hedra_provider.sandbox.video import render_video

        audio = self._store.path(job.audio) if job.audio else None
        if job.speech is not None:
            audio = self._store.path(f"part-{uuid4().hex}")
            cleanup.callback(audio.unlink, missing_ok=True)
            speech.synthesise_speech(audio, job.speech, job.speech_ms)
        render_video(
            result,
            image=self._store.path(job.image) if job.image else None,
            audio=audio,
            width=job.width,
            height=job.height,
            duration_ms=job.duration_ms,
            audio_start_ms=job.audio_start_ms,
            stop=self._stop,
        )
