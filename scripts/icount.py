# SPDX-License-Identifier: GPL-2.0
"""A lane as a counter of instructions.

One processor, whose clock advances by a nanosecond with each instruction, and
nothing that could differ from boot to boot: no random numbers, no clock of the
host's, addresses that are always the same.
"""
import vm

QEMU_ARGS = ['-icount', 'shift=0,sleep=off', '-seed', '1', '-rtc', 'base=2024-01-01,clock=vm']
CPU = {'x86': 'max,la57=off,rdrand=off,rdseed=off',
       # The timer must run as fast as instructions are counted.
       'arm64': 'max,cntfrq=1000000000'}
MACHINE = {'x86': '', 'arm64': ',dtb-randomness=off'}


def machine(lane_name):
    lane = vm.lanes()[lane_name]
    arch = lane['arch']
    return lane | {
        'machine': lane['machine'] + MACHINE[arch], 'cpu': CPU[arch], 'memory': '4G', 'smp': 1,
        'qemu_args': lane.get('qemu_args', []) + QEMU_ARGS,
        'kernel_args': f'{lane["kernel_args"]} hugepages=300 nokaslr norandmaps quiet'}
