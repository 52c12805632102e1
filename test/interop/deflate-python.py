"""permessage-deflate with Python's websockets, from 10 on, in both roles: all
that can be agreed on, asked for by either side. What we send must keep to the
window that was agreed on: zlib notices only what was beyond it when a call
began, so each call here is for few bytes."""
import asyncio
import os
import random
import re
import signal
import ssl
import sys
import zlib

try:
    import websockets
    from websockets.extensions import permessage_deflate as deflate
except ImportError:
    print("skipped: no websockets")
    sys.exit(77)

TLS = os.environ.get("UVWS_TLS")
VERSION = os.environ.get("UVWS_TLS_VERSION")  # the only one they speak
SCHEME = "wss" if TLS else "ws"
# Over TLS, and below valgrind, some must do.
COUNT = 5 if TLS or os.environ.get("LAUNCHER") else 30
COUNT = int(os.environ.get("MESSAGES", COUNT))
DEPTH = 8  # messages on their way
STEP = 64
IDLE = 11  # seconds; idle_timeout is 10 s


def tls(purpose):
    context = ssl.create_default_context(purpose, cafile=f"{TLS}/ca.crt")
    if VERSION:
        version = ssl.TLSVersion[f"TLSv{VERSION}".replace(".", "_")]
        context.minimum_version = context.maximum_version = version
    return context


CLIENT = {"max_size": None, "ping_interval": None, "compression": None}
SERVER = dict(CLIENT)
if TLS:
    CLIENT["ssl"] = tls(ssl.Purpose.SERVER_AUTH)
    SERVER["ssl"] = tls(ssl.Purpose.CLIENT_AUTH)
    SERVER["ssl"].load_cert_chain(
        f"{TLS}/localhost.crt", f"{TLS}/localhost.key"
    )


class Watched(deflate.PerMessageDeflate):
    """What goes through the extension, counted; what comes, inflated once more
    in a window that is no wider than agreed on."""

    def watch(self):
        self.sent = self.received = self.compressed = 0
        self.strict = None
        return self

    def encode(self, frame):
        frame = super().encode(frame)
        if frame.opcode < 8:
            self.sent += len(frame.data)
        return frame

    def decode(self, frame, **limits):
        if frame.opcode < 8:
            self.received += len(frame.data)
        if frame.rsv1:
            self.compressed += 1
            self.inside = True
        elif frame.opcode in (1, 2):
            self.inside = False
        if frame.opcode < 8 and self.inside:
            self.check(frame)
        return super().decode(frame, **limits)

    def check(self, frame):
        if frame.rsv1 and (self.remote_no_context_takeover or not self.strict):
            self.strict = zlib.decompressobj(wbits=-self.remote_max_window_bits)
        data = bytes(frame.data) + (b"\0\0\xff\xff" if frame.fin else b"")
        while data:
            self.strict.decompress(data, STEP)
            data = self.strict.unconsumed_tail


def watched(extension):
    extension.__class__ = Watched
    return extension.watch()


class Client(deflate.ClientPerMessageDeflateFactory):
    def process_response_params(self, *args):
        return watched(super().process_response_params(*args))


class Server(deflate.ServerPerMessageDeflateFactory):
    def process_request_params(self, *args):
        params, extension = super().process_request_params(*args)
        return params, watched(extension)


class Program:
    """One of our programs, as CMake names them in the environment."""

    running = set()

    @classmethod
    async def start(cls, name, *args):
        self = cls()
        if TLS and name == "ECHO_SERVER":
            args += ("--cert", f"{TLS}/localhost.crt")
            args += ("--key", f"{TLS}/localhost.key")
        if TLS and name == "ECHO_CLIENT":
            args = ("--ca", f"{TLS}/ca.crt", *args)
        command = [*os.environ.get("LAUNCHER", "").split(), os.environ[name]]
        self.process = await asyncio.create_subprocess_exec(
            *command, *args, stdout=asyncio.subprocess.PIPE
        )
        cls.running.add(self.process)
        return self

    async def url(self):
        line = (await self.process.stdout.readline()).decode()
        return re.search(r"wss?:.*\d", line).group()

    async def end(self, number=None):
        """It ends by itself, or at a signal, and without a complaint."""
        if number:
            self.process.send_signal(number)
        assert await self.process.wait() == 0
        self.running.discard(self.process)


