"""Bar charts of what bench/matrix has measured, one SVG for each group, by
gnuplot: a panel for each case, with its own scale."""
import os
import shutil
import subprocess

from measure import die, median

# Dark enough for a page of any colour: the background is always white.
COLOURS = {"uvws": "#1f6fb4", "raw": "#8c8c8c", "raw512k": "#5c5c5c"}
OTHER = "#e0a458"
PANEL = 330  # pixels
HEIGHT = 340

UNITS = {"echo": "server CPU, µs per message",
         "handshake": "server CPU, µs per handshake",
         "memory": "KiB of server memory per connection"}
PERCENTILES = [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")]


def figure(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Panel:
    """Bars, each at its place, and what stands below them."""

    def __init__(self, title, unit):
        self.title, self.unit = title, unit
        self.bars, self.tics, self.key = [], [], []

    def add(self, x, server, value):
        self.bars.append((x, value, COLOURS.get(server, OTHER)))

    def script(self, file):
        top = max(value for _, value, _ in self.bars) or 1
        print("unset label\nunset key", file=file)
        print(f'set title "{self.title}"', file=file)
        print(f'set ylabel "{self.unit}"', file=file)
        print(f"set yrange [0:{top * 1.15}]", file=file)
        last = max(x for x, _, _ in self.bars)
        print(f"set xrange [-0.7:{last + 0.7}]", file=file)
        tics = ", ".join(f'"{text}" {x}' for x, text in self.tics)
        print(f"set xtics ({tics})", file=file)
        for x, value, _ in self.bars:
            print(f'set label "{figure(value)}" at {x},{value} center '
                  "offset 0,0.5", file=file)
        plots = [f"'-' using 1:2 with boxes lc rgb '{colour}' notitle"
                 for _, _, colour in self.bars]
        plots += [f"NaN with boxes lc rgb '{COLOURS.get(name, OTHER)}' "
                  f"title '{name}'" for name in self.key]
        if self.key:
            print("set key top left", file=file)
        print("plot " + ", ".join(plots), file=file)
        for x, value, _ in self.bars:
            print(f"{x} {value}\ne", file=file)


def of(case, name, field):
    return median([run[field] for run in case["runs"][name]])


def one_for_each(case, title, unit, field):
    panel = Panel(title, unit)
    for x, name in enumerate(case["runs"]):
        panel.add(x, name, of(case, name, field))
        panel.tics.append((x, name))
    return panel


def beside_each_other(cases):
    """All in one panel, the servers of each case together."""
    panel = Panel("connections, 64 B, 1 deep", UNITS["echo"])
    panel.key = list(cases[0]["runs"])
    step = len(panel.key) + 0.6
    for i, case in enumerate(cases):
        for k, name in enumerate(case["runs"]):
            panel.add(i * step + k, name, of(case, name, "srv_us_per"))
        panel.tics.append((i * step + (len(panel.key) - 1) / 2, case["title"]))
    return panel


def panels(group, cases):
    if group == "flat":
        return [beside_each_other(cases)]
    if group == "latency":
        return [one_for_each(case, f"{case['title']}: {text}", "µs", field)
                for case in cases for field, text in PERCENTILES]
    return [one_for_each(case, case["title"], UNITS[case["what"]],
                         "kib_per_conn" if case["what"] == "memory"
                         else "srv_us_per") for case in cases]


def draw_group(group, cases, path):
    all_panels = panels(group, cases)
    rows = len(cases) if group == "latency" else 1
    columns = len(all_panels) // rows
    wide = PANEL * max(columns, 3 if group == "flat" else 1)
    gnuplot = subprocess.Popen(["gnuplot"], stdin=subprocess.PIPE, text=True)
    file = gnuplot.stdin
    print(f"set terminal svg size {wide},{HEIGHT * rows} dynamic "
          "background 'white' font 'sans-serif,12' noenhanced", file=file)
    print(f'set output "{path}"', file=file)
    print("set boxwidth 0.8\nset style fill solid noborder\nset border 3\n"
          "set xtics nomirror scale 0\nset ytics nomirror\n"
          "set grid ytics lc rgb '#dddddd'", file=file)
    print(f"set multiplot layout {rows},{columns}", file=file)
    for panel in all_panels:
        panel.script(file)
    print("unset multiplot", file=file)
    file.close()
    if gnuplot.wait() != 0:
        die("gnuplot has failed")


def draw(data, directory):
    if not shutil.which("gnuplot"):
        die("no gnuplot, no charts")
    os.makedirs(directory, exist_ok=True)
    groups = {}
    for case in data["cases"]:
        if any(case["runs"].values()):
            groups.setdefault(case["group"], []).append(case)
    for group, cases in groups.items():
        draw_group(group, cases, os.path.join(directory, group + ".svg"))
