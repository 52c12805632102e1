#!/usr/bin/env python3
"""chat-terminal.py BIN-DIR [LAUNCHER...]: the chat client at a terminal.

What the client writes goes to a small screen, on which the tests look: they
wait until it shows what it should, and a signal ends what takes too long.
"""
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import unicodedata

BIN, LAUNCHER = sys.argv[1], sys.argv[2:]
LEFT, RIGHT, HOME, DELETE = b"\x1b[D", b"\x1b[C", b"\x1b[H", b"\x1b[3~"
CTRL = {chr(c | 0x40): bytes([c]) for c in range(32)}
BACKSPACE = b"\x7f"


started = []


def run(program, *args, **options):
    process = subprocess.Popen([*LAUNCHER, os.path.join(BIN, program), *args],
                               **options)
    started.append(process)
    return process


def columns(char):
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    """Rows of cells: a character with what combines with it, "" behind a wide
    one. Nothing may ever reach the last column, where terminals differ."""

    def __init__(self, width):
        self.width, self.rows, self.column = width, [[]], 0

    def feed(self, text):
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|.", text, re.S):
            row = self.rows[-1]
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.rows.append([])
            elif part == "\x1b[K":
                del row[self.column:]
            elif part[0] == "\x1b" and part[-1] == "C":
                self.column += int(part[2:-1])
            elif part == "\a":
                pass
            elif columns(part) == 0:
                row[self.column - 1] += part
            else:
                assert part.isprintable(), repr(part)
                cells = [part] + [""] * (columns(part) - 1)
                row += [" "] * (self.column - len(row))
                row[self.column:self.column + len(cells)] = cells
                self.column += len(cells)

    def text(self):
        return ["".join(row) for row in self.rows]


def require_terminals():
    try:
        for fd in pty.openpty():
            os.close(fd)
    except OSError as error:
        print("skipped:", error)
        sys.exit(77)


class Chat:
    """A chat client at a terminal of its own."""

    def __init__(self, url, nick, width=80):
        self.master, self.slave = pty.openpty()
        self.resize(width)
        self.before = termios.tcgetattr(self.slave)
        self.screen = Screen(width)
        self.undecoded = b""
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        self.process = run("chat", url, nick, stdin=self.slave,
                           stdout=self.slave, stderr=self.slave,
                           start_new_session=True, env=env)

    def resize(self, width):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, width, 0, 0))

    def type(self, keys):
        os.write(self.master, keys if isinstance(keys, bytes)
                 else keys.encode())

    def until(self, what, is_true):
        global waiting_for
        while not is_true(self.screen):
            waiting_for = f"{what}; on the screen:\n" + "\n".join(
                self.screen.text())
            data = self.undecoded + os.read(self.master, 65536)
            for cut in range(4):
                try:
                    text = data[:len(data) - cut].decode()
                    break
                except UnicodeDecodeError:
                    continue
            self.undecoded = data[len(data) - cut:]
            self.screen.feed(text)

    def line(self, text, column=None):
        """The line that is being typed."""
        self.until(f"line {text!r} {column}", lambda screen: (
            screen.text()[-1] == text and
            column in (None, screen.column)))

    def says(self, pattern):
        self.until(f"{pattern!r}", lambda screen: any(
            re.fullmatch(pattern, row) for row in screen.text()))

    def ends(self, status):
        global waiting_for
        waiting_for = f"exit status {status}"
        assert self.process.wait() == status, self.process.returncode
        assert termios.tcgetattr(self.slave) == self.before, "not restored"
        os.close(self.slave)
        try:
            while True:
                self.screen.feed(os.read(self.master, 65536).decode())
        except OSError:
            os.close(self.master)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON


class Pipe:
    """A client without a terminal."""

    def __init__(self, url, nick):
        self.process = run("chat", url, nick, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True,
                           encoding="utf-8", bufsize=1)
        self.hears(f"* {nick} joined")

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hears(self, text):
        global waiting_for
        waiting_for = f"to hear {text!r}"
        line = self.process.stdout.readline()
        assert line == text + "\n", f"{line!r} instead of {text!r}"

    def leaves(self):
        self.process.stdin.close()
        assert self.process.wait() == 0
        self.process.stdout.close()


