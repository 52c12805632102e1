"""Our client through proxies: squid, tinyproxy, microsocks and dante, as Debian
has them, and a proxy of our own that stalls, vanishes and talks nonsense.

At the other end is a small WebSocket server, over TLS when UVWS_TLS is set, in
which the target of a request says what is played. UVWS_CA is a directory that
cmake/ca has made. Arguments name the groups that are run, all without any:

    proxies.py [squid] [tinyproxy] [microsocks] [dante] [ours] [environment]
               [chat]

Only dante may be missing without a skip: Debian 13 does not have it."""
import asyncio
import base64
import contextlib
import functools
import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import urllib.parse

CA = os.environ["UVWS_CA"]
TLS = "UVWS_TLS" in os.environ
SCHEME = "wss" if TLS else "ws"
LAUNCHER = os.environ.get("LAUNCHER", "").split()
LIMIT = 560 if LAUNCHER else 200  # each case is a process

MIB = 1 << 20
TEXT, BINARY, CLOSE = 1, 2, 8
NORMAL = b"\x03\xe8"
GONE = OSError, EOFError
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
BOUND = b"\5\0\0\1\x7f\0\0\1\0\x50"  # the answer of a SOCKS5 proxy: connected

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"  # where no DNS answers


# ---- The server at the other end ----


