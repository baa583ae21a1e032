# SPDX-License-Identifier: GPL-2.0
"""Boot vfio-map-bench and read what it counted, or count what it called.

A row is named "memory size live", as the program prints it; its counts are
(map, unmap, runs).
"""
import bisect
import collections
import dataclasses
import io
import json
import os
import re
import subprocess
import threading
import time

import vm

PROGRAM = 'vfio-map-bench'
BOOT_SECONDS = 1800
END = b'end\n'
ROW = re.compile(r'^ +# (\S+ +\S+ +\d+) +(\d+) +(\d+) +(\d+)$')


# What is measured: title, kernel, interface.
SUBJECTS = (
    ('6.1 type1', 'stock', 'type1'),
    ('6.12 type1', 'peer', 'type1'),
    ('6.12 iommufd', 'peer', 'compat'),
    ('ours type1', 'plain', 'type1'),
    ('ours iommufd', 'plain', 'iommufd'),
    ('floor', 'plain', 'floor'),
)
OURS = ('ours type1', 'ours iommufd')
PEERS = ('6.1 type1', '6.12 type1', '6.12 iommufd')
TITLES = {
    '4k': '4 KiB pages', 'scattered': 'scattered 4 KiB', 'thp': 'THP', 'hugetlb': 'hugetlb 2 MiB',
    'memfd': 'memfd hugetlb', 'attach': 'second device:', 'domain': 'device at a HWPT:',
    'two': 'with that HWPT:', 'copy': 'COPY of', 'unmap-all': 'unmap-all of', 'memory': 'memory'}


def key_title(key):
    """A row's name for people, and what its cost is per."""
    memory, size, live = key.split()
    if memory == 'unmap-all':
        return f'unmap-all of {int(live):,} (each)'
    if memory in ('attach', 'domain', 'two', 'copy'):
        return f'{TITLES[memory]} {TITLES[size]} (page)'
    if live != '0':
        return f'{TITLES[memory]}, one among {int(live):,}'
    return f'{TITLES[memory]}, {size[:-1]} {size[-1]}iB' + (' (page)' if size == '512M' else '')


class Failed(Exception):
    pass


def rows_of(folder):
    with open(os.path.join(folder, 'ktap.log'), errors='replace') as text:
        found = map(ROW.match, text)
        return {' '.join(match[1].split()): tuple(int(number) for number in match.groups()[1:])
                for match in found if match}


def measure(out, lane, kernel, interface, rows, name):
    """{row: (map, unmap, runs)} of one boot, whose logs are in OUT/runs/NAME."""
    folder = os.path.join(out, 'runs', name)
    facts = vm.run(lane, *vm.kernel(out, lane, kernel), ['run', '-t', '0', PROGRAM], folder,
                   BOOT_SECONDS, f'BENCH={interface} ROWS={rows}')
    verdict = vm.judge(folder, facts, f'{out}/tree', [PROGRAM], lane, (), False)
    if not verdict.good:
        raise Failed(f'{verdict.reasons}; see {folder}')
    found = rows_of(folder)
    if not found:
        raise Failed(f'no rows; see {folder}')
    return found


@dataclasses.dataclass
class Symbols:
    """A kernel's functions by address."""
    starts: list
    names: list

    def name(self, address):
        at = bisect.bisect_right(self.starts, address) - 1
        return self.names[at] if at >= 0 else 'user'

    def span(self, name):
        at = self.names.index(name)
        return self.starts[at], self.starts[at + 1]

    def marks(self):
        """{address: mark} of the system calls by which the program marks what it does."""
        return {start: MARKS[match[1]] for start, name in zip(self.starts, self.names)
                if (match := re.fullmatch(r'__(?:x64|arm64)_sys_(\w+)', name)) and match[1] in MARKS}


MARKS = {'getppid': 'map', 'getpgid': 'unmap', 'getsid': 'end', 'getegid': 'row'}


def build_folder(out, lane, kernel):
    return vm.kernel(out, lane, kernel)[0].split('/arch/')[0]


def symbols(build):
    found = {}
    with open(f'{build}/System.map') as text:
        for line in text:
            address, kind, name = line.split()
            if kind in 'tTwW' and int(address, 16) >> 63 and not name.startswith('__pfx_'):
                found[int(address, 16)] = name
    starts = sorted(found)
    return Symbols(starts, [found[start] for start in starts])


# Events: calls of functions whose names begin so, whatever the compiler made of their ends.
EVENTS = {
    'pin': r'(pin|get)_user_pages(_fast|_remote|_unlocked)?',
    'driver': r'(intel_iommu|amd_iommu|viommu|arm_smmu)_(map_pages|map_extents|unmap_pages|iova_to_phys)',
    'flush': r'qi_submit_sync|__iommu_queue_command_sync|arm_smmu_cmdq_issue_cmdlist|virtqueue_notify',
}
PC = re.compile(rb'\[[0-9a-f]+/([0-9a-f]{16})/')


