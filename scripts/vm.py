# SPDX-License-Identifier: GPL-2.0
"""Lanes, and running a guest on one of them.

Each run has a folder of its own: console.log and ktap.log are two serial ports
of the guest, qemu.log is QEMU's own voice, command the way to start it again.
QEMU's control channel tells a power-off from a reset; a guest that has not
ended by its time limit is killed.
"""
import contextlib
import copy
import dataclasses
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import tomllib

import overlay
import verdict

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass(frozen=True)
class Arch:
    qemu: str           # program, unless the environment names another
    qemu_variable: str
    suffix: str         # of the names of kernels and programs built for it
    image: str          # in a kernel's build folder
    kernel_args: str
    ktap: str           # PID 1's port; its QEMU arguments follow
    ktap_args: tuple


COMMAND_LINE_SIZE = 2048    # x86's and arm64's
COMMON_ARGS = 'loglevel=6 panic=-1 log_buf_len=8M'
ARCHES = {
    # no_timer_check: the kernel's trial of the timer interrupt counts wall time, and panics
    # when a busy host keeps an emulated processor waiting.
    'x86': Arch('qemu-system-x86_64', 'QEMU', '', 'arch/x86/boot/bzImage',
                f'console=ttyS0,115200 {COMMON_ARGS} no_timer_check',
                '/dev/ttyS1', ('-serial', 'chardev:ktap')),
    # The machine has one serial port of its own.
    'arm64': Arch('qemu-system-aarch64', 'QEMU_ARM64', '-arm64', 'arch/arm64/boot/Image',
                  f'console=ttyAMA0 {COMMON_ARGS}',
                  '/dev/ttyS0', ('-device', 'pci-serial,chardev=ktap')),
}


def lanes():
    with open(os.path.join(HERE, 'lanes.toml'), 'rb') as text:
        read = tomllib.load(text)
    for name, lane in read.items():
        for key, value in read[lane.pop('like', name)].items():
            if key not in lane:
                lane[key] = copy.deepcopy(value)
            elif isinstance(value, dict):
                lane[key] = value | lane[key]
        # What a lane is there for is never skipped on it.
        named = sum(lane.get('tests', {}).values(), [])
        lane['may_skip'] = {key: why for key, why in lane['may_skip'].items() if key not in named}
    return read


def arch(lane):
    return ARCHES[lane['arch']]


def qemu(lane):
    return os.environ.get(arch(lane).qemu_variable, arch(lane).qemu)


def kernel(out, lane, flavour):
    """A kernel's image and initramfs, for the architecture of the lane."""
    folder = {'plain': 'kernel', 'debug': 'kernel-debug', 'stock': 'stock/kernel',
              'peer': 'peer/kernel'}[flavour]
    base = os.path.join(out, folder + arch(lane).suffix)
    return os.path.join(base, arch(lane).image), f'{base}.cpio'


def root_disk(initrd):
    """What the initramfs holds, as an ext2 file system; there is one if the kernel has the module."""
    return initrd.removesuffix('.cpio') + '.ext2'


def programs(out, lane):
    return os.path.join(out, 'programs' + arch(lane).suffix)


