"""Compressed messages that are far larger than they look, sent to our echo
server by a client that knows no better: one at a time, and by a thousand at
once. What it must come to: earlier messages were echoed, the close code tells
why, and resident memory has stayed below a bound.

  deflate-bombs.py [GIB]

GIB is how much the endless message of the streaming server expands to; 1."""
import asyncio
import os
import random
import re
import resource
import signal
import struct
import sys
import zlib

MIB = 1 << 20
CROWD = 1000
GIB = float(sys.argv[1]) if len(sys.argv) > 1 else 1
LAUNCHER = os.environ.get("LAUNCHER", "").split()
if LAUNCHER:
    CROWD = 20

# What is promised: max_memory counts what waits and what is gathered, but not
# zlib's streams: those that each socket keeps with context takeover.
MAX_MEMORY = 1024  # MiB, the server's default
STREAMS = 0.31  # MiB for each connection
FIXED = 32  # MiB

OFFER = "permessage-deflate; client_max_window_bits"
TAIL = b"\0\0\xff\xff"
EMPTY = b"\0" + TAIL  # a block without anything

# First bytes: FIN, RSV1, opcodes.
WHOLE, FIRST, MORE, LAST, CLOSE = 0xC2, 0x42, 0x00, 0x80, 8


def block(data):
    """Compressed, without reference to anything before, up to a byte's end."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush(zlib.Z_FULL_FLUSH)


ZEROS = block(bytes(MIB))  # about 1 KiB; so often as one likes
HELLO = os.urandom(16) * 16  # the earlier, valid message


def frame(first, payload):
    """Masked with zeros, so as it is."""
    size = len(payload)
    if size < 126:
        head = bytes([first, 128 | size])
    elif size < 65536:
        head = struct.pack(">BBH", first, 254, size)
    else:
        head = struct.pack(">BBQ", first, 255, size)
    return head + bytes(4) + payload


def fragmented(parts):
    """A message in those fragments."""
    for i, part in enumerate(parts):
        yield frame(MORE if i else FIRST, part)
    yield frame(LAST, b"\0")


class Server:
    """Our echo server, as CMake names it in the environment."""

    running = set()

    @classmethod
    async def start(cls, *args):
        self = cls()
        command = [*LAUNCHER, os.environ["ECHO_SERVER"], "--port", "0", *args]
        self.process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE
        )
        cls.running.add(self.process)
        line = (await self.process.stdout.readline()).decode()
        self.port = int(re.search(r":(\d+)/", line)[1])
        return self

    def status(self, name):
        """In MiB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(rf"{name}:\s*(\d+)", file.read())[1]) / 1024

    def check_peak(self, title, most):
        peak = self.status("VmHWM")
        print(f"  {title}: at most {peak:.0f} MiB, of {most:.0f} allowed",
              flush=True)
        # The sanitizers' shadow, and valgrind's, are not ours.
        if not LAUNCHER and self.status("VmPeak") < MIB:
            assert peak < most, title

    async def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert await self.process.wait() == 0
        self.running.discard(self.process)


