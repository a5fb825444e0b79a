"""A TCP proxy in front of one server, for faults of the line: connections are cut, refused for a while, a reply is lost after
its request has gone through, or a request is held back on its way.

All proxies of a run share one event loop in one thread. The methods are for other threads.
"""
import asyncio
import contextlib
import threading

CHUNK = 1 << 16
KAFKA_PRODUCE, KAFKA_END_TXN = 0, 26


class Lines:
    """The thread with the event loop."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self):
        async def cancel_all():
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        with contextlib.suppress(Exception):
            self.call(cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class Link:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.loses = False  # the next thing that the server says is lost, and the connection with it

    def close(self):
        for writer in (self.client, self.server):
            with contextlib.suppress(Exception):
                writer.transport.abort()


class Proxy:
    """port: where it listens. target: the server's port on the same host."""

    def __init__(self, lines, target, port=0):
        self.lines, self.target, self.port = lines, target, port
        self.links = set()
        self.refuses = False
        self.lose = 0        # so many replies are to be lost yet
        self.lost = 0        # were lost
        self.holds = None    # the next Kafka request of this kind is to be held back
        self.held = None     # an asyncio.Event while one is
        lines.call(self._listen())

    async def _listen(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, client_reader, client):
        if self.refuses:
            client.transport.abort()
            return
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client.transport.abort()
            return
        link = Link(client, server)
        self.links.add(link)
        try:
            await asyncio.gather(self._up(link, client_reader), self._down(link, server_reader))
        except (OSError, EOFError):
            pass
        finally:
            self.links.discard(link)
            link.close()

    async def _up(self, link, reader):
        while data := await reader.read(CHUNK):
            if self.lose and not link.loses and b"EVALSHA" in data:
                self.lose -= 1
                link.loses = True
            if self.holds is not None and len(data) > 8 and int.from_bytes(data[4:6], "big") == self.holds:
                self.holds = None
                self.held = asyncio.Event()
                await self.held.wait()
                self.held = None
            link.server.write(data)
            await link.server.drain()
        raise EOFError

    async def _down(self, link, reader):
        while data := await reader.read(CHUNK):
            if link.loses:
                self.lost += 1
                break
            link.client.write(data)
            await link.client.drain()
        raise EOFError

    # ---- faults

    def cut(self):
        """Ends every connection; how many there were."""
        async def cut():
            count = len(self.links)
            for link in list(self.links):
                link.close()
            return count
        return self.lines.call(cut())

    def refuse(self):
        self.refuses = True
        return self.cut()

    def heal(self):
        self.refuses = False
        self.lose = 0
        self.release()

    def release(self):
        self.holds = None

        async def release():
            if self.held:
                self.held.set()
        self.lines.call(release())