async def get_frame(reader):
    """Type and payload of a frame of a client's that is a whole message."""
    first, length = await reader.readexactly(2)
    assert first & 0x80 and length & 0x80, "an unmasked frame, or a fragment"
    length &= 0x7F
    if length > 125:
        extended = await reader.readexactly(2 if length == 126 else 8)
        length = int.from_bytes(extended, "big")
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(length)
    mask = (mask * (length // 4 + 1))[:length]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return first & 0xF, number.to_bytes(length, "big")


def frame(kind, payload):
    length = len(payload)
    if length < 126:
        head = struct.pack(">BB", 0x80 | kind, length)
    elif length < 65536:
        head = struct.pack(">BBH", 0x80 | kind, 126, length)
    else:
        head = struct.pack(">BBQ", 0x80 | kind, 127, length)
    return head + payload


class Origin:
    """What it saw is kept by target: the heads of requests, and how their
    connections went."""

    def __init__(self, secure):
        self.context = None
        if secure:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(f"{CA}/localhost.crt",
                                         f"{CA}/localhost.key")
        self.heads = {}
        self.ends = {}  # futures
        self.held = {}  # events

    async def start(self):
        self.port = 0
        self.addresses = []
        for address in "127.0.0.1", "::1":  # some proxies try only the first
            with contextlib.suppress(OSError):
                server = await asyncio.start_server(
                    self.serve, address, self.port, ssl=self.context
                )
                self.port = server.sockets[0].getsockname()[1]
                self.addresses.append(address)

    def target(self, play):
        target = f"/{play}?{len(self.ends)}"
        self.ends[target] = asyncio.get_running_loop().create_future()
        return target

    async def serve(self, reader, writer):
        with contextlib.suppress(*GONE):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target = head.split()[1]
                self.heads[target] = head
                await self.upgrade(writer, head)
                await self.play(target, reader, writer)
                self.ends[target].set_result(None)
            except AssertionError as failure:
                self.ends[target].set_exception(failure)
            finally:
                writer.close()

    async def play(self, target, reader, writer):
        if target in self.held:
            return await self.hold(reader, writer, self.held[target])
        await getattr(self, re.match(r"/(\w+)", target)[1])(reader, writer)

    @staticmethod
    async def upgrade(writer, head):
        key = re.search(r"\r\nSec-WebSocket-Key: (\S+)", head)[1].encode()
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + guid).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept
            + b"\r\n\r\n"
        )

    @staticmethod
    async def close(reader, writer):
        writer.write(frame(CLOSE, NORMAL))
        assert await get_frame(reader) == (CLOSE, NORMAL)

    @classmethod
    async def echo(cls, reader, writer):
        unit = bytes(range(251))
        messages = [(BINARY, (unit * (MIB // 251 + 1))[:MIB])]
        messages += [(TEXT, b"%d " % i * (i % 50)) for i in range(1000)]

        async def send():
            for message in messages:
                writer.write(frame(*message))
                await writer.drain()

        sending = asyncio.ensure_future(send())
        for message in messages:
            assert await get_frame(reader) == message, "it came back changed"
        await sending
        await cls.close(reader, writer)

    async def hold(self, reader, writer, event):
        """Until the connection is lost; a message has gone to and fro."""
        writer.write(frame(TEXT, b"x"))
        assert await get_frame(reader) == (TEXT, b"x")
        event.set()
        with contextlib.suppress(*GONE):
            await reader.read()


# ---- Our programs ----

ORIGIN = Origin(TLS)
RUNNING = set()
RESERVED = []
FAILED = []


async def spawn(name, *args, env=(), **options):
    process = await asyncio.create_subprocess_exec(
        *LAUNCHER, os.environ[name], *args, env={**os.environ, **dict(env)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip
    RUNNING.add(process)
    return process


async def finish(process, text=None):
    """Its exit status and what it printed."""
    out, err = await asyncio.wait_for(process.communicate(text), 60)
    RUNNING.discard(process)
    return process.returncode, out.decode(), err.decode()


class Case:
    """One connection of the echo client's, which ends cleanly, or with one of
    the statuses in `error` and with `words` about it. The server has seen it
    when it `reaches` that far."""

    count = None  # of them that may run at a time

    def __init__(self, name, *args, error=None, words="", play="close",
                 host="127.0.0.1", port=None, env=(), ca=None, held=None,
                 during=None, after=None, reaches=None):
        self.name, self.args, self.env = name, list(args), env
        if TLS:
            self.args += ["--ca", ca or f"{CA}/ca.crt"]
        self.error, self.words = error, words
        self.during, self.after = during, after
        self.reaches = error is None if reaches is None else reaches
        self.target = ORIGIN.target(play)
        if held:
            ORIGIN.held[self.target] = held
        self.authority = f"{host}:{port or ORIGIN.port}"
        self.url = f"{SCHEME}://{self.authority}{self.target}"

    async def run(self):
        process = await spawn("ECHO_CLIENT", *self.args, self.url, env=self.env)
        if self.during:
            await self.during()
        status, out, err = await finish(process)
        said = err.replace(self.url, "URL").strip()
        try:
            assert out == ""
            if self.error is None:
                assert (status, err) == (0, "")
            elif self.error == "refused":  # by uvws_connect() itself
                assert status == 1
                assert err == f"echo-client: {self.url}: {self.words}\n"
            else:
                assert status == 1
                words = re.fullmatch(r"echo-client: URL: (.*) \((\w+)\)", said)
                assert words and words[2] in self.error.split("|"), self.error
                assert re.search(self.words, words[1]), self.words
            await self.check_server()
            if self.after:
                self.after()
        except AssertionError as failure:
            raise AssertionError(f"{failure} (status {status}: {said})")
        return said

    async def check_server(self):
        head = ORIGIN.heads.get(self.target)
        assert (head is not None) == self.reaches, f"the server saw {head}"
        if head is None:
            return
        assert f"\r\nHost: {self.authority}\r\n" in head
        assert "proxy" not in head.lower().replace("proxy.test", ""), head
        await asyncio.wait_for(ORIGIN.ends[self.target], 10)


async def play(group, *cases):
    """All of them, at once as far as that is good for the machine."""

    async def one(case):
        async with Case.count:
            try:
                said = await case.run()
                print(f"{group}: {case.name}", f"[{said}]" if said else "",
                      flush=True)
            except (AssertionError, asyncio.TimeoutError) as failure:
                print(f"{group}: {case.name}: FAILED: {failure!r}", flush=True)
                FAILED.append(f"{group}: {case.name}")

    await asyncio.gather(*[one(case) for case in cases])


# ---- Daemons ----


class Daemon:
    """A proxy that must be told its ports: `make`, called with its directory
    and as many free ones as it takes, returns the command."""

    def __init__(self, make):
        self.make = make

    async def __aenter__(self):
        self.directory = tempfile.mkdtemp(dir=WORK)
        n = self.make.__code__.co_argcount - 1
        self.ports = [closed_port() for _ in range(n)]
        self.log = open(f"{self.directory}/output", "wb")
        command = self.make(self.directory, *self.ports)
        # What it starts is ended with it.
        self.process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, cwd=self.directory, start_new_session=True,
        )  # fmt: skip
        if not await self.is_up():
            await self.end()
            raise AssertionError(f"{command} does not start: {self.output()}")
        return self

    async def is_up(self):
        for _ in range(300):
            await asyncio.sleep(0.1)
            if self.process.returncode is not None:
                return False
            try:
                for port in self.ports:
                    socket.create_connection(("127.0.0.1", port), 10).close()
                return self.process.returncode is None
            except OSError:
                pass
        return False

    def kill(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def end(self):
        for number in signal.SIGTERM, signal.SIGKILL:
            self.kill(number)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.process.wait(), 10)
        self.log.close()

    def output(self):
        with open(f"{self.directory}/output", errors="replace") as file:
            return file.read()[-2000:]

    async def __aexit__(self, *_):
        await self.end()


def closed_port():
    """One that nobody has, or gets who does not ask for it by its number."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    RESERVED.append(reserved)
    return reserved.getsockname()[1]


def file(directory, name, text):
    path = f"{directory}/{name}"
    with open(path, "w") as f:
        f.write(text)
    return path


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")


async def dies(group, proxy, daemon):
    """The daemon ends while a connection is open through it; by SIGTERM, for
    squid and dante would leave shared memory and processes behind."""
    held = asyncio.Event()

    async def kill():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(held.wait(), 30)
        daemon.kill(signal.SIGTERM)

    await play(group, Case("killed after open", "--proxy", *proxy, held=held,
                           error=LOST, reaches=True, during=kill))


LOST = "ECONNRESET|EOF|EPIPE|UVWS_ETLS|UVWS_EPROTOCOL"
NAME = f"uvws{os.getpid()}"  # of what squid shares in memory
# A name and a password that are none in a URL without escapes.
USER, PASSWORD = "a n@n", "p:a/s%s"
KNOWN = "a%20n%40n:p%3Aa%2Fs%25s"


async def squid():
    if not squid_can_run():
        print("squid: left out, it cannot write to /dev/shm", flush=True)
        return

    def make(directory, plain, auth, deny, tls, tls_auth):
        helper = file(directory, "helper", HELPER)
        hosts = file(directory, "hosts",
                     "127.0.0.1 localhost\n127.0.0.1 proxy.test\n")
        for name in "localhost.crt", "localhost.key":
            shutil.copy(f"{CA}/{name}", directory)
            os.chmod(f"{directory}/{name}", 0o644)
        cert = (f"tls-cert={directory}/localhost.crt"
                f" tls-key={directory}/localhost.key")
        config = file(directory, "squid.conf", f"""
            http_port 127.0.0.1:{plain} name=plain
            http_port 127.0.0.1:{auth} name=auth
            http_port 127.0.0.1:{deny} name=deny
            https_port 127.0.0.1:{tls} name=tls {cert}
            https_port 127.0.0.1:{tls_auth} name=tls_auth {cert}
            auth_param basic program /bin/sh {helper}
            auth_param basic children 1
            auth_param basic realm test
            acl open myportname plain tls
            acl auth myportname auth tls_auth
            acl known proxy_auth REQUIRED
            http_access allow open
            http_access allow auth known
            http_access deny all
            hosts_file {hosts}
            dns_timeout 5 seconds
            visible_hostname squid.test
            cache deny all
            cache_log {directory}/log
            access_log none
            cache_store_log none
            netdb_filename none
            pid_filename none
            coredump_dir {directory}
            pinger_enable off
            memory_cache_shared off
            sslproxy_session_cache_size 0
            max_filedescriptors 1024
            shutdown_lifetime 0 seconds
            """)
        os.chmod(directory, 0o755)
        if os.geteuid() == 0:  # it becomes somebody else
            os.chown(directory, pwd.getpwnam("proxy").pw_uid, -1)
        return find("squid"), "-N", "-d", "1", "-n", NAME, "-f", config

    async with Daemon(make) as daemon:
        plain, auth, deny, tls, tls_auth = daemon.ports
        open_ = "--proxy", f"http://127.0.0.1:{plain}"
        secure = "--proxy", f"https://127.0.0.1:{tls}"
        ca = "--proxy-ca", f"{CA}/ca.crt"
        other = "--proxy-ca", OTHER_CA
        await play(
            "squid",
            Case("no authentication", *open_),
            Case("by name", *open_, host="localhost"),
            Case("1 MB and 1,000 messages", *open_, play="echo"),
            Case("a name that it alone knows", *open_, host="proxy.test",
                 error="UVWS_ECERT" if TLS else None),
            Case("a name that nobody knows", *open_, host="nobody.invalid",
                 error="UVWS_EPROXY", words="50[03]"),
            Case("a port that nobody has", *open_, port=closed_port(),
                 error="UVWS_EPROXY", words="503"),
            Case("the password", "--proxy",
                 f"http://{KNOWN}@127.0.0.1:{auth}"),
            Case("a wrong password", "--proxy",
                 f"http://{KNOWN}x@127.0.0.1:{auth}",
                 error="UVWS_EPROXY", words="407"),
            Case("no password", "--proxy", f"http://127.0.0.1:{auth}",
                 error="UVWS_EPROXY", words="407"),
            Case("a password that it does not want", "--proxy",
                 f"http://{KNOWN}@127.0.0.1:{plain}"),
            Case("refused", "--proxy", f"http://127.0.0.1:{deny}",
                 error="UVWS_EPROXY", words="403"),
            Case("over TLS", *secure, *ca),
            Case("over TLS, by name", *secure, *ca, host="localhost"),
            Case("over TLS, 1 MB and 1,000 messages", *secure, *ca,
                 play="echo"),
            Case("over TLS, the password", "--proxy",
                 f"https://{KNOWN}@127.0.0.1:{tls_auth}", *ca),
            Case("over TLS, a wrong password", "--proxy",
                 f"https://x:y@127.0.0.1:{tls_auth}", *ca,
                 error="UVWS_EPROXY", words="407"),
            Case("over TLS, a port that nobody has", *secure, *ca,
                 port=closed_port(), error="UVWS_EPROXY", words="503"),
            Case("over TLS, of another authority", *secure, *other,
                 error="UVWS_ECERT", words="proxy"),
            Case("TLS to one without", "--proxy", f"https://127.0.0.1:{plain}",
                 *ca, error="UVWS_ETLS|UVWS_EPROXY"),
            Case("no TLS to one with", "--proxy", f"http://127.0.0.1:{tls}",
                 error=VANISHED),
            *[Case("over TLS, by its own name", "--proxy",
                   f"https://localhost:{tls}", *ca)] * RESOLVES,
            *[Case("a server of another authority", *open_, ca=OTHER_CA,
                   error="UVWS_ECERT"),
              Case("over TLS, a server of another authority", *secure, *ca,
                   ca=OTHER_CA, error="UVWS_ECERT")] * TLS,
        )  # fmt: skip
        await dies("squid", [f"https://127.0.0.1:{tls}", *ca], daemon)
    for path in glob.glob(f"/dev/shm/{NAME}-*"):  # when it was killed
        os.unlink(path)


def squid_can_run():
    """It may be root's alone in a bare chroot."""
    if os.geteuid() != 0:
        return os.access("/dev/shm", os.W_OK)
    return os.path.isdir("/dev/shm") and os.stat("/dev/shm").st_mode & 0o2


# What squid asks about names and passwords. Which characters it escapes is its
# own affair.
PLAIN = urllib.parse.quote(USER, "@"), urllib.parse.quote(PASSWORD, ":/")
HELPER = f"""
while read -r line; do
  case $line in
    '{' '.join(PLAIN)}' | '{KNOWN.replace(":", " ")}') echo OK ;;
    *) echo ERR ;;
  esac
done
"""


async def tinyproxy():
    def makes(config):
        def make(directory, port):
            path = file(directory, "config", f"""
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
MaxClients 50
{config}
""")
            return find("tinyproxy"), "-d", "-c", path

        return make

    async with Daemon(makes("")) as daemon:
        url = f"http://127.0.0.1:{daemon.ports[0]}"
        await play(
            "tinyproxy",
            Case("no authentication", "--proxy", url),
            *[Case("by name", "--proxy", url, host="localhost")] * RESOLVES,
            Case("1 MB and 1,000 messages", "--proxy", url, play="echo"),
            Case("a port that nobody has", "--proxy", url, port=closed_port(),
                 error="UVWS_EPROXY", words="50[03]"),
        )
        await dies("tinyproxy", [url], daemon)

    async with Daemon(makes("BasicAuth ann secret")) as daemon:
        port = daemon.ports[0]
        await play(
            "tinyproxy",
            Case("the password", "--proxy",
                 f"http://ann:secret@127.0.0.1:{port}"),
            Case("a wrong password", "--proxy",
                 f"http://ann:secrets@127.0.0.1:{port}",
                 error="UVWS_EPROXY", words="40[17]"),
            Case("no password", "--proxy", f"http://127.0.0.1:{port}",
                 error="UVWS_EPROXY", words="407"),
        )

    async with Daemon(makes("ConnectPort 443")) as daemon:
        await play("tinyproxy",
                   Case("a port that is not allowed", "--proxy",
                        f"http://127.0.0.1:{daemon.ports[0]}",
                        error="UVWS_EPROXY", words="403"))


async def microsocks():
    def make(_, port):
        return find("microsocks"), "-i", "127.0.0.1", "-p", str(port)

    def make_strict(directory, port):
        return *make(directory, port), "-u", USER, "-P", PASSWORD

    async with Daemon(make) as daemon:
        url = f"socks5://127.0.0.1:{daemon.ports[0]}"
        await play(
            "microsocks",
            Case("no authentication", "--proxy", url),
            Case("socks5h:", "--proxy", url.replace("socks5", "socks5h")),
            *[Case("by name", "--proxy", url, host="localhost")] * RESOLVES,
            Case("1 MB and 1,000 messages", "--proxy", url, play="echo"),
            Case("a port that nobody has", "--proxy", url, port=closed_port(),
                 error="UVWS_EPROXY", words="refused"),
            Case("a name that nobody knows", "--proxy", url,
                 host="nobody.invalid", error="UVWS_EPROXY"),
            Case("a password that it does not want", "--proxy",
                 f"socks5://{KNOWN}@127.0.0.1:{daemon.ports[0]}"),
        )
        await dies("microsocks", [url], daemon)

    async with Daemon(make_strict) as daemon:
        port = daemon.ports[0]
        await play(
            "microsocks",
            Case("the password", "--proxy",
                 f"socks5://{KNOWN}@127.0.0.1:{port}"),
            Case("the password, 1 MB and 1,000 messages", "--proxy",
                 f"socks5://{KNOWN}@127.0.0.1:{port}", play="echo"),
            Case("a wrong password", "--proxy",
                 f"socks5://{KNOWN}x@127.0.0.1:{port}",
                 error="UVWS_EPROXY"),
            Case("no password", "--proxy", f"socks5://127.0.0.1:{port}",
                 error="UVWS_EPROXY"),
        )


async def dante():
    blocked = closed_port()

    def make(directory, port, deny):
        user = pwd.getpwuid(os.geteuid()).pw_name
        path = file(directory, "config", f"""
logoutput: stderr
internal: 127.0.0.1 port = {port}
internal: 127.0.0.1 port = {deny}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.unprivileged: {user}
client block {{ from: 0.0.0.0/0 to: 127.0.0.1/32 port = {deny} }}
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = {blocked} }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
""")
        return find("danted"), "-f", path, "-p", f"{directory}/pid"

    async with Daemon(make) as daemon:
        port, deny = daemon.ports
        url = f"socks5://127.0.0.1:{port}"
        await play(
            "dante",
            Case("no authentication", "--proxy", url),
            *[Case("by name", "--proxy", url, host="localhost")] * RESOLVES,
            Case("1 MB and 1,000 messages", "--proxy", url, play="echo"),
            Case("a port that nobody has", "--proxy", url, port=closed_port(),
                 error="UVWS_EPROXY", words="refused"),
            Case("a port that is not allowed", "--proxy", url, port=blocked,
                 error="UVWS_EPROXY", words="not allowed"),
            Case("a client that is not allowed", "--proxy",
                 f"socks5://127.0.0.1:{deny}", error=VANISHED),
        )
        await dies("dante", [url], daemon)


# ---- A proxy of ours ----

VANISHED = "UVWS_EPROXY|ECONNRESET|EOF|EPIPE"


class Fake:
    """Plays a script for each connection: a coroutine of a reader and a writer,
    in which it may read, write, and end as it likes."""

    def __init__(self, script, tls=False, host="127.0.0.1"):
        self.script, self.host = script, host
        self.context = Origin(True).context if tls else None
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(
            self.serve, self.host, 0, ssl=self.context
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(*GONE):
            try:
                await self.script(reader, writer)
            finally:
                writer.close()


async def get_head(reader):
    return await reader.readuntil(b"\r\n\r\n")


async def stall(reader, writer):
    await reader.read()


async def end(reader, writer):
    """A FIN, and no RST for what was not read."""
    if writer.can_write_eof():
        writer.write_eof()
        await reader.read()
    else:
        writer.close()


async def reset(reader, writer):
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()


async def relay(reader, writer, port=None, held=None, dies=None):
    """Between the client and the server, whatever name it was asked for. It may
    die once the server's message has come back."""
    there, here = await asyncio.open_connection("127.0.0.1",
                                                port or ORIGIN.port)

    async def copy(reader, writer):
        with contextlib.suppress(*GONE):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        if writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()
        else:
            writer.close()

    tasks = [asyncio.ensure_future(copy(reader, here)),
             asyncio.ensure_future(copy(there, writer))]
    if dies:
        await asyncio.wait_for(held.wait(), 30)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await dies(reader, writer)
    await asyncio.wait(tasks)
    here.close()


async def byte_by_byte(writer, data):
    writer.get_extra_info("socket").setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.002)


def answers(data, then=end):
    """To a CONNECT."""

    async def script(reader, writer):
        await get_head(reader)
        writer.write(data)
        await then(reader, writer)

    return script


def slowly(data):
    async def script(reader, writer):
        await get_head(reader)
        await byte_by_byte(writer, data)
        await relay(reader, writer)

    return script


async def connects(reader, writer):
    await answers(OK, relay)(reader, writer)


# SOCKS5, whose steps are: what the client has to say, what is answered.


def known(user, password):
    user, password = user.encode(), password.encode()
    return (b"\1" + bytes([len(user)]) + user + bytes([len(password)])
            + password)


def wants(host, port):
    try:
        packed = b"\1" + socket.inet_pton(socket.AF_INET, host)
    except OSError:
        if host[0] == "[":
            packed = b"\4" + socket.inet_pton(socket.AF_INET6, host[1:-1])
        else:
            packed = b"\3" + bytes([len(host)]) + host.encode()
    return b"\5\1\0" + packed + struct.pack(">H", port)


class Socks:
    """A script: `answers` to greeting, password (when `user` is there) and
    request, then what comes then. What it heard is in `heard`."""

    def __init__(self, *answers, then=None, user=False, slow=False):
        self.answers, self.user, self.slow = answers, user, slow
        self.then = then or relay
        self.heard = []

    async def greeting(self, reader):
        head = await reader.readexactly(2)
        return head + await reader.readexactly(head[1])

    async def password(self, reader):
        data = await reader.readexactly(2)
        data += await reader.readexactly(data[1])
        size = await reader.readexactly(1)
        return data + size + await reader.readexactly(size[0])

    async def request(self, reader):
        data = await reader.readexactly(4)
        size = {1: 4, 4: 16}.get(data[3])
        if size is None:
            data += await reader.readexactly(1)
            size = data[4]
        return data + await reader.readexactly(size + 2)

    async def __call__(self, reader, writer):
        steps = [self.greeting, self.password, self.request]
        if not self.user:
            del steps[1]
        for step, answer in zip(steps, self.answers):
            self.heard.append(await step(reader))
            if self.slow:
                await byte_by_byte(writer, answer)
            else:
                writer.write(answer)
        await self.then(reader, writer)


NONE, BY_PASSWORD, WELCOME = b"\5\0", b"\5\2", b"\1\0"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
ALERT = b"\x15\3\3\0\2\2\x28"  # TLS: handshake_failure


async def ours():
    await asyncio.gather(ours_stalls(), ours_http(), ours_socks(),
                         ours_requests(), ours_dies())


async def with_fakes(group, *fakes):
    """Each is a name, a proxy's scheme, a Fake and what the Case is told."""
    async with contextlib.AsyncExitStack() as stack:
        cases = []
        for name, scheme, fake, told in fakes:
            await stack.enter_async_context(fake)
            told = dict(told)
            args = list(told.pop("args", ()))
            if scheme == "https":
                args += ["--proxy-ca", f"{CA}/ca.crt"]
            userinfo = told.pop("user", "")
            url = f"{scheme}://{userinfo}127.0.0.1:{fake.port}"
            cases.append(Case(f"{scheme}: {name}", *args, "--proxy", url,
                              **told))
        await play(group, *cases)


def says(data, then):
    async def script(reader, writer):
        await reader.read(1)
        writer.write(data)
        await then(reader, writer)

    return script


# What libuv makes of an RST depends on when it comes.
HOW = {
    stall: {"error": "UVWS_ETIMEOUT", "words": "took too long",
            "args": ["--connect-timeout", "2000" if LAUNCHER else "500"]},
    end: {"error": "UVWS_EPROXY", "words": "closed"},
    reset: {"error": VANISHED},
}  # fmt: skip


async def ours_stalls():
    """Stalls and vanishes, at each point."""
    halves = [
        ("http", "before the request", lambda then: then),
        ("http", "behind the request", lambda then: answers(b"", then)),
        ("http", "in the answer", lambda then: answers(OK[:20], then)),
        ("http", "in its last line", lambda then: answers(OK[:-1], then)),
        ("https", "before the request", lambda then: then),
        ("https", "behind the request", lambda then: answers(b"", then)),
        ("https", "in the answer", lambda then: answers(OK[:20], then)),
        ("socks5", "before the greeting", lambda then: then),
        ("socks5", "behind the greeting", lambda then: Socks(b"", then=then)),
        ("socks5", "in the method", lambda then: Socks(b"\5", then=then)),
        ("socks5", "behind the request",
         lambda then: Socks(NONE, b"", then=then)),
        ("socks5", "in the answer",
         lambda then: Socks(NONE, BOUND[:3], then=then)),
        ("socks5", "in the answer's address",
         lambda then: Socks(NONE, BOUND[:-1], then=then)),
        ("socks5", "behind the password",
         lambda then: Socks(BY_PASSWORD, b"", user=True, then=then)),
        ("socks5", "in the password's answer",
         lambda then: Socks(BY_PASSWORD, b"\1", user=True, then=then)),
    ]  # fmt: skip
    fakes = []
    for scheme, where, make in halves:
        for what, then in ("stalls", stall), ("ends", end), ("resets", reset):
            told = dict(HOW[then])
            if "password" in where:
                told["user"] = "ann:secret@"
            fake = Fake(make(then), tls=scheme == "https")
            fakes.append((f"{what} {where}", scheme, fake, told))
    # In the handshake of TLS.
    for what, then in ("stalls", stall), ("ends", end), ("resets", reset):
        for where, data in ("before", b""), ("in", b"\x16\3\3\0\x50\2"):
            fakes.append((f"{what} {where} TLS", "https",
                          Fake(says(data, then)), HOW[then]))
    await with_fakes("ours", *fakes)
    await play("ours", Case("nobody there", "--proxy",
                            f"http://127.0.0.1:{closed_port()}",
                            error="ECONNREFUSED|UVWS_EPROXY"))


async def ours_http():
    """What a CONNECT may be answered, and what not."""
    refused = {"error": "UVWS_EPROXY"}
    good = [
        ("200", OK),
        ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\n"),
        ("no reason", b"HTTP/1.1 200 \r\n\r\n"),
        ("no reason and no space", b"HTTP/1.1 200\r\n\r\n"),
        ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("close", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        ("201", b"HTTP/1.1 201 Created\r\n\r\n"),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("an interim answer", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK),
        ("headers",
         b"HTTP/1.1 200 OK\r\nProxy-Agent: x/1\r\nVia: 1.1 y\r\n\r\n"),
    ]
    bad = [
        ("nothing", b"", ""),
        ("zeros", bytes(100), ""),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ""),
        ("SOCKS", b"\5\0", ""),
        ("an alert", ALERT, ""),
        ("no number", b"HTTP/1.1 abc OK\r\n\r\n", ""),
        ("a header that is none", b"HTTP/1.1 200 OK\r\nab c\r\n\r\n", ""),
        ("HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        ("a request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        ("too much", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300000, ""),
        ("too many",
         b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 10000 + b"\r\n", ""),
        ("101", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\n\r\n", "101"),
        ("302", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
         "302"),
        ("400", b"HTTP/1.1 400 Bad Request\r\n\r\n", "400"),
        ("407 and close",
         b"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic realm=x\r\n"
         b"Connection: close\r\nContent-Length: 2\r\n\r\nno", "407"),
        ("407 in chunks",
         b"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic realm=x\r\n"
         b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "407"),
        ("502 with half a body",
         b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 99\r\n\r\nno", "502"),
        ("599", b"HTTP/1.1 599 x\r\n\r\n", "599"),
    ]  # fmt: skip
    fakes = []
    for name, data in good:
        fakes.append((name, "http", Fake(answers(data, relay)), {}))
        fakes.append((f"{name}, byte by byte", "http", Fake(slowly(data)), {}))
    for name, data, words in bad:
        for how, then in ("ends", end), ("stays", stall):
            if then is stall and name in ("nothing", "SOCKS", "an alert",
                                          "zeros"):
                continue  # it may still become an answer
            fakes.append((f"{name}, {how}", "http", Fake(answers(data, then)),
                          {**refused, "words": words,
                           "args": ["--connect-timeout", "20000"]}))
    fakes += [
        ("200", "https", Fake(connects, tls=True), {}),
        ("byte by byte", "https", Fake(slowly(OK), tls=True), {}),
        ("407", "https", Fake(answers(bad[-4][1]), tls=True),
         {**refused, "words": "407"}),
        ("zeros", "https", Fake(answers(bytes(100)), tls=True), refused),
        *extra("http", lambda data: Fake(answers(OK + data))),
        *extra("https", lambda data: Fake(answers(OK + data), tls=True)),
    ]  # fmt: skip
    await with_fakes("ours", *fakes)


def extra(scheme, make):
    """Right behind the proxy's answer, before the client has said a word, are
    bytes of the server's: they must count."""
    if TLS:
        return [("an alert behind it", scheme, make(ALERT),
                 {"error": "UVWS_ETLS", "words": "(?i)handshake"}),
                ("zeros behind it", scheme, make(bytes(100)),
                 {"error": "UVWS_ETLS"})]
    return [("a refusal behind it", scheme, make(FORBIDDEN),
             {"error": "UVWS_EUPGRADE", "words": "refused"}),
            ("zeros behind it", scheme, make(bytes(100)),
             {"error": "UVWS_EUPGRADE"})]


async def ours_socks():
    """What SOCKS may be answered, and what not."""
    refused = {"error": "UVWS_EPROXY"}
    ann = {"user": "ann:secret@"}
    fakes = [
        ("connected", Socks(NONE, BOUND), {}),
        ("byte by byte", Socks(NONE, BOUND, slow=True), {}),
        ("bound to IPv6", Socks(NONE, b"\5\0\0\4" + bytes(18)), {}),
        ("bound to a name", Socks(NONE, b"\5\0\0\3\4host\0\0"), {}),
        ("bound to the longest name",
         Socks(NONE, b"\5\0\0\3\xff" + b"x" * 257), {}),
        ("bound to no name", Socks(NONE, b"\5\0\0\3\0\0\0"), {}),
        ("the longest name, byte by byte",
         Socks(NONE, b"\5\0\0\3\xff" + b"x" * 257, slow=True), {}),
        ("a password", Socks(BY_PASSWORD, WELCOME, BOUND, user=True), ann),
        ("a password, byte by byte",
         Socks(BY_PASSWORD, WELCOME, BOUND, user=True, slow=True), ann),
        ("a password refused",
         Socks(BY_PASSWORD, b"\1\1", user=True, then=end), {**ann, **refused}),
        ("a password refused, stays",
         Socks(BY_PASSWORD, b"\1\xff", user=True, then=stall),
         {**ann, **refused}),
        ("a password's answer of a wrong version",
         Socks(BY_PASSWORD, b"\5\0", user=True, then=stall),
         {**ann, **refused}),
        ("a password that was not offered", Socks(BY_PASSWORD, then=stall),
         refused),
        ("no method", Socks(b"\5\xff", then=end), refused),
        ("no method, stays", Socks(b"\5\xff", then=stall), refused),
        ("GSSAPI", Socks(b"\5\1", then=stall), refused),
        ("version 4", Socks(b"\0\x5a", then=stall), refused),
        ("HTTP", Socks(b"HTTP/1.1 400 Bad Request\r\n\r\n", then=end), refused),
        ("an answer of another version",
         Socks(NONE, b"\4" + BOUND[1:], then=stall), refused),
        ("an unknown type of address",
         Socks(NONE, b"\5\0\0\x09" + bytes(30), then=stall), refused),
    ]  # fmt: skip
    meanings = {1: "fail", 2: "allow", 3: "network", 4: "host", 5: "refused",
                6: "TTL|expired", 7: "command|support", 8: "address", 9: "",
                255: ""}
    for reply, words in meanings.items():
        answer = b"\5" + bytes([reply]) + b"\0\1" + bytes(6)
        for how, then in ("ends", end), ("stays", stall):
            fakes.append((f"reply {reply}, {how}",
                          Socks(NONE, answer, then=then),
                          {**refused, "words": words}))
    # Some send no address with a refusal.
    fakes.append(("reply 5, cut short, ends",
                  Socks(NONE, b"\5\5", then=end), refused))
    fakes = [(name, "socks5", Fake(script), told)
             for name, script, told in fakes]
    fakes += extra("socks5",
                   lambda data: Fake(Socks(NONE, BOUND + data, then=end)))
    await with_fakes("ours", *fakes)


async def ours_requests():
    """What proxies are asked, byte by byte."""
    cases = []
    async with contextlib.AsyncExitStack() as stack:

        async def asks(name, host, userinfo, expected, scheme="http",
                       port=4444):
            heard = []

            async def script(reader, writer):
                heard.append((await get_head(reader)).decode("latin-1"))
                writer.write(FORBIDDEN)
                await end(reader, writer)

            def check():
                lines = heard[0].split("\r\n")
                authority = f"{host}:{port}"
                assert lines[0] == f"CONNECT {authority} HTTP/1.1", lines
                assert lines.count(f"Host: {authority}") == 1, lines
                got = [line for line in lines
                       if line.lower().startswith("proxy-authorization")]
                right = []
                if expected is not None:
                    encoded = base64.b64encode(expected.encode()).decode()
                    right = [f"Proxy-Authorization: Basic {encoded}"]
                assert got == right, lines
                lower = heard[0].lower()
                assert "sec-websocket" not in lower, lower
                assert "upgrade" not in lower, lower
                assert "content-length" not in lower, lower

            fake = await stack.enter_async_context(
                Fake(script, tls=scheme == "https")
            )
            args = ["--proxy-ca", f"{CA}/ca.crt"] if scheme == "https" else []
            cases.append(Case(
                f"{scheme}: asks, {name}", *args, "--proxy",
                f"{scheme}://{userinfo}127.0.0.1:{fake.port}", host=host,
                port=port, error="UVWS_EPROXY", words="403", after=check,
            ))  # fmt: skip

        for scheme in "http", "https":
            await asks("an address", "127.0.0.1", "", None, scheme)
        default = 443 if TLS else 80
        await asks("IPv6", "[::1]", "", None)
        await asks("a name", "proxy.test", "", None)
        await asks("a user", "proxy.test", "ann:secret@", "ann:secret")
        await asks("escapes", "proxy.test", KNOWN + "@", f"{USER}:{PASSWORD}")
        await asks("no password", "proxy.test", "ann:@", "ann:")
        await asks("no colon", "proxy.test", "ann@", "ann:")
        await asks("UTF-8", "proxy.test", "%C3%A4:%E2%82%AC@", "\u00e4:\u20ac")
        long = "x" * 255
        await asks("a long password", "proxy.test", f"{long}:{long}@",
                   f"{long}:{long}")
        # The URL loses its default port, the request does not.
        await asks("the default port", "proxy.test", "", None, port=default)
        cases[-1].url = cases[-1].url.replace(f":{default}", "")

        async def asks_socks(name, host, userinfo, *expected, scheme="socks5"):
            script = Socks(
                *([BY_PASSWORD, WELCOME] if userinfo else [NONE]),
                b"\5\2\0\1" + bytes(6), user=bool(userinfo), then=end,
            )  # fmt: skip
            fake = await stack.enter_async_context(Fake(script))

            def check():
                greeting, *rest = script.heard
                methods = greeting[2:]
                assert greeting[0] == 5 and greeting[1] == len(methods)
                assert sorted(methods) in ([0], [0, 2], [2]), greeting
                assert (2 in methods) == bool(userinfo), greeting
                right = [*expected, wants(host, 4444)]
                assert rest == right, f"{rest} instead of {right}"

            cases.append(Case(
                f"{scheme}: asks, {name}", "--proxy",
                f"{scheme}://{userinfo}127.0.0.1:{fake.port}", host=host,
                port=4444, error="UVWS_EPROXY", after=check,
            ))  # fmt: skip

        for scheme in "socks5", "socks5h":
            await asks_socks("an address", "127.0.0.1", "", scheme=scheme)
            await asks_socks("a name", "proxy.test", "", scheme=scheme)
        await asks_socks("IPv6", "[::1]", "")
        labels = ".".join(["x" * 60] * 4)
        await asks_socks("a long name", labels, "")
        await asks_socks("a user", "proxy.test", "ann:secret@",
                         known("ann", "secret"))
        await asks_socks("escapes", "proxy.test", KNOWN + "@",
                         known(USER, PASSWORD))
        await asks_socks("a long password", "proxy.test", f"{long}:{long}@",
                         known(long, long))

        # Proxies that uvws_connect() refuses.
        for bad in ("ftp://127.0.0.1:1", "socks4://127.0.0.1:1", "http://",
                    "http://127.0.0.1:70000", "socks5://x@127.0.0.1:1",
                    f"socks5://{long}x:y@127.0.0.1:1",
                    f"socks5://x:{long}y@127.0.0.1:1",
                    "http://a%3Ab:c@127.0.0.1:1",
                    "http://a%0D%0Ab:c@127.0.0.1:1"):  # fmt: skip
            cases.append(Case(f"{bad[:40]} is none", "--proxy", bad,
                              error="refused", words="invalid argument"))

        # Other ways to name one.
        fake = await stack.enter_async_context(Fake(connects))
        for good in "127.1:{}", "HTTP://127.0.0.1:{}", "http://127.1:{}/x?y":
            cases.append(Case(good, "--proxy", good.format(fake.port)))
        try:
            fake = await stack.enter_async_context(Fake(connects, host="::1"))
            cases.append(Case("http: at ::1", "--proxy",
                              f"http://[::1]:{fake.port}"))
        except OSError:
            pass
        if RESOLVES:
            fake = await stack.enter_async_context(Fake(connects))
            cases.append(Case("http: at localhost", "--proxy",
                              f"http://localhost:{fake.port}"))
        cases.append(Case("http: a name without an address", "--proxy",
                          "http://nobody.invalid:1",
                          error="EAI_NONAME|EAI_AGAIN|EAI_NODATA|EAI_FAIL"
                                "|UVWS_EPROXY"))  # fmt: skip
        await play("ours", *cases)


async def ours_dies():
    """After `open`."""
    fakes = []
    for scheme in "http", "https", "socks5":
        for what, dies in ("ends", end), ("resets", reset):
            held = asyncio.Event()
            then = functools.partial(relay, held=held, dies=dies)
            script = answers(OK, then)
            if scheme == "socks5":
                script = Socks(NONE, BOUND, then=then)
            fakes.append((f"{what} after open", scheme,
                          Fake(script, tls=scheme == "https"),
                          {"held": held, "error": LOST, "reaches": True}))
    await with_fakes("ours", *fakes)


# ---- The environment ----


async def environment():
    async with Fake(connects) as proxy, Fake(Socks(NONE, BOUND)) as socks:
        http = f"http://127.0.0.1:{proxy.port}"
        socks5 = f"socks5://127.0.0.1:{socks.port}"
        dead = f"http://127.0.0.1:{closed_port()}"
        asked = ["--env-proxy", "yes"]
        own = "https_proxy" if TLS else "http_proxy"
        others = "http_proxy" if TLS else "https_proxy"
        name, foreign = f"{SCHEME}_proxy", "ws_proxy" if TLS else "wss_proxy"
        at_localhost = {"host": "localhost"}
        table = [
            # name, proxy used, environment, arguments, more
            ("nothing", None, {}, asked, {}),
            ("nobody asks", None, {name: dead, own: dead, "all_proxy": dead},
             [], {}),
            (name, proxy, {name: http}, asked, {}),
            (own, proxy, {own: http}, asked, {}),
            ("all_proxy", socks, {"all_proxy": socks5}, asked, {}),
            ("ALL_PROXY", socks, {"ALL_PROXY": socks5}, asked, {}),
            (name.upper(), proxy, {name.upper(): http}, asked, {}),
            (own.upper(), proxy if TLS else None, {own.upper(): http}, asked,
             {}),
            (foreign, None, {foreign: dead}, asked, {}),
            (others, None, {others: dead}, asked, {}),
            (f"{name} before {own}", proxy, {name: http, own: dead}, asked, {}),
            (f"{own} before all_proxy", proxy, {own: http, "all_proxy": dead},
             asked, {}),
            ("--proxy before all", socks,
             {name: dead, own: dead, "no_proxy": "*"},
             [*asked, "--proxy", socks5], {}),
            (f"{own}, empty", None, {own: "", "all_proxy": dead}, asked, {}),
            (f"{own} without a scheme", proxy, {own: http[7:]}, asked, {}),
            ("no_proxy with its network", None,
             {own: dead, "no_proxy": "127.0.0.0/8"}, asked, {}),
            ("no_proxy with another network", proxy,
             {own: http, "no_proxy": "10.0.0.0/8"}, asked, {}),
            ("no_proxy with its port", None,
             {own: dead, "no_proxy": f"127.0.0.1:{ORIGIN.port}"}, asked, {}),
            ("no_proxy with another port", proxy,
             {own: http, "no_proxy": "127.0.0.1:80"}, asked, {}),
            ("no_proxy with it", None, {own: dead, "no_proxy": "127.0.0.1"},
             asked, {}),
            ("NO_PROXY with it", None, {own: dead, "NO_PROXY": "127.0.0.1"},
             asked, {}),
            ("no_proxy with it among others", None,
             {own: dead, "no_proxy": "example.com, 127.0.0.1,.test"}, asked,
             {}),
            ("no_proxy with all", None, {own: dead, "no_proxy": "*"}, asked,
             {}),
            ("no_proxy before all_proxy", None,
             {"all_proxy": dead, "no_proxy": "127.0.0.1"}, asked, {}),
            ("no_proxy with others", proxy,
             {own: http, "no_proxy": "27.0.0.1,127.0.0.10,example.com"}, asked,
             {}),
            ("no_proxy, empty", proxy, {own: http, "no_proxy": ""}, asked, {}),
            ("no_proxy with the end of a label", proxy,
             {own: http, "no_proxy": "host,ocalhost"}, asked, at_localhost),
        ]  # fmt: skip
        if RESOLVES:
            table += [
                ("no_proxy with a name", None,
                 {own: dead, "no_proxy": "localhost"}, asked, at_localhost),
                ("no_proxy in capitals", None,
                 {own: dead, "no_proxy": "LOCALHOST"}, asked, at_localhost),
            ]  # fmt: skip
        for title, used, env, args, more in table:
            before = proxy.connections, socks.connections

            def check(used=used, before=before):
                got = (proxy.connections - before[0],
                       socks.connections - before[1])
                assert got == (used is proxy, used is socks), got

            # One after the other: connections are counted.
            await play("environment", Case(title, *args, env=env, after=check,
                                           **more))
        await play(
            "environment",
            Case("a proxy that is dead", *asked, env={own: dead},
                 error="ECONNREFUSED|UVWS_EPROXY"),
        )


# ---- The chat ----


async def chat():
    """bob hears through a proxy what ann says through another."""
    server_args = ["0"]
    client_args = []
    if TLS:
        server_args = ["--cert", f"{CA}/localhost.crt", "--key",
                       f"{CA}/localhost.key", "0"]  # fmt: skip
        client_args = ["--ca", f"{CA}/ca.crt"]

    async def line(process):
        data = await asyncio.wait_for(process.stdout.readline(), 60)
        return data.decode().strip()

    server = await spawn("CHAT_SERVER", *server_args)
    url = (await line(server)).replace("listening on ", "")
    port = int(re.search(r":(\d+)/", url)[1])

    async def to_chat(reader, writer):
        await relay(reader, writer, port)

    async with Fake(answers(OK, to_chat), tls=True) as proxy, Fake(
        Socks(NONE, BOUND, then=to_chat)
    ) as socks:
        bob = await spawn(
            "CHAT", *client_args, "--proxy", f"https://127.0.0.1:{proxy.port}",
            "--proxy-ca", f"{CA}/ca.crt", url, "bob", stdin=subprocess.PIPE,
        )  # fmt: skip
        assert await line(bob) == "* bob joined"
        ann = await spawn(
            "CHAT", *client_args, "--env-proxy", "yes", url, "ann",
            stdin=subprocess.PIPE,
            env={"all_proxy": f"socks5://127.0.0.1:{socks.port}"},
        )  # fmt: skip
        assert await finish(ann, b"hello\n") == (0, "* ann joined\n", "")
        for expected in "* ann joined", "ann: hello", "* ann left":
            assert await line(bob) == expected
        assert await finish(bob, b"") == (0, "", "")
        assert (proxy.connections, socks.connections) == (1, 1)
    server.terminate()
    assert (await finish(server))[0] == 0
    print("chat", flush=True)


# ---- All of it ----

GROUPS = [squid, tinyproxy, microsocks, dante, ours, environment, chat]
PROGRAMS = {squid: "squid", tinyproxy: "tinyproxy", microsocks: "microsocks",
            dante: "danted"}  # fmt: skip


def resolves(host):
    """A bare chroot knows no names, not even its own."""
    try:
        found = socket.getaddrinfo(host, 1, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = [address[0] for *_, address in found]
    return addresses[0] in ORIGIN.addresses and "127.0.0.1" in addresses


async def main(groups):
    global RESOLVES
    Case.count = asyncio.Semaphore(2 * (os.cpu_count() or 1))
    await ORIGIN.start()
    RESOLVES = resolves("localhost")
    results = await asyncio.gather(*[group() for group in groups],
                                   return_exceptions=True)
    for group, result in zip(groups, results):
        if result is not None:
            print(f"{group.__name__}: FAILED: {result!r}")
            FAILED.append(group.__name__)


async def limited(groups):
    playing = asyncio.ensure_future(main(groups))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM,
                                                  playing.cancel)
    try:
        await asyncio.wait_for(playing, LIMIT)
    finally:
        for process in RUNNING:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


asked = [group for group in GROUPS
         if len(sys.argv) == 1 or group.__name__ in sys.argv[1:]]  # fmt: skip
missing = [PROGRAMS[group] for group in asked
           if group in PROGRAMS and not find(PROGRAMS[group])]  # fmt: skip
asked = [group for group in asked if PROGRAMS.get(group) not in missing]

with tempfile.TemporaryDirectory() as WORK:
    os.chmod(WORK, 0o755)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "../../cmake/ca")
    subprocess.run(["sh", script, f"{WORK}/ca"], check=True)
    OTHER_CA = f"{WORK}/ca/ca.crt"
    asyncio.run(limited(asked))

for name in FAILED:
    print(f"FAILED: {name}")
for name in missing:
    print(f"skipped: no {name}")
if FAILED:
    sys.exit(1)
sys.exit(77 if set(missing) - {"danted"} else 0)
