"""Python's websockets, from 10 on, in both roles; over TLS, which is OpenSSL's
there, when UVWS_TLS is a directory that cmake/ca has made."""
import asyncio
import os
import re
import signal
import ssl
import sys

try:
    import websockets
except ImportError:
    print("skipped: no websockets")
    sys.exit(77)

MIB16 = 1 << 24
LONGEST = "\u20ac" * 41  # 123 bytes
LOST = [
    re.compile(r"error \S+ "),
    re.compile(r"close 1006 unclean (?!0)\S+ ''"),
]
PONG = re.compile(r"pong \[0083.*74\] answers")
OPTIONS = {"max_size": None, "ping_interval": None}

TLS = os.environ.get("UVWS_TLS")
VERSION = os.environ.get("UVWS_TLS_VERSION")  # the only one they speak
SCHEME = "wss" if TLS else "ws"


def tls(purpose):
    context = ssl.create_default_context(purpose, cafile=f"{TLS}/ca.crt")
    if VERSION:
        version = ssl.TLSVersion[f"TLSv{VERSION}".replace(".", "_")]
        context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    return context


CLIENT_TLS = SERVER_TLS = None
if TLS:
    CLIENT_TLS = tls(ssl.Purpose.SERVER_AUTH)
    SERVER_TLS = tls(ssl.Purpose.CLIENT_AUTH)
    SERVER_TLS.load_cert_chain(f"{TLS}/localhost.crt", f"{TLS}/localhost.key")
CLIENT = {**OPTIONS, "ssl": CLIENT_TLS}
SERVER = {**OPTIONS, "ssl": SERVER_TLS}


