"""The openssl command: s_client at our server, s_server at our client. What it
says of its connections is checked, and WebSockets are spoken by hand."""
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

if not shutil.which("openssl"):
    print("skipped: no openssl")
    sys.exit(77)

TLS = os.environ["UVWS_TLS"]  # a directory that cmake/ca has made
VERSIONS = os.environ["UVWS_TLS_VERSIONS"].split()  # those that ours has
CA = ["-CAfile", f"{TLS}/ca.crt"]
CA_OF_OURS = ["--ca", f"{TLS}/ca.crt"]
IDENTITY = ["-cert", f"{TLS}/localhost.crt", "-key", f"{TLS}/localhost.key"]
SUITES = {
    "1.2": rb"ECDHE-ECDSA-(AES(128|256)-GCM-SHA\d+|CHACHA20-POLY1305)\r?\n",
    "1.3": rb"TLS_(AES_(128|256)_GCM|CHACHA20_POLY1305)_SHA\d+\r?\n",
}
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CLOSE = b"\x81", b"\x88"
MASK = b"\x37\xfa\x21\x3d"


def masked(start, payload):
    pairs = zip(payload, MASK * len(payload))
    length = bytes([0x80 | len(payload)])
    return start + length + MASK + bytes(a ^ b for a, b in pairs)


def unmasked(data):
    return bytes(a ^ b for a, b in zip(data[4:], data[:4] * len(data)))


class Child:
    """A process; what it prints is matched piece by piece."""

    running = set()

    def __init__(self, *command, **options):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
        )
        self.running.add(self.process)
        self.output = b""

    def read(self):
        data = os.read(self.process.stdout.fileno(), 65536)
        self.output += data
        return data

    def until(self, pattern):
        """What matches, printed already or yet to come; the next search begins
        behind it."""
        while not (found := re.search(pattern, self.output, re.DOTALL)):
            assert self.read(), f"{pattern}? {self.output}"
        self.output = self.output[found.end() :]
        return found

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self, number=None):
        """Its exit status, and what it printed at last."""
        if number:
            self.process.send_signal(number)
        self.process.stdin.close()
        while self.read():
            pass
        self.running.discard(self.process)
        return self.process.wait()


def ours(name, *args):
    launcher = os.environ.get("LAUNCHER", "").split()
    return Child(*launcher, os.environ[name], *args)


def openssl(*args):
    return Child("openssl", *args, stderr=subprocess.STDOUT)


# Their client.


def s_client(port, *args):
    return openssl(
        "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
        "-verify_hostname", "localhost", "-verify_return_error", "-nocommands",
        *CA, *args,
    )  # fmt: skip


def is_secure(client, version, kind):
    client.until(b"Verification: OK\r?\n")
    client.until(rb"%s, TLSv[0-9.]+, Cipher is " % kind)
    client.until(SUITES[version])


def echo(client):
    """From the upgrade to the end."""
    client.send(REQUEST)
    client.until(rb"HTTP/1\.1 101 .*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=.*?\r\n\r\n")
    for payload in b"hello", b"x" * 125:
        client.send(masked(TEXT, payload))
        length = bytes([len(payload)])
        client.until(re.escape(TEXT + length + payload))
    client.send(masked(CLOSE, b"\x03\xe8"))
    client.until(re.escape(CLOSE + b"\x02\x03\xe8"))
    assert client.end() == 0


def at_our_server(port, version):
    only = "-tls" + version.replace(".", "_")
    offers = [
        ([], b"No ALPN negotiated"),
        (["-alpn", "http/1.1"], b"ALPN protocol: http/1.1\r?\n"),
        (["-alpn", "h2,http/1.1"], b"ALPN protocol: http/1.1\r?\n"),
    ]
    for args, negotiated in offers:
        print(f"our server: TLS {version} {' '.join(args)}", flush=True)
        client = s_client(port, only, *args)
        is_secure(client, version, b"New")
        client.until(negotiated)
        echo(client)

    print(f"our server: TLS {version}, a session resumed", flush=True)
    with tempfile.NamedTemporaryFile() as session:
        client = s_client(port, only, "-sess_out", session.name)
        is_secure(client, version, b"New")
        echo(client)
        for _ in range(2):
            client = s_client(port, only, "-sess_in", session.name)
            is_secure(client, version, b"Reused")
            echo(client)


