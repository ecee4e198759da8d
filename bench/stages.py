"""Where klined's CPU time goes: perf's samples of one run, by stage, and klined's own functions.

Used by bench.py --profile. The stacks are unwound from the program's own tables, so any build will do.
"""

import collections
import re
import shutil
import signal
import subprocess
import sys

FREQUENCY = 199  # samples a second and thread
STACK_BYTES = 16384

# From the leaf of a stack to its root, the first frame that one of these knows decides: what a stage allocates, copies
# or waits for is its own.
STAGES = (
    ("parse the trades", r"TradeDecoder|TradeReader|TradeShape|find_byte|end_of_text|json_tokens|JsonTokens|simdjson|decode_part|Decimal::parse"),
    ("tell duplicates", r"DedupeWindow"),
    ("send to Kafka", r"KafkaPublisher|Outbox"),
    ("encode candles", r"fill_kline|KlinesEncoder|SerializeAsString|proto::Kline"),
    ("Redis", r"Redis|KnownVersions|UpdateQueue|redis[A-Z]|sdscat"),
    ("write to MySQL", r"ClaimTransaction|MySql|CommitProtocol|CandleReader|Pipeline::(run_commit|load|scan_bucket)|mysql_"),
    ("close, evict", r"CandleBook::(evict|shrink|close_until|visit_next|drop_pair|unwatch_end)"),
    ("add to candles", r"CandleBook::(add|pair_of|end_batch|merge_delta|node_of|mark_|watch_end|loaded)|Candle::(add|merge|of)"),
    ("changes out", r"CandleBook|Lane::(publish|take_snapshot)"),
    ("take from librdkafka", r"KafkaSource|MessageBatch"),
    ("put in order", r"Sequencer|PartitionProgress|group_parts"),
    ("lanes' turns", r"LaneRunner|klined::Lane::"),
    ("hand over batches", r"Pipeline::(ingest|tick_lanes)|DecodedBatch"),
)
# What no frame decides is the thread's.
THREADS = (("librdkafka's threads: fetch, unpack, send", r"rdk:"), ("start and end of the process", r"klined$"))
OTHER = "waking threads, the rest"

_STAGES = [(name, re.compile(pattern)) for name, pattern in STAGES]
_THREADS = [(name, re.compile(pattern)) for name, pattern in THREADS]


def record(pid, file):
    """Starts perf on the process; end it with finish()."""
    if shutil.which("perf") is None:
        sys.exit("bench: --profile needs perf: apt-get install linux-perf")
    return subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "--call-graph",
                             f"dwarf,{STACK_BYTES}", "-p", str(pid), "-o", file],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(recorder):
    recorder.send_signal(signal.SIGINT)
    _, errors = recorder.communicate(timeout=600)
    if recorder.returncode not in (0, -signal.SIGINT):
        sys.exit(f"bench: perf ended with {recorder.returncode}: {errors.strip()[-500:]}")


def samples(file):
    """(thread's name, frames from the leaf to the root) of each sample."""
    script = subprocess.Popen(["perf", "script", "--no-inline", "-i", file, "-F", "comm,ip,sym,dso"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace")
    thread, frames = None, []
    for line in script.stdout:
        if line.startswith(("\t", " ")) and thread is not None and line.strip():
            frames.append(line.split(None, 1)[1].strip())
        elif line.strip():
            thread, frames = line.strip(), []
        elif thread is not None:
            yield thread, frames
            thread, frames = None, []
    if thread is not None:
        yield thread, frames
    script.wait()


def stage_of(thread, frames):
    for frame in frames:
        for name, pattern in _STAGES:
            if pattern.search(frame):
                return name
    for name, pattern in _THREADS:
        if pattern.search(thread):
            return name
    return OTHER


def short_name(frame):
    """klined's function of a frame, without arguments; None where it is of no other's."""
    if not frame.endswith("/klined)"):
        return None
    return re.sub(r"\(anonymous namespace\)::|\s*\(/.*\)$|\(.*", "", frame)


def breakdown(file):
    """{"stages": {name: share}, "functions": {name: share}}, the largest first; shares of all samples."""
    stages, functions, count = collections.Counter(), collections.Counter(), 0
    for thread, frames in samples(file):
        count += 1
        stages[stage_of(thread, frames)] += 1
        if frames and (name := short_name(frames[0])):
            functions[name] += 1
    if count == 0:
        sys.exit("bench: perf took no samples")
    return {"samples": count, "stages": {name: n / count for name, n in stages.most_common()},
            "functions": {name: n / count for name, n in functions.most_common(12)}}


_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")


def picture(found, title):
    """An SVG: a bar a stage, with nanoseconds of CPU a trade."""
    width, left, row, top = 860, 290, 26, 46
    stages = list(found["stages"].items())
    scale = (width - left - 150) / max(share for _, share in stages)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + row * len(stages) + 14}" '
             'font-family="sans-serif" font-size="14">', '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="14" y="26" font-size="16" font-weight="bold">{title}</text>']
    for i, (name, share) in enumerate(stages):
        y, length = top + row * i, max(1, scale * share)
        lines += [f'<text x="{left - 10}" y="{y + 17}" text-anchor="end">{name}</text>',
                  f'<rect x="{left}" y="{y + 3}" width="{length:.0f}" height="{row - 7}" fill="{_COLOURS[i % len(_COLOURS)]}"/>',
                  f'<text x="{left + length + 8:.0f}" y="{y + 17}">{share * found["ns_per_trade"]:,.0f} ns, '
                  f'{100 * share:.0f} %</text>']
    return "\n".join([*lines, "</svg>", ""])