# Messages as those of deflate-cases.js: pieced together from a library, so that
# there is something to refer back to at every distance.

numbers = random.Random(0)
BYTES = bytes(numbers.choices(range(0, 250, 5), k=1 << 16))
TEXT = "".join(numbers.choices('etaoin shrdlu,.{}":0\u00e9\0\u20ac', k=1 << 16))


def pieces(library, numbers, size):
    while size > 0:
        at = numbers.randrange(65000)
        length = min(size, numbers.randint(4, 300))
        yield library[at : at + length]
        size -= length


def messages(seed, count):
    numbers = random.Random(seed)
    for _ in range(count):
        size = round(16 * 2 ** numbers.uniform(0, 13))
        kind = numbers.randrange(7)
        if kind < 3:
            yield "\U0001f600" + "".join(pieces(TEXT, numbers, size - 4))
        elif kind < 6:
            yield b"".join(pieces(BYTES, numbers, size))
        else:
            yield numbers.randbytes(size)


def fragments(message, numbers):
    """Whole, or as an iterable, each item of which they compress by itself."""
    if numbers.randrange(3) == 0:
        return message
    cuts = sorted(numbers.randint(0, len(message)) for _ in range(3))
    parts = zip([0, *cuts], [*cuts, len(message)])
    return [message[start:end] for start, end in parts]


SENT = list(messages(1, COUNT))
SIZE = sum(len(m.encode() if isinstance(m, str) else m) for m in SENT)


async def echo(ws):
    """Has all messages echoed, some at a time."""
    room = asyncio.Semaphore(DEPTH)

    async def send():
        numbers = random.Random(2)
        for message in SENT:
            await room.acquire()
            await ws.send(fragments(message, numbers))

    async def receive():
        for i, message in enumerate(SENT):
            assert await ws.recv() == message, f"message {i} came back changed"
            room.release()

    await asyncio.gather(send(), receive())


def extension_of(ws):
    (extension,) = getattr(ws, "protocol", ws).extensions
    return extension


async def exchange(ws):
    """The share of the messages' size that ours takes for them, percent."""
    await echo(ws)
    extension = extension_of(ws)
    assert extension.compressed > COUNT / 2, extension.compressed
    assert extension.received < SIZE, (extension.received, SIZE)
    assert extension.sent < SIZE, (extension.sent, SIZE)
    await ws.close()
    assert ws.close_code == 1000
    return 100 * extension.received / SIZE


# The four parameters, and what they come to on either side.

NAMES = (
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
)


def header(parameters):
    return [
        name if value is True else f"{name}={value}"
        for name, value in parameters.items()
    ]


def check_agreed(ws, parameters, is_client):
    """What they have made of it; a client has read it in our response."""
    extension = extension_of(ws)
    ours, theirs = ("server", "client") if is_client else ("client", "server")
    agreed = {
        f"{ours}_no_context_takeover": extension.remote_no_context_takeover,
        f"{theirs}_no_context_takeover": extension.local_no_context_takeover,
        f"{ours}_max_window_bits": extension.remote_max_window_bits,
        f"{theirs}_max_window_bits": extension.local_max_window_bits,
    }
    expected = dict.fromkeys(NAMES[:2], False) | dict.fromkeys(NAMES[2:], 15)
    assert agreed == expected | parameters, agreed