def reconnect(port):
    print("our server: TLS 1.2 -reconnect", flush=True)
    client = s_client(port, "-tls1_2", "-reconnect")
    is_secure(client, "1.2", b"New")
    for _ in range(5):
        is_secure(client, "1.2", b"Reused")
    echo(client)
    # Without a ticket nothing is kept, and nothing goes wrong.
    client = s_client(port, "-tls1_2", "-no_ticket", "-reconnect")
    for _ in range(6):
        is_secure(client, "1.2", b"New")
    echo(client)


def is_refused(port, alert, *args):
    """They are told why, and ours goes on."""
    print(f"our server: {' '.join(args)} is refused", flush=True)
    client = s_client(port, *args)
    client.until(b"alert " + alert)
    assert client.end() == 1


# Their server.


def s_server(*args):
    server = openssl(
        "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", *IDENTITY, *args,
    )  # fmt: skip
    port = server.until(rb"ACCEPT 127\.0\.0\.1:(\d+)\r?\n")[1].decode()
    return server, port


def serve(server, version, host):
    """From the upgrade to the end, with our client's echo between. Says whether
    the session was resumed."""
    server.until(b"CIPHER is " + SUITES[version])
    told = server.until(b".*[Rr]enegotiation")[0]
    request = server.until(rb"GET /chat HTTP/1\.1\r\n.*?\r\n\r\n")[0]
    assert re.search(rb"\r\nHost: %s:\d+\r\n" % host.encode(), request)
    key = re.search(rb"\r\nSec-WebSocket-Key: (.*?)\r\n", request)[1]
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key + guid).digest())
    server.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept
        + b"\r\n\r\n" + TEXT + b"\x05hello"
    )  # fmt: skip
    assert unmasked(server.until(rb"\x81\x85(.{9})")[1]) == b"hello"
    server.send(CLOSE + b"\x02\x03\xe8")
    assert unmasked(server.until(rb"\x88\x82(.{6})")[1]) == b"\x03\xe8"
    return b"Reused session-id" in told


def at_our_client(version, host):
    """The second connection resumes the session of the first."""
    print(f"our client: TLS {version}, {host}", flush=True)
    server = openssl(
        "s_server", "-accept", "127.0.0.1:0", "-naccept", "2", "-alpn",
        "http/1.1", "-tls" + version.replace(".", "_"), *IDENTITY,
    )  # fmt: skip
    port = server.until(rb"ACCEPT 127\.0\.0\.1:(\d+)\r?\n")[1].decode()
    url = f"wss://{host}:{port}/chat"
    client = ours("ECHO_CLIENT", *CA_OF_OURS, url, url)
    resumed = [serve(server, version, host) for _ in range(2)]
    assert resumed == [False, True]
    assert client.end() == 0
    assert server.end() == 0


def main():
    identity = ["--cert", IDENTITY[1], "--key", IDENTITY[3]]
    server = ours("ECHO_SERVER", "--port", "0", *identity)
    port = server.until(rb"listening on wss://127\.0\.0\.1:(\d+)/")[1].decode()
    for version in VERSIONS:
        at_our_server(port, version)
    reconnect(port)

    old = "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"
    refused = [
        (b"protocol version", "-tls1_1", *old),
        (b"handshake failure", "-tls1_2", *old),
        (b"no application protocol", "-tls1_2", "-alpn", "h2"),
    ]
    if "1.3" not in VERSIONS:  # none of its suites is known either
        refused.append((b"handshake failure", "-tls1_3"))
    for alert, *args in refused:
        is_refused(port, alert, *args)
    echo(s_client(port))
    assert server.end(signal.SIGTERM) == 0

    for version in VERSIONS:
        for host in "127.0.0.1", "localhost":
            if resolves(host):
                at_our_client(version, host)


def resolves(host):
    """A bare chroot knows no names, not even its own."""
    try:
        socket.getaddrinfo(host, 1, socket.AF_INET)
    except OSError:
        return False
    return True


def late(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, late)
signal.alarm(200)
try:
    main()
finally:
    for process in list(Child.running):
        process.kill()
        process.wait()