def serve(port=0):
    process = run("chat-server", str(port), stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split()[-1]
    return process, url, int(url.split(":")[2].strip("/"))


def kill(process):
    process.kill()
    process.wait()
    process.stdout.close()


def join(url, nick, width=80):
    chat = Chat(url, nick, width)
    chat.says(rf"\* {nick} joined")
    chat.line("> ", 2)
    assert chat.is_raw()
    return chat


def the_line_stays_while_others_talk():
    server, url, _ = serve()
    alice = Pipe(url, "alice")
    bob = join(url, "bob")
    alice.hears("* bob joined")
    bob.type("half a sentence")
    bob.line("> half a sentence", 17)
    bob.type(4 * LEFT)
    bob.line("> half a sentence", 13)
    alice.say("do you hear me?")
    bob.says(r"alice: do you hear me\?")
    bob.line("> half a sentence", 13)
    assert bob.screen.text()[-3:] == [
        "* bob joined", "alice: do you hear me?", "> half a sentence"]
    bob.type("XY")
    bob.line("> half a sentXYence", 15)
    bob.type("\r")
    alice.hears("bob: half a sentXYence")
    bob.line("> ", 2)
    assert bob.screen.text()[-2:] == ["> half a sentXYence", "> "]

    # An empty line is not sent, what commands terminals is not typed.
    bob.type(b"\r\r\x1b[2J\x1b[99mx\x1bOH\xc2\x9b\xffy\t\r")
    alice.hears("bob: y x")
    bob.type(CTRL["C"])
    bob.ends(0)
    alice.hears("* bob left")
    alice.leaves()
    kill(server)


def editing():
    server, url, _ = serve()
    alice = Pipe(url, "alice")
    bob = join(url, "bob", 20)
    alice.hears("* bob joined")
    for keys, shown, column in [
            ("na\u00efve \u4f60\u597d e\u0301", "> na\u00efve \u4f60\u597d e\u0301", 14),
            (BACKSPACE, "> na\u00efve \u4f60\u597d e", 14),
            (2 * BACKSPACE, "> na\u00efve \u4f60\u597d", 12),
            (BACKSPACE, "> na\u00efve \u4f60", 10),
            (LEFT, "> na\u00efve \u4f60", 8),
            (4 * LEFT, "> na\u00efve \u4f60", 4),
            (DELETE, "> nave \u4f60", 4),
            (CTRL["D"], "> nae \u4f60", 4),
            (CTRL["A"] + b"<" + CTRL["E"] + b">", "> <nae \u4f60>", 10),
            (HOME + RIGHT + CTRL["K"] + b"one two  ", "> <one two  ", 12),
            (CTRL["W"], "> <one ", 7),
            (CTRL["W"], "> ", 2),
            (BACKSPACE + CTRL["W"] + DELETE + LEFT + RIGHT, "> ", 2),
            ("abc" + (2 * LEFT + CTRL["U"]).decode(), "> bc", 2),
            (CTRL["E"] + CTRL["U"], "> ", 2)]:
        bob.type(keys)
        bob.line(shown, column)

    # 17 columns are left for the line; it scrolls in both directions.
    text = "0123456789abcdefghijklmnopq"
    bob.type(text)
    bob.line("> " + text[-17:], 19)
    bob.type(HOME)
    bob.line("> " + text[:17], 2)
    alice.say("short")
    bob.says("alice: short")
    bob.line("> " + text[:17], 2)
    bob.resize(40)
    bob.type(CTRL["E"])
    bob.line("> " + text, 2 + len(text))
    bob.type("\r")
    alice.hears("bob: " + text)
    assert max(map(len, bob.screen.text())) < 40

    # Characters that come in two pieces; two lines that come in one.
    bob.type(b"\xc3")
    bob.type(b"\xb6")
    bob.line("> \u00f6", 3)
    bob.type("\rone\rtwo\rthree")
    for line in ["\u00f6", "one", "two"]:
        alice.hears("bob: " + line)
    bob.line("> three", 7)

    # At the limit more is refused, not lost.
    bob.type(CTRL["U"])
    for _ in range(41):
        bob.type("x" * 100)
    bob.type(b"\r")
    alice.hears("bob: " + "x" * 4096)
    bob.line("> ", 2)
    bob.type(CTRL["D"])
    bob.ends(0)
    alice.hears("* bob left")
    alice.leaves()
    kill(server)


def the_terminal_is_restored():
    server, url, _ = serve()
    for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]:
        bob = join(url, "bob")
        bob.type("unfinished")
        bob.line("> unfinished")
        bob.process.send_signal(number)
        bob.ends(0)
        assert "> unfinished" in bob.screen.text(), bob.screen.text()
    kill(server)