async def at_our_server(wanted, granted, agreed):
    asked = "; ".join([*header(granted), "threshold=0"])
    program = await Program.start("ECHO_SERVER", "--port", "0",
                                  "--deflate", asked)
    offer = Client(**{"client_max_window_bits": True} | wanted)
    async with websockets.connect(
        await program.url(), extensions=[offer], **CLIENT
    ) as ws:
        check_agreed(ws, agreed, True)
        share = await exchange(ws)
    await program.end(signal.SIGTERM)
    return share


async def at_our_client(wanted, granted, agreed):
    played = asyncio.get_running_loop().create_future()

    async def handler(ws):
        try:
            check_agreed(ws, agreed, False)
            played.set_result(await exchange(ws))
        except BaseException as failure:
            played.set_exception(failure)

    async with websockets.serve(
        handler, "127.0.0.1", 0, extensions=[Server(**granted)], **SERVER
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        asked = "; ".join([*header(wanted), "threshold=0"])
        program = await Program.start("ECHO_CLIENT", "--deflate", asked,
                                      f"{SCHEME}://127.0.0.1:{port}/")
        share = await played
        await program.end()
    return share


ROLES = {"server": at_our_server, "client": at_our_client}


def least_bits():
    try:
        zlib.compressobj(wbits=-8)
        return 8
    except ValueError:
        return 9


LEAST = least_bits()


def shapes():
    values = (True, True, 10, 11)
    for i in range(16):
        yield {n: v for bit, (n, v) in enumerate(zip(NAMES, values))
               if i >> bit & 1}


def windows():
    for side in "server", "client":
        for bits in range(8, 16):
            yield {f"{side}_max_window_bits": bits}


def title(parameters):
    return ", ".join(header(parameters)) or "nothing"


async def main():
    shares = {}
    for parameters in [*shapes(), *windows()]:
        for role, run in ROLES.items():
            # Their zlib refuses to compress with so little.
            theirs = "client" if role == "server" else "server"
            if parameters.get(f"{theirs}_max_window_bits", 15) < LEAST:
                continue
            for who in "they", "we":
                print(f"our {role}: {who} ask for {title(parameters)}",
                      flush=True)
                wanted, granted = parameters, {}
                if (role == "server") != (who == "they"):
                    wanted, granted = granted, wanted
                share = await run(wanted, granted, parameters)
                shares[role, who, title(parameters)] = share
    if COUNT >= 30:
        check_shares(shares)


async def after_idle():
    """Ours has forgotten what it sent, then; not what it received."""
    program = await Program.start("ECHO_SERVER", "--port", "0",
                                  "--deflate", "threshold=0")
    async with websockets.connect(
        await program.url(), extensions=[Client()], **CLIENT
    ) as ws:
        sizes = []
        for pause in 0, 0, IDLE, 0:
            await asyncio.sleep(pause)
            before = extension_of(ws).received
            await ws.send(TEXT[:2000])
            assert await ws.recv() == TEXT[:2000]
            sizes.append(extension_of(ws).received - before)
        first, again, idle, after = sizes
        assert first == idle > 1000 and again == after < 50, sizes
    await program.end(signal.SIGTERM)


def check_shares(shares):
    """What ours sent is the smaller, the more it could refer to."""
    for role in ROLES:
        for who in "they", "we":
            all_of_it = shares[role, who, "nothing"]
            none = shares[role, who, f"{role}_no_context_takeover"]
            assert all_of_it < none - 0.5, (all_of_it, none)
            # Zlib's 8 is its 9.
            shrinking = [shares[role, who, f"{role}_max_window_bits={bits}"]
                         for bits in range(9, 16)]
            for more, less in zip(shrinking, shrinking[1:]):
                assert less < more - 0.1, shrinking


async def limited():
    try:
        await asyncio.wait_for(asyncio.gather(after_idle(), main()), 200)
    finally:
        for process in list(Program.running):
            process.kill()
            await process.wait()


for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]  # 15 would take our addresses to it
asyncio.run(limited())