@functools.cache
def properties(program, device):
    """Names of a QEMU device's properties, or None if there is no such device."""
    text = subprocess.run([program, '-machine', 'none', '-device', f'{device},help'],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if text.returncode or 'not found' in text.stderr:
        return None
    return frozenset(re.findall(r'^ +([\w-]+)=<', text.stdout, re.M))


def why_not(lane):
    """Why this QEMU cannot run the lane, or None."""
    program = qemu(lane)
    if not shutil.which(program):
        return f'{program} is not installed'
    for device, wanted in lane.get('needs', {}).items():
        have = properties(program, device)
        lacking = [p for p in wanted if p not in (have or ())]
        if have is None or lacking:
            version = subprocess.run([program, '--version'], capture_output=True, text=True).stdout
            return (f'{version.splitlines()[0]}: device {device} '
                    + ('is unknown' if have is None else f'lacks {", ".join(lacking)}'))
    return None


def region_properties(lane):
    """The lane's reserved regions as QEMU's virtio-iommu takes them: 7.2 and older, then newer ones."""
    regions = lane['regions']
    old = [f'len-reserved-regions={len(regions)}',
           *(f'reserved-regions[{i}]={region}' for i, region in enumerate(regions))]
    return ','.join(old), {'reserved-regions': regions}


def device_argument(lane, device):
    """A device as QEMU takes it, with those of the lane's optional properties that it has."""
    name = device.split(',')[0]
    if name == 'virtio-iommu-pci' and 'regions' in lane:
        old, new = region_properties(lane)
        if 'len-reserved-regions' in (properties(qemu(lane), name) or ()):
            return f'{device},{old}'
        given = dict(pair.split('=') for pair in device.split(',')[1:])
        return json.dumps({'driver': name, **given, **new})
    wanted = lane.get('if_known', {}).get(name, {})
    have = properties(qemu(lane), name) or () if wanted else ()
    return ','.join([device] + [f'{key}={value}' for key, value in wanted.items() if key in have])


def command_line(lane, image, initrd, job, kernel_args, serial):
    command = [qemu(lane), '-nodefaults', '-no-user-config', '-display', 'none', '-nic', 'none',
               '-no-reboot', '-accel', 'tcg', '-machine', lane['machine'], '-cpu', lane['cpu'],
               '-m', lane['memory'], '-smp', str(lane['smp'])]
    for device in lane['devices']:
        command += ['-device', device_argument(lane, device)]
    command += lane.get('qemu_args', [])
    # What the kernel does not know, and has a value, becomes PID 1's environment.
    environment = f'KTAP={arch(lane).ktap}'
    if 'root' in lane:
        disk = root_disk(initrd).replace(',', ',,')
        command += ['-drive', f'if=none,id=root,format=raw,snapshot=on,file={disk}',
                    '-device', f'{lane["root"]},drive=root,serial=root']
        environment += ' ROOT_DISK=root'
    if 'regions' in lane:
        environment += f' REGIONS={",".join(lane["regions"])}'
    # Built-in suites run at boot, and only if asked for: the harness's own tests do without.
    kunit = 'kunit.enable=1' if 'kunit' in job else ''
    # The kernel hands 32 words to PID 1 and panics if there are more: the names are one.
    words = job[:3] + [','.join(job[3:])]
    append = ' '.join([arch(lane).kernel_args, environment, lane['kernel_args'],
                       kernel_args, kunit, '--', *words]).rstrip()
    if len(append) >= COMMAND_LINE_SIZE:
        raise ValueError(f'the command line is too long for the kernel: {append}')
    return command + serial + ['-kernel', image, '-initrd', initrd, '-append', append]


class Tail(threading.Thread):
    """Hear what programs say while the guest runs: each line, without its indent."""

    def __init__(self, path, hear):
        super().__init__(daemon=True)
        self.path, self.hear, self.done = path, hear, threading.Event()

    def run(self):
        rest, last = b'', False
        with open(self.path, 'rb') as source:
            while True:
                last = self.done.is_set()
                rest += source.read()
                *lines, rest = rest.split(b'\n')
                for line in lines:
                    text = line.decode(errors='replace').rstrip('\r')
                    if text.startswith('    #'):
                        self.hear(text[4:])
                if last:
                    return
                self.done.wait(0.05)


def show_line(text):
    print(text[2:], flush=True)


def run(lane, image, initrd, job, folder, timeout, kernel_args='', show=False, boot_timeout=None):
    """Boot once. Returns what the host saw of QEMU, for the verdict.

    A guest that has said nothing on its second port by `boot_timeout` seconds has not reached PID 1.
    A program's line "# qmp {...}" goes to QEMU's control channel: that is how a guest has a device
    taken away.
    """
    os.makedirs(folder, exist_ok=True)
    console, ktap = os.path.join(folder, 'console.log'), os.path.join(folder, 'ktap.log')
    for path in (console, ktap):
        open(path, 'w').close()
    command = command_line(lane, image, initrd, job, kernel_args, [
        '-chardev', f'file,id=console,path={console}', '-serial', 'chardev:console',
        '-chardev', f'file,id=ktap,path={ktap}', *arch(lane).ktap_args, '-qmp', 'stdio'])
    with open(os.path.join(folder, 'command'), 'w') as out:
        out.write(shlex.join(command) + '\n')

    facts = {'timeout': 0, 'shutdown': None, 'status': None, 'stderr': '', 'refused': []}
    start = time.monotonic()
    with open(os.path.join(folder, 'qemu.log'), 'w') as stderr:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=stderr, text=True)

    def hear(text):
        if text.startswith('# qmp '):
            with contextlib.suppress(OSError):
                process.stdin.write(text[len('# qmp '):] + '\n')
                process.stdin.flush()
        elif show:
            show_line(text)

    tail = Tail(ktap, hear)

    def give_up(seconds, only_silent):
        if not (only_silent and os.path.getsize(ktap)):
            facts['timeout'] = seconds
            process.kill()

    limits = [threading.Timer(timeout, give_up, (timeout, False))]
    if boot_timeout and boot_timeout < timeout:
        limits.append(threading.Timer(boot_timeout, give_up, (boot_timeout, True)))
    for limit in limits:
        limit.start()
    try:
        process.stdin.write('{"execute": "qmp_capabilities"}\n')
        process.stdin.flush()
        tail.start()
        for line in process.stdout:
            event = json.loads(line)
            if 'error' in event:
                facts['refused'].append(event['error'].get('desc'))
            if event.get('event') == 'SHUTDOWN':
                facts['shutdown'] = event['data']['reason']
    except BrokenPipeError:
        pass
    finally:
        facts['status'] = process.wait()
        for limit in limits:
            limit.cancel()
        tail.done.set()
        if tail.is_alive():
            tail.join()
    with open(os.path.join(folder, 'qemu.log')) as text:
        facts['stderr'] = text.read()
    facts['seconds'] = round(time.monotonic() - start, 1)
    with open(os.path.join(folder, 'facts.json'), 'w') as out:
        json.dump(facts, out)
    return facts


