"""What the benchmarks of this directory share."""
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


def on_cpu(cpu, command):
    return ["taskset", "-c", str(cpu)] + command


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


class Server:
    """A server that runs inside a `with`."""

    def __init__(self, command, port=None):
        self.command, self.port = command, port

    def __enter__(self):
        out = subprocess.DEVNULL if self.port else subprocess.PIPE
        self.process = subprocess.Popen(
            on_cpu(SERVER_CPU, self.command), stdin=subprocess.DEVNULL,
            stdout=out, text=True)
        if not self.port:
            line = self.process.stdout.readline()
            found = re.search(r":(\d+)/?$", line.strip())
            if not found:
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
        die(f"{self.command[0]} does not listen")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
