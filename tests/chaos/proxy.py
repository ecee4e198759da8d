"""A TCP proxy that does to connections what networks do: cuts, resets, delays, silence, refusals."""

import asyncio
import contextlib
import threading

_CHUNK = 64 * 1024


class Proxy:
    """Listens on 127.0.0.1 and passes everything on to the target. Its methods are for other threads."""

    def __init__(self, name, target, port=0):
        self.name = name
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._connections = set()  # Writers of both sides.
        self._delay = 0.0
        self._refusing = False
        self._flows = None
        self._server = None
        self.port = None
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port, ready), daemon=True, name=f"proxy-{name}")
        self._thread.start()
        if not ready.wait(10) or self.port is None:
            raise OSError(f"the proxy to {name} cannot listen on port {port}")

    # -- what may be done to it

    def reset(self):
        """Every connection breaks with a reset."""
        self._call(self._abort_all)

    def refuse(self, on):
        """Connections break, and new ones are closed at once."""
        def act():
            self._refusing = on
            if on:
                self._abort_all()
        self._call(act)

    def silence(self, on):
        """Nothing is passed on, and nothing breaks: as behind a firewall that forgot the connection."""
        self._call(self._flows.clear if on else self._flows.set)

    def delay(self, seconds):
        """Each piece of data waits that long."""
        self._delay = seconds

    def heal(self):
        self.delay(0)
        self.refuse(False)
        self.silence(False)

    def close(self):
        def stop():
            self._abort_all()
            self._server.close()
            self._loop.call_later(0.05, self._loop.stop)
        self._call(stop)
        self._thread.join(5)

    # -- the thread

    def _call(self, action):
        self._loop.call_soon_threadsafe(action)

    def _abort_all(self):
        for writer in list(self._connections):
            writer.transport.abort()

    def _run(self, port, ready):
        asyncio.set_event_loop(self._loop)

        async def listen():
            self._flows = asyncio.Event()
            self._flows.set()
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
            self.port = self._server.sockets[0].getsockname()[1]

        try:
            self._loop.run_until_complete(listen())
        except OSError:
            ready.set()
            return
        ready.set()
        self._loop.run_forever()

    async def _serve(self, reader, writer):
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._connections.update((writer, there_writer))
        try:
            await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))
        finally:
            for end in (writer, there_writer):
                self._connections.discard(end)
                end.transport.abort()

    async def _pass(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