def stuck_in_calibration(folder, facts):
    """Did the guest hang where an emulated machine on a busy host does now and then?

    6.1 calibrates the local APIC timer against the PM timer. If the host did not
    run the emulated processor meanwhile, they disagree ("APIC calibration not
    consistent"), and 6.1 then waits for timer interrupts that may never come.
    Nothing else has run by then.
    """
    if not facts['timeout'] or os.path.getsize(os.path.join(folder, 'ktap.log')):
        return False
    with open(os.path.join(folder, 'console.log'), errors='replace') as text:
        return 'APIC calibration' in ''.join(text.readlines()[-5:])


def our_suites():
    """KUnit suites that the overlay's sources define: each of them must report."""
    files, _ = overlay.split(overlay.repo_files())
    return verdict.kunit_suites(os.path.join(overlay.REPO, path) for path in files
                                if path.endswith('.c') and not path.startswith('tools/'))


def judge(folder, facts, tree, expected, lane, suites=(), speaks_ktap=True):
    result, said = verdict.judge(
        facts, verdict.lines_of(os.path.join(folder, 'console.log')),
        verdict.lines_of(os.path.join(folder, 'ktap.log')), tree,
        verdict.load_rules(os.path.join(HERE, 'splats.conf')), expected, suites,
        lane.get('may_skip', {}), speaks_ktap)
    with open(os.path.join(folder, 'parsed.log'), 'w') as out:
        out.write(said)
    return result
