"""What the benchmarks of this directory share."""
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = 1 / os.sysconf("SC_CLK_TCK")
SERVER_CPU, LOAD_CPU = 0, 1


def die(text):
    sys.exit(f"bench/{os.path.basename(sys.argv[0])}: {text}")


def median(values):
    return statistics.median(values)


def interval(values):
    """Of the median, by order: no matter how the values are distributed."""
    values, n, tail = sorted(values), len(values), 0
    for k in range(n // 2):
        tail += math.comb(n, k) / 2**n
        if tail > 0.025:
            return values[max(0, k - 1)], values[n - max(1, k)]
    return values[0], values[-1]


def ratio(values):
    low, high = interval(values)
    return f"{median(values):6.3f} ({low:.3f}-{high:.3f})"


def on_cpu(cpu, command):
    return ["taskset", "-c", str(cpu)] + command


def process_cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def machine_busy():
    """Seconds, of all processors; what the hypervisor took is not in it."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:8]]
    user, nice, system, _, _, irq, softirq = ticks
    return (user + nice + system + irq + softirq) * TICK


def wait_until_quiet(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        busy = machine_busy()
        time.sleep(0.5)
        if machine_busy() - busy < 0.05:
            return


class Wsload:
    """The load generator of $WSLOAD (../shared/bench), compiled in `work`."""

    def __init__(self, work, *flags):
        source = os.environ.get(
            "WSLOAD", os.path.join(HERE, "../../shared/bench")) + "/wsload.c"
        self.program = os.path.join(work, "wsload")
        if not os.path.exists(source):
            die(f"no {source}: set WSLOAD to the directory that has it")
        subprocess.run(["cc", "-O3", "-o", self.program, source, *flags],
                       check=True)

    def load(self, server, *options, cpu=LOAD_CPU):
        command = [self.program, "-j", "-p", str(server.port), "--pid",
                   str(server.pid)]
        done = subprocess.run(
            on_cpu(cpu, command + [str(option) for option in options]),
            stdout=subprocess.PIPE, text=True, timeout=300)
        result = json.loads(done.stdout)
        if result["errors"]:
            die(f"wsload counted {result['errors']} errors")
        return result


class Load:
    """Our own load generator, load.c, of a build's `bin`."""

    def __init__(self, bin):
        self.program = os.path.join(bin, "load")
        if not os.path.exists(self.program):
            die(f"no {self.program}")

    def load(self, server, *options, cpu=LOAD_CPU):
        command = [self.program, "--port", str(server.port), "--pid",
                   str(server.pid)]
        done = subprocess.run(
            on_cpu(cpu, command + [str(option) for option in options]),
            stdout=subprocess.PIPE, text=True, timeout=300)
        if done.returncode:
            die(f"the load on {server.command[0]} has failed: "
                + " ".join(str(option) for option in options))
        return json.loads(done.stdout)


class Server:
    """A server that runs inside a `with`."""

    def __init__(self, command, port=None, cpu=SERVER_CPU):
        self.command, self.port, self.cpu = command, port, cpu

    def __enter__(self):
        out = subprocess.DEVNULL if self.port else subprocess.PIPE
        self.process = subprocess.Popen(
            on_cpu(self.cpu, self.command), stdin=subprocess.DEVNULL,
            stdout=out, text=True)
        if not self.port:
            line = self.process.stdout.readline()
            found = re.search(r":(\d+)/?$", line.strip())
            if not found:
                self.process.kill()
                die(f"{self.command[0]} does not listen: {line}")
            self.port = int(found[1])
        self.pid = self.process.pid
        self.wait_for_port()
        return self

    def wait_for_port(self):
        """In the kernel's list, so that it costs the server nothing."""
        entry = f" 0100007F:{self.port:04X} 00000000:0000 0A "
        for _ in range(100):
            with open("/proc/net/tcp") as file:
                if entry in file.read():
                    return
            time.sleep(0.05)
        self.process.kill()
        die(f"{self.command[0]} does not listen")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def negotiated(port):
    """"TLSv1.2, SUITE, group GROUP" with OpenSSL as the client."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", timeout=20)
    suite = re.search(r"New, (\S+), Cipher is (\S+)", done.stdout)
    group = re.search(r"Server Temp Key: (.*)", done.stdout)
    if not suite:
        die("no TLS: " + done.stdout[-200:])
    return f"{suite[1]}, {suite[2]}, {group[1] if group else '-'}"