def binary(size):
    """Bytes of which no stretch looks like another."""
    unit = [bytes((i * 31 + k) & 255 for i in range(256)) for k in range(256)]
    rows = (unit[(i * 17 + (i >> 8) * 7) & 255] for i in range(size // 256 + 1))
    return b"".join(rows)[:size]


def text(size):
    """Text of that many bytes, with characters of all lengths."""
    return "\u20ac\U0001f600\u00e9\0" * (size // 10) + "x" * (size % 10)


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
        self.lines = []
        self.sockets = 0
        return self

    async def line(self, start):
        """The first line, printed already or yet to come, that begins so."""
        while not (found := [s for s in self.lines if s.startswith(start)]):
            line = await self.process.stdout.readline()
            assert line, f"{start}? {self.lines}"
            self.lines.append(line.decode().rstrip("\n"))
        return found[0]

    async def url(self):
        return re.search(r"wss?:.*\d", await self.line("listening")).group()

    async def saw(self, number, expected):
        """That socket, up to its end, saw what is `expected`."""
        await self.line(f"{number} close ")
        start = f"{number} "
        lines = [s[len(start) :] for s in self.lines if s.startswith(start)]
        assert len(lines) == len(expected), lines
        for line, e in zip(lines, expected):
            assert line == e if isinstance(e, str) else e.match(line), lines

    async def end(self, number=None):
        """It ends by itself, or at a signal, and without a complaint."""
        if number:
            self.process.send_signal(number)
        assert await self.process.wait() == 0
        self.running.discard(self.process)

    async def kill(self):
        self.process.kill()
        await self.process.wait()
        self.running.discard(self.process)


# What they do on an open socket, until it is closed.


async def close(ws, *args):
    if args:
        await ws.close(*args)
    elif hasattr(ws, "write_close_frame"):  # before 14
        await ws.write_close_frame(None, b"")
    else:
        async with ws.send_context():
            ws.protocol.send_close()
    await ws.wait_closed()


async def pong(ws, payload):
    await (await ws.ping(payload))  # matched by the payload


async def send_all(ws):
    sizes = 0, 1, 125, 126, 65535, 65536, MIB16
    messages = [make(size) for make in (text, binary) for size in sizes]

    async def send():
        for message in messages:
            await ws.send(message)

    async def receive():
        for i, message in enumerate(messages):
            assert await ws.recv() == message, f"message {i} came back changed"

    await asyncio.gather(send(), receive())
    await close(ws, 1000)


async def send_fragments(ws):
    async def fragments():
        yield "1\u20ac"
        # One write of ours has the first pong and our ping.
        await pong(ws, b"first")
        await pong(ws, b"")
        yield ""
        await pong(ws, binary(125))
        yield "\U0001f600"
        yield "2"

    await ws.send(fragments())
    assert await ws.recv() == "1\u20ac\U0001f6002"
    await close(ws)


async def send_many_fragments(ws):
    message = binary(100000)
    await ws.send(message[i : i + 100] for i in range(0, len(message), 100))
    assert await ws.recv() == message
    await close(ws)


async def send_one(ws):
    await ws.send("x")
    await ws.wait_closed()


async def abort(ws):
    ws.transport.abort()
    await ws.wait_closed()


def closes(*args):
    async def run(ws):
        await close(ws, *args)

    return run


def is_protocol(protocol):
    async def run(ws):
        assert ws.subprotocol == protocol
        await close(ws)

    return run


async def nothing(ws):
    await ws.wait_closed()


def they_close(heard, *args):
    reason = args[1] if len(args) > 1 else ""
    log = ["open ''", f"close {heard} clean 0 '{reason}'"]
    name = f"they close {heard} {reason}"
    return name, "/echo", closes(*args), (heard, ""), log


def we_close(code, reason, heard):
    escaped = "".join(f"%{byte:02x}" for byte in reason.encode())
    log = ["open ''", re.compile(f"close {heard} clean 0 ")]
    target = f"/close?code={code}&reason={escaped}"
    return f"we close {code}", target, nothing, (heard, reason), log


CLOSED = "close 1005 clean 0 ''"

# (name, our target or None for an echo, what they do, their close, our log)
CASES = [
    ("data", None, send_all, (1000, ""), None),
    (
        "fragments and pings",
        "/ping",
        send_fragments,
        (1005, ""),
        [
            "open ''",
            "ping [6669727374]",
            PONG,
            "ping []",
            f"ping [{binary(125).hex()}]",
            "text 9",
            CLOSED,
        ],
    ),
    (
        "a message in a thousand fragments",
        "/echo",
        send_many_fragments,
        (1005, ""),
        ["open ''", "binary 100000", CLOSED],
    ),
    they_close(1005),
    they_close(1000, 1000),
    they_close(1000, 1000, "bye"),
    they_close(1001, 1001),
    they_close(4999, 4999, LONGEST),
    we_close(0, "", 1005),
    we_close(1000, "bye", 1000),
    we_close(1001, "", 1001),
    we_close(4999, LONGEST, 4999),
    ("we terminate", "/abort", send_one, (1006, ""),
     ["open ''", "text 1", "close 1006 unclean ECANCELED ''"]),
    ("they abort", "/echo", abort, (1006, ""), ["open ''", *LOST]),
    ("no subprotocol", "/echo", is_protocol(None), (1005, ""),
     ["open ''", CLOSED]),
]
OFFER = ["a", "b.2", "c"]
CHOICE = ("a subprotocol", "/echo?protocol=b.2", is_protocol("b.2"), (1005, ""),
          ["open 'b.2'", CLOSED])


async def play(ws, case):
    _, _, theirs, closed, _ = case
    if TLS:
        connection = ws.transport.get_extra_info("ssl_object")
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert VERSION is None or connection.version() == f"TLSv{VERSION}"
    await theirs(ws)
    assert (ws.close_code, ws.close_reason) == closed


async def at_our_server(program, case, offer=None):
    name, target, _, _, log = case
    print(f"our server: {name}", flush=True)
    url = await program.url() + (target or "/")
    async with websockets.connect(url, subprotocols=offer, **CLIENT) as ws:
        await play(ws, case)
    if log:
        program.sockets += 1
        await program.saw(program.sockets, log)


async def at_our_client(case, offer=(), choice=None):
    name, target, _, _, log = case
    print(f"our client: {name}", flush=True)
    played = asyncio.get_running_loop().create_future()

    async def handler(ws):
        try:
            await play(ws, case)
            played.set_result(None)
        except BaseException as failure:
            played.set_exception(failure)

    async with websockets.serve(
        handler, "127.0.0.1", 0, subprotocols=choice, **SERVER
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"{SCHEME}://127.0.0.1:{port}/"
        if log:
            program = await Program.start("PEER", "client", url, target, *offer)
        else:
            program = await Program.start(
                "ECHO_CLIENT", "--max-message", str(MIB16), url
            )
        await played
        if log:
            await program.saw(1, log)
        await program.end()


async def lose_server(ws, end):
    await ws.send("x")
    assert await ws.recv() == "x"
    await end
    await ws.wait_closed()
    return ws.close_code


async def lose_client():
    print("our client: killed", flush=True)
    code = asyncio.get_running_loop().create_future()

    async def handler(ws):
        code.set_result(await lose_server(ws, program.kill()))

    async with websockets.serve(handler, "127.0.0.1", 0, **SERVER) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"{SCHEME}://127.0.0.1:{port}/"
        program = await Program.start("ECHO_CLIENT", url)
        assert await code == 1006


async def main():
    peer = await Program.start("PEER", "server")
    echo = await Program.start(
        "ECHO_SERVER", "--port", "0", "--max-message", str(MIB16)
    )
    for case in CASES:
        await at_our_server(peer if case[1] else echo, case)
        await at_our_client(case)
    await at_our_server(peer, CHOICE, offer=OFFER)
    await at_our_client(CHOICE, offer=OFFER, choice=["b.2"])
    # To their client it is all the same; not to ours (Fetch and WebSockets
    # Standards).
    *_, none = CASES
    await at_our_server(peer, none, offer=OFFER)
    refused = ("no subprotocol of those offered", "/echo", nothing, (1006, ""),
               [re.compile("error UVWS_EUPGRADE "),
                "close 1006 unclean UVWS_EUPGRADE ''"])
    await at_our_client(refused, offer=OFFER)

    for number, code in (None, 1006), (signal.SIGTERM, 1001):
        print(f"our server: {'ends' if number else 'killed'}", flush=True)
        program = await Program.start("PEER", "server")
        url = f"{await program.url()}/echo"
        async with websockets.connect(url, ssl=CLIENT_TLS) as ws:
            end = program.end(number) if number else program.kill()
            assert await lose_server(ws, end) == code
    await lose_client()

    await peer.end(signal.SIGTERM)
    await echo.end(signal.SIGTERM)


async def limited():
    try:
        await asyncio.wait_for(main(), 200)
    finally:
        for process in list(Program.running):
            process.kill()
            await process.wait()


for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]  # 15 would take our addresses to it
asyncio.run(limited())