def it_comes_back():
    server, url, port = serve()
    bob = join(url, "bob")
    bob.type("first")
    bob.line("> first")
    kill(server)
    bob.says(r"\* connection lost \(.+\), again in 1 s")
    bob.line("> first", 7)

    # Sent to nobody: the line stays, and is tried at once.
    bob.type("\r")
    bob.says(r"\* not connected, the line waits")
    bob.says(r"\* no connection \(.+\), again in \d s")
    bob.line("> first", 7)

    server, url, _ = serve(port)
    bob.says(r"\* back")
    alice = Pipe(url, "alice")
    bob.says(r"\* alice joined")
    bob.line("> first", 7)
    bob.type(", then\r")
    alice.hears("bob: first, then")
    alice.say("heard")  # behind the pong, which says that the line arrived
    bob.says("alice: heard")
    bob.line("> ", 2)

    # A line that the kernel took and the server did not.
    server.send_signal(signal.SIGSTOP)
    os.waitpid(server.pid, os.WUNTRACED)
    bob.type("lost\r")
    bob.line("> ", 2)
    bob.type("next")
    bob.line("> next", 6)
    kill(server)
    assert alice.process.wait() == 1
    bob.says(r"\* may not have arrived: lost")
    bob.says(r"\* connection lost \(.+\), again in \d s")
    bob.line("> next", 6)
    assert not any("first" in row and "may not" in row
                   for row in bob.screen.text())

    # The nick is in use, perhaps by our own last connection; then it is free.
    with socket.create_server(("127.0.0.1", port)) as listener:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 409 Conflict\r\n"
                               b"Content-Length: 0\r\n\r\n")
            bob.says(r"\* no connection \(HTTP status 409: the nick is in "
                     r"use\), again in \d+ s")
    server, url, _ = serve(port)
    bob.until("back twice",
              lambda screen: screen.text().count("* back") == 2)
    bob.line("> next", 6)

    # Leaving while there is no connection.
    kill(server)
    bob.until("lost three times", lambda screen: sum(
        row.startswith("* connection lost") for row in screen.text()) == 3)
    bob.type(CTRL["C"])
    bob.ends(1)  # a line was lost
    assert "> next" in bob.screen.text()


def it_gives_up():
    server, url, _ = serve()
    alice = Pipe(url, "alice")
    bob = Chat(url, "alice")
    bob.says(r"chat: .*: HTTP status 409: the nick is in use")
    bob.ends(1)
    alice.leaves()
    kill(server)
    bob = Chat(url, "bob")
    bob.says(r"chat: .*")
    bob.ends(1)
    assert not any("again" in row for row in bob.screen.text())


def end_all():
    for process in started:
        if process.poll() is None:
            process.kill()


def on_alarm(number, frame):
    print("waited in vain for", waiting_for, flush=True)
    end_all()
    os._exit(1)


waiting_for = "nothing"
signal.signal(signal.SIGALRM, on_alarm)
signal.alarm(200)
require_terminals()
try:
    for test in [the_line_stays_while_others_talk, editing,
                 the_terminal_is_restored, it_comes_back, it_gives_up]:
        print(test.__name__, flush=True)
        test()
finally:
    end_all()