class Guest:
    """QEMU with a control channel, and its log of executed code in a pipe."""

    def __init__(self, out, lane, kernel, name, kernel_args):
        self.folder = os.path.join(out, 'runs', name)
        os.makedirs(self.folder, exist_ok=True)
        console, self.ktap, self.pipe = (os.path.join(self.folder, file)
                                         for file in ('console.log', 'ktap.log', 'exec.pipe'))
        open(self.ktap, 'w').close()
        if os.path.exists(self.pipe):
            os.unlink(self.pipe)
        os.mkfifo(self.pipe)
        # Open for both: QEMU need not wait for a reader, and there is no end before ours.
        self.log = open(self.pipe, 'rb+', buffering=0)
        command = vm.command_line(
            lane, *vm.kernel(out, lane, kernel), ['run', '-t', '0', PROGRAM], kernel_args,
            ['-chardev', f'file,id=console,path={console}', '-serial', 'chardev:console',
             '-chardev', f'file,id=ktap,path={self.ktap}', *vm.arch(lane).ktap_args, '-qmp', 'stdio'])
        self.process = subprocess.Popen([*command, '-D', self.pipe], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ended = False
        threading.Thread(target=self.swallow, daemon=True).start()
        self.say('qmp_capabilities')

    def swallow(self):
        for _ in self.process.stdout:
            pass
        if not self.ended:
            self.log.write(b'\n' + END)

    def say(self, command, **arguments):
        self.process.stdin.write(json.dumps({'execute': command, 'arguments': arguments}) + '\n')
        self.process.stdin.flush()

    def monitor(self, line):
        self.say('human-monitor-command', **{'command-line': line})

    def wait_for(self, words, seconds):
        """What the program has said when it said `words`."""
        limit, text = time.monotonic() + seconds, ''
        while words not in text:
            time.sleep(0.2)
            with open(self.ktap, errors='replace') as said:
                text = said.read()
            if time.monotonic() > limit or self.process.poll() is not None or 'ok 1' in text:
                raise Failed(f'{PROGRAM} did not say "{words}"; see {self.folder}')
        return text

    def addresses(self, seconds):
        """Of what is executed, as the log has them, until the guest ends or the time is up."""
        late = threading.Timer(seconds, self.process.kill)
        late.start()
        try:
            for line in io.BufferedReader(self.log, 1 << 20):
                match = PC.search(line)
                if match:
                    yield match[1]
                elif line == END:
                    return
        finally:
            late.cancel()

    def end(self):
        self.ended = True
        self.process.kill()
        self.process.wait()
        os.unlink(self.pipe)


def events(out, lane, kernel, interface, name):
    """{row: {'map': {event: times}, 'unmap': ...}}, from a boot in which nothing is timed.

    QEMU logs where it enters a block of instructions, for the first instruction of each function that
    is an event or a mark: the kernel is the one that is measured, and knows nothing of it.
    """
    table = symbols(build_folder(out, lane, kernel))
    what = {start: event for start, function in zip(table.starts, table.names)
            for event, pattern in EVENTS.items() if re.fullmatch(pattern, function.split('.')[0])
            and not function.endswith('.cold')}
    what |= table.marks()
    what = {f'{start:016x}'.encode(): event for start, event in what.items()}
    watched = dict(lane, qemu_args=[*lane['qemu_args'], '-dfilter', ','.join(f'0x{start.decode()}+1' for start in what)])
    guest = Guest(out, watched, kernel, name, f'BENCH={interface} ROWS=once')
    found, phase, counts, before = [], None, None, None
    try:
        guest.wait_for('unmap     runs', BOOT_SECONDS)
        guest.monitor('log exec,nochain')
        for address in guest.addresses(BOOT_SECONDS):
            event = what.get(address)
            # A block that QEMU left before its first instruction, for an interrupt, is there twice.
            if event in MARKS.values() and event == before:
                continue
            before = event
            if event == 'map' or (event == 'unmap' and phase != 'map'):     # unmap-all has one half
                counts = {'map': collections.Counter(), 'unmap': collections.Counter()}
            if event in ('map', 'unmap'):
                phase = event
            elif event == 'end':
                phase = None
            elif event == 'row':
                found.append(counts)
            elif event and phase:
                counts[phase][event] += 1
    finally:
        guest.end()
    rows = list(rows_of(guest.folder))
    if len(found) != len(rows) or not rows:
        raise Failed(f'{len(rows)} rows, but {len(found)} marks of them; see {guest.folder}')
    return dict(zip(rows, found))