class Client:
    @classmethod
    async def connect(cls, server, offer=OFFER):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", server.port
        )
        self.writer.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Extensions: " + offer.encode() + b"\r\n\r\n"
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert b"permessage-deflate" in head, head
        self.inflater = zlib.decompressobj(wbits=-15)
        return self

    async def send(self, frames):
        """As much as the server takes."""
        try:
            for one in frames:
                self.writer.write(one)
                await self.writer.drain()
        except ConnectionError:
            pass

    async def read(self):
        """The next frame: its first byte, and its payload."""
        first, size = await self.reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        return first, await self.reader.readexactly(size)

    async def hello(self):
        self.writer.write(frame(WHOLE, block(HELLO)[:-4]))
        first, payload = await self.read()
        if first & 0x40:
            payload = self.inflater.decompress(payload + TAIL)
        assert payload == HELLO

    async def closed(self):
        """The code with which the server closes; None when it does not say."""
        try:
            while True:
                first, payload = await self.read()
                if first & 15 == CLOSE:
                    return struct.unpack(">H", payload[:2])[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def abort(self):
        self.writer.transport.abort()


# ---- one at a time ----


def just_too_big():
    yield frame(WHOLE, block(bytes(MIB + 1))[:-4])


def one_frame():
    yield frame(WHOLE, ZEROS * 10240)  # 10 GiB


def one_frame_of_a_mib():
    yield frame(WHOLE, ZEROS * 1000)


def many_frames():
    yield from fragmented([ZEROS] * 10240)


def bytes_one_by_one():
    bomb = block(bytes(MIB + 1))
    yield b"".join(fragmented(bomb[i : i + 1] for i in range(len(bomb))))


def a_bit_of_each():
    """All fragments are small, and each expands to 64 times as much."""
    part = block(bytes(700))
    yield from fragmented([part] * 10000)


def nothing_at_all():
    yield from fragmented([EMPTY * 200] * 10000)


def empty_frames():
    yield b"".join(fragmented([b""] * 70000))


def nested():
    """A bomb inside of a bomb is a message like any other."""
    inner = ZEROS * 10240
    yield from fragmented([block(inner[i : i + MIB])
                           for i in range(0, len(inner), MIB)])


def behind_a_last_block():
    """A stream that says it ends, and goes on."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    final = deflater.compress(bytes(MIB)) + deflater.flush()
    yield from fragmented([final] * 100)


def junk():
    yield frame(WHOLE, b"\xff\xff\xff")


ONE_BY_ONE = [
    (just_too_big, 1009),
    (one_frame, 1009),
    (one_frame_of_a_mib, 1009),
    (many_frames, 1009),
    (bytes_one_by_one, 1009),
    (a_bit_of_each, 1009),
    (nothing_at_all, 1009),
    (empty_frames, 1008),  # fragments have a limit of their own
    (nested, 1009),
    (behind_a_last_block, 1009),
    (junk, 1007),
]


async def one_by_one(*args):
    server = await Server.start(*args)
    for bomb, code in ONE_BY_ONE:
        title = bomb.__name__.replace("_", " ")
        client = await Client.connect(server)
        await client.hello()
        sending = asyncio.create_task(client.send(bomb()))
        heard = await client.closed()
        assert heard == code, f"{title}: {heard} instead of {code}"
        client.abort()
        await sending
        # The message's buffer, twice as large as it need be, and the way to it.
        server.check_peak(title, FIXED)
    await server.end()


# ---- a thousand at once ----


async def crowd(server, offer=OFFER):
    clients = await asyncio.gather(
        *(Client.connect(server, offer) for _ in range(CROWD))
    )
    await asyncio.gather(*(client.hello() for client in clients))
    return clients


async def codes(clients, allowed):
    heard = await asyncio.gather(*(client.closed() for client in clients))
    counts = {code: heard.count(code) for code in set(heard)}
    print(f"  close codes: {counts}", flush=True)
    assert set(counts) <= allowed, counts
    for client in clients:
        client.abort()


async def all_at_once():
    """First a MiB less one byte for each of them to hold, which is more than
    the server is willing to; then the rest. While they hold it all, it has
    nothing left for others; afterwards it must."""
    server = await Server.start("--deflate", "yes")
    clients = await crowd(server)
    almost = block(bytes(MIB - 1))
    await asyncio.gather(*(c.send([frame(FIRST, almost)]) for c in clients))
    await asyncio.sleep(2)
    rest = [frame(MORE, ZEROS)] * 100
    await asyncio.gather(*(c.send(rest) for c in clients))
    await codes(clients, {1009, 1013})
    server.check_peak("a thousand hold a MiB",
                      MAX_MEMORY + CROWD * STREAMS + FIXED)
    other = await Client.connect(server)
    await other.hello()
    other.abort()
    await server.end()


async def all_whole():
    """What has to be held never comes to more than one message."""
    fresh = "server_no_context_takeover; client_no_context_takeover"
    server = await Server.start("--deflate", fresh)
    clients = await crowd(server)
    await asyncio.gather(*(c.send(just_too_big()) for c in clients))
    await codes(clients, {1009})
    server.check_peak("a thousand, whole, no context", FIXED)
    await server.end()


# ---- streaming ----


def endless():
    yield frame(FIRST, ZEROS)
    for _ in range(round(GIB * 1024) - 1):
        yield frame(MORE, ZEROS)
    yield frame(LAST, b"\0")


async def stream_endless():
    """The echo is as long, and memory does not notice; nor may another client,
    how long it waits is told."""
    server = await Server.start("--deflate", "yes", "--stream", "yes")
    client = await Client.connect(server)
    await client.hello()
    other = await Client.connect(server)
    sending = asyncio.create_task(client.send(endless()))
    loop = asyncio.get_running_loop()
    slowest = 0

    async def receive():
        size, last = 0, False
        while not last:
            first, payload = await client.read()
            last = first & 0x80
            payload += TAIL if last else b""
            while payload:
                data = client.inflater.decompress(payload, MIB)
                payload = client.inflater.unconsumed_tail
                size += len(data)
                assert not any(data[::4099])
                await asyncio.sleep(0)
        return size

    receiving = asyncio.create_task(receive())
    while not receiving.done():
        start = loop.time()
        await other.hello()
        slowest = max(slowest, loop.time() - start)
        await asyncio.sleep(0.02)
    assert await receiving == round(GIB * 1024) * MIB
    await sending
    print(f"  another's echo: within {1000 * slowest:.0f} ms", flush=True)
    server.check_peak(f"streaming {GIB:g} GiB", FIXED)
    client.abort()
    other.abort()
    await server.end()


async def stream_limited():
    server = await Server.start(
        "--deflate", "yes", "--stream", "yes", "--max-message", str(2 * MIB)
    )
    client = await Client.connect(server)
    await client.hello()
    sending = asyncio.create_task(client.send(many_frames()))
    assert await client.closed() == 1009
    client.abort()
    await sending
    server.check_peak("streaming, limited", FIXED)
    await server.end()


async def stream_crowd():
    server = await Server.start("--deflate", "yes", "--stream", "yes")
    clients = await crowd(server)
    await asyncio.gather(*(c.send([frame(FIRST, ZEROS)]) for c in clients))
    await clients[0].read()
    for client in clients:  # in the end all are answered
        await client.read()
    server.check_peak("a thousand stream", CROWD * STREAMS + FIXED)
    for client in clients:
        client.abort()
    await server.end()


async def stream_unread():
    """A few that compress well with a window that the server may not use, and
    do not read: they are read no further than to their queue's mark, 1 MiB."""
    server = await Server.start("--deflate", "yes", "--stream", "yes")
    noise = random.Random(1).randbytes(30000)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [deflater.compress(noise * 33) + deflater.flush(zlib.Z_SYNC_FLUSH)
             for _ in range(2)]
    frames = [frame(FIRST, parts[0])] + [frame(MORE, parts[1])] * 1000
    count = 2 if LAUNCHER else 20
    clients = [
        await Client.connect(server, OFFER + "; server_max_window_bits=8")
        for _ in range(count)
    ]
    sending = [asyncio.create_task(c.send(frames)) for c in clients]
    other = await Client.connect(server)
    for _ in range(20):
        await asyncio.sleep(0.2)
        await other.hello()
    server.check_peak("streaming, unread", count * (1.5 + STREAMS) + FIXED)
    for task in sending:
        task.cancel()
    for client in [*clients, other]:
        client.abort()
    await server.end()


async def main():
    print("one by one", flush=True)
    await one_by_one("--deflate", "yes")
    for run in (all_at_once, all_whole, stream_endless, stream_limited,
                stream_crowd, stream_unread):
        print(run.__name__.replace("_", " "), flush=True)
        await run()


async def limited():
    try:
        await asyncio.wait_for(main(), 200 if GIB <= 1 else 1000)
    finally:
        for process in list(Server.running):
            process.kill()
            await process.wait()


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
asyncio.run(limited())
