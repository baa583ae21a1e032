# SPDX-License-Identifier: GPL-2.0
"""Tests of lsiommu on trees: lsiommu_test.py LSIOMMU LSIOMMU_VFIO_TEST [RESULTS.json]

Trees in lsiommu_trees/ were recorded on running kernels with --record; others
are made here, as odd as a tree can be. What the program computes is compared
with a model of a few lines, on trees of random regions.
"""
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GIB, TIB = 1 << 30, 1 << 40
TOP = (1 << 64) - 1
WIDTH = 64
TESTS = []


def test(function):
    TESTS.append(function)
    return function


class Tree:
    """A folder that stands for / of some machine."""

    def __init__(self, scratch, recorded=None):
        self.root = tempfile.mkdtemp(dir=scratch)
        if recorded:
            with open(f'{HERE}/lsiommu_trees/{recorded}.tree') as text:
                self.unpack(text.read())

    def path(self, name):
        path = os.path.join(os.fsencode(self.root), os.fsencode(name).lstrip(b'/'))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def file(self, name, text):
        with open(self.path(name), 'wb') as out:
            out.write(text if isinstance(text, bytes) else text.encode())

    def folder(self, name):
        os.makedirs(self.path(name), exist_ok=True)

    def link(self, name, target):
        path = self.path(name)
        if not os.path.lexists(path):
            os.symlink(target, path)

    def unpack(self, text):
        content, name = {}, None
        for line in text.splitlines():
            word, _, rest = line.partition(' ')
            if line.startswith('|'):
                content[name] += line[1:] + '\n'
            elif word == 'file':
                name = rest
                content[name] = ''
            elif word == 'link':
                self.link(*rest.split(' ', 1))
            elif word == 'dir':
                self.folder(rest)
        for name, text in content.items():
            self.file(name, text)

    def group(self, number, regions=(), geometry=(0, (1 << 48) - 1), devices=('0000:00:01.0',),
              driver='vfio-pci', iommu='../../virtual/iommu/dmar0', text=None):
        folder = f'/sys/kernel/iommu_groups/{number}'
        self.folder(f'{folder}/devices')
        for device in devices:
            where = os.fsencode(f'{folder}/devices/') + os.fsencode(device)
            for name, value in ('vendor', '0x1234\n'), ('device', '0x11e8\n'), ('class', '0x00ff00\n'):
                self.file(where + b'/' + name.encode(), value)
            self.link(where + b'/subsystem', '../../../bus/pci')
            if driver:
                self.link(where + b'/driver', b'../../drivers/' + os.fsencode(driver))
            if iommu:
                self.link(where + b'/iommu', iommu)
        self.file(f'{folder}/type', 'DMA\n')
        if geometry:
            self.file(f'{folder}/geometry', f'aperture {geometry[0]:#018x} {geometry[1]:#018x} enforced\n'
                                            'page_sizes 0x40201000\n')
        lines = ''.join(f'{start:#018x} {last:#018x} {kind}\n' for start, last, kind in regions)
        self.file(f'{folder}/reserved_regions', lines if text is None else text)
        return self


class Runner:
    def __init__(self, program, vfio_test, scratch):
        self.program, self.vfio_test, self.scratch = program, vfio_test, scratch

    def tree(self, recorded=None):
        return Tree(self.scratch, recorded)

    def run(self, tree, *args, status=0, **kwargs):
        done = subprocess.run([self.program, '--root', tree.root, *args], capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60, **kwargs)
        said = done.stderr.decode(errors='replace')
        assert done.returncode == status, f'{args}: status {done.returncode}, not {status}: {said[:600]}'
        return done.stdout

    def json(self, tree, *args, status=0):
        answer = json.loads(self.run(tree, '--json', *args, status=status))
        assert answer['lsiommu'] == 1 and answer['status'] == status, answer['status']
        return answer['groups']

    def one(self, tree, *args, status=0):
        groups = self.json(tree, *args, status=status)
        assert len(groups) == 1, groups
        return groups[0]

    def text(self, tree, *args, status=0):
        text = self.run(tree, *args, status=status).decode('ascii')
        assert re.fullmatch(r'[\n -~]*', text), 'a control character'
        return text


def pairs(ranges):
    return [(int(r['start'], 16), int(r['last'], 16)) for r in ranges]


def maps(text):
    return re.findall(r'^  to (\d+ \w+) +\|(.{64})\|$', text, re.M)


def equal(got, wanted):
    assert got == wanted, f'got {got}, not {wanted}'


# Recorded trees

RECORDED = ('intel', 'amd', 'virtio', 'smmuv3', 'virtio-arm', 'intel-stock', 'smmuv3-stock')


@test
def recorded_output_is_valid(r):
    for name in RECORDED:
        tree = r.tree(name)
        text = r.text(tree)
        assert max(map(len, text.split('\n'))) <= 100, name
        assert len(maps(text)) >= len(r.json(tree)) > 0, name
        for group in r.json(tree):
            equal(group['problems'], [])
            assert group['usable'] and group['reserved'] and group['devices'], name


@test
def recorded_states(r):
    wanted = {'intel': ['unbound', 'free', 'free', 'unbound'], 'amd': ['unbound', 'free', 'free', 'unbound'],
              'virtio': ['free', 'free'], 'smmuv3': ['kernel', 'free', 'free'],
              'virtio-arm': ['kernel', 'free', 'free'], 'smmuv3-stock': ['kernel', 'free']}
    for name, states in wanted.items():
        tree = r.tree(name)
        tree.folder('/proc')
        equal([g['state'] for g in r.json(tree)], states)


@test
def recorded_geometry(r):
    def geometry(name):
        group = r.json(r.tree(name))[0]
        return group['iommu_kind'], group['geometry'] and (
            *pairs([group['geometry']])[0], group['geometry']['source'])

    equal(geometry('intel'), ('VT-d', (0, (1 << 48) - 1, 'sysfs')))
    equal(geometry('intel-stock'), ('VT-d', (0, (1 << 48) - 1, 'vt-d cap')))
    equal(geometry('amd'), ('AMD-Vi', (0, TOP, 'sysfs')))
    equal(geometry('virtio'), ('virtio-iommu', (0, TOP, 'sysfs')))
    equal(geometry('smmuv3'), ('SMMU', (0, (1 << 39) - 1, 'sysfs')))
    equal(geometry('smmuv3-stock'), ('SMMU', None))


@test
def recorded_usable(r):
    equal(pairs(r.json(r.tree('intel'))[3]['usable']),
          [(0, 0xfedfffff), (0xfef00000, (1 << 48) - 1)])
    equal(pairs(r.json(r.tree('amd'))[0]['usable']),
          [(0, 0xfedfffff), (0xfef00000, 0xfcffffffff), (TIB, TOP)])
    equal(pairs(r.json(r.tree('smmuv3'))[0]['usable']),
          [(0, 0x7ffffff), (0x8100000, (1 << 39) - 1)])


@test
def recorded_msi_windows(r):
    def window(name):
        return [(*pair, w['translated']) for g in r.json(r.tree(name), '0')
                for w, pair in zip(g['msi_windows'], pairs(g['msi_windows']))]

    equal(window('intel'), [(0xfee00000, 0xfeefffff, False)])
    equal(window('smmuv3'), [(0x8000000, 0x80fffff, True)])
    equal(window('virtio-arm'), [(0x8090000, 0x809ffff, False)])


@test
def recorded_maps(r):
    equal(maps(r.text(r.tree('intel'), '3')),
          [('256 TiB', 'm' + '.' * 63), ('4 GiB', 'x' + '.' * 62 + 'm')])
    equal(maps(r.text(r.tree('amd'), '0')),
          [('16 EiB', 'r' + '.' * 63), ('1 TiB', 'm' + '.' * 62 + 'r')])
    equal(maps(r.text(r.tree('smmuv3'), '1')),
          [('512 GiB', 'm' + '.' * 63), ('4 GiB', '..m' + '.' * 61)])


@test
def recorded_virtual_machines(r):
    for name, device, arguments, status in (
            ('intel', '00:01.0', ('--vm', '64G'), 0),
            ('intel', '00:01.0', ('--vm', '255T'), 0),
            ('intel', '00:01.0', ('--vm', '256T'), 1),
            ('intel-stock', '00:01.0', ('--vm', '64G'), 0),
            ('intel-stock', '00:01.0', ('--vm', '200T'), 3),
            ('intel-stock', '00:01.0', ('--vm', '300T'), 1),
            ('amd', '00:02.0', ('--vm', '64G'), 0),
            ('amd', '00:02.0', ('--vm', '2T'), 0),
            ('amd', '00:02.0', ('--vm', '2T', '--machine', 'q35-7.0'), 1),
            ('amd', '00:02.0', ('--vm', '2T', '--machine', 'pc-7.0'), 1),
            ('virtio', '00:02.0', ('--vm', '2T'), 0),
            ('smmuv3', '00:01.0', ('--vm', '511G'), 0),
            ('smmuv3', '00:01.0', ('--vm', '512G'), 1),
            ('smmuv3', '00:01.0', ('--vm', '512G', '--machine', 'q35'), 1),
            ('smmuv3', '00:01.0', ('--vm', '64M', '--machine', 'q35'), 0),
            ('smmuv3', '00:01.0', ('--vm', '2G', '--machine', 'pc'), 1),
            ('smmuv3-stock', '00:01.0', ('--vm', '1G'), 3),
            ('smmuv3-stock', '00:01.0', ('--vm', '1G', '--machine', 'q35'), 1)):
        tree = r.tree(name)
        group = r.one(tree, *arguments, device, status=status)
        equal(group['vm']['verdict'], ('can', 'cannot', None, 'unknown')[status])
        equal(bool(group['vm']['in_the_way']), status == 1)
        text = r.text(tree, *arguments, device, status=status)
        equal('CAN be mapped' in text, status == 0)
        equal('CANNOT be mapped' in text, status == 1)
        equal('  in the way' in text, status == 1)


@test
def recorded_holders(r):
    tree = r.tree('intel')
    tree.file('/proc/4321/comm', 'qemu-system-x86\n')
    tree.link('/proc/4321/fd/9', '/dev/vfio/vfio')
    tree.link('/proc/4321/fd/10', '/dev/vfio/1')
    tree.file('/proc/77/comm', 'dpdk\n')
    tree.link('/proc/77/fd/3', '/dev/vfio/devices/vfio1')
    tree.link('/proc/77/fd/4', '/dev/null')
    groups = r.json(tree)
    equal([g['state'] for g in groups], ['unbound', 'open', 'open', 'unbound'])
    equal([[(h['pid'], h['comm'], h['file']) for h in g['holders']] for g in groups],
          [[], [(4321, 'qemu-system-x86', '/dev/vfio/1')], [(77, 'dpdk', '/dev/vfio/devices/vfio1')], []])
    assert 'group 1: in use by qemu-system-x86 (pid 4321)\n' in r.text(tree)
    assert all(g['holders_complete'] for g in groups)


@test
def recorded_again(r):
    """A record of a tree is that tree, and is only of what is needed."""
    for name in RECORDED:
        tree, again = r.tree(name), r.tree()
        tree.file('/proc/4321/comm', 'qemu\n')
        tree.link('/proc/4321/fd/10', '/dev/vfio/1')
        tree.link('/proc/4321/fd/11', '/home/secret')
        record = r.run(tree, '--record').decode()
        assert 'secret' not in record
        again.unpack(record)
        equal(r.json(again), r.json(tree))


# The layout of a virtual machine

def ram(r, tree, *args, status=0):
    return pairs(r.one(tree, *args, status=status)['vm']['ram'])


@test
def layout_of_a_pc(r):
    tree = r.tree().group(0)
    for machine, fits, low in ('q35', 0xb0000000, 0x80000000), ('pc', 0xe0000000, 0xc0000000):
        mib = fits >> 20
        equal(ram(r, tree, '--machine', machine, '--vm', f'{mib - 1}M'), [(0, fits - (1 << 20) - 1)])
        equal(ram(r, tree, '--machine', machine, '--vm', f'{mib}M'),
              [(0, low - 1), (4 * GIB, 4 * GIB + fits - low - 1)])


@test
def layout_of_virt(r):
    tree = r.tree().group(0)
    equal(ram(r, tree, '--machine', 'virt', '--vm', '512K'), [(GIB, GIB + (512 << 10) - 1)])
    equal(ram(r, tree, '--machine', 'virt', '--vm', '3GiB'), [(GIB, 4 * GIB - 1)])


@test
def layout_around_hypertransport(r):
    """QEMU moves RAM when the 32 GiB (pc: 2 GiB) behind it would reach 1012 GiB."""
    amd = r.tree().group(0, iommu='../0000:00:00.2/iommu/ivhd0', geometry=(0, TOP))
    intel = r.tree().group(0, geometry=(0, TOP))
    for machine, stays, low in ('q35', 978, 2), ('pc', 1009, 3):
        for size, start in (stays, 4 * GIB), (stays + 1, TIB):
            high = (size - low) * GIB
            equal(ram(r, amd, '--machine', machine, '--vm', f'{size}G'),
                  [(0, low * GIB - 1), (start, start + high - 1)])
            equal(ram(r, intel, '--machine', machine, '--vm', f'{size}G')[1][0], 4 * GIB)
            equal(ram(r, amd, '--machine', f'{machine}-7.0', '--vm', f'{size}G')[1][0], 4 * GIB)


@test
def machine_follows_the_iommu(r):
    for iommu, machine in (('../../virtual/iommu/dmar3', 'q35'), ('../x/iommu/ivhd1', 'q35'),
                           ('../x/iommu/smmu3.0x0000000009050000', 'virt')):
        equal(r.one(r.tree().group(0, iommu=iommu), '--vm', '1G')['vm']['machine'], machine)


@test
def given_ranges(r):
    tree = r.tree().group(0, [(0xa0000, 0xbffff, 'reserved')])
    equal(ram(r, tree, '--ranges', '0x0-0x9ffff,0xc0000-0x7fffffff,4294967296-0x1ffffffff'),
          [(0, 0x9ffff), (0xc0000, 0x7fffffff), (4 * GIB, 8 * GIB - 1)])
    group = r.one(tree, '--ranges', '0x0-0x7fffffff', status=1)
    equal([(*pair, o['why']) for o, pair in zip(group['vm']['in_the_way'], pairs(group['vm']['in_the_way']))],
          [(0xa0000, 0xbffff, 'reserved')])
    equal(ram(r, r.tree().group(0, geometry=(0, TOP)), '--ranges', f'0x0-{TOP:#x}'), [(0, TOP)])


# What is in the way

@test
def what_binds(r):
    for kind, status in ('direct', 1), ('reserved', 1), ('msi', 1), ('direct-relaxable', 0):
        tree = r.tree().group(0, [(0x1000, 0x1fff, kind)])
        group = r.one(tree, '--vm', '1G', status=status)
        equal(group['reserved'][0]['binds'], bool(status))
        equal(pairs(group['usable'])[0], (0, 0xfff) if status else (0, (1 << 48) - 1))
        if status:
            text = r.text(tree, '--vm', '1G', status=1)
            assert re.search(r'in the way +0x0*1000 - 0x0*1fff +4 KiB +' + kind, text), text


@test
def the_worst_verdict_counts(r):
    tree = r.tree().group(0).group(1, [(0, 0xfff, 'direct')]).group(2, geometry=None, iommu=None)
    r.json(tree, '--vm', '1G', '0')
    r.json(tree, '--vm', '1G', '--machine', 'q35', '0', '2', status=3)
    r.json(tree, '--vm', '1G', '--machine', 'q35', status=1)


@test
def outside_of_the_geometry(r):
    tree = r.tree().group(0, geometry=(1 << 24, (1 << 31) - 1))
    group = r.one(tree, '--ranges', '0x0-0xffffffff', status=1)
    equal(pairs(group['vm']['in_the_way']), [(0, (1 << 24) - 1), (1 << 31, (1 << 32) - 1)])
    r.one(tree, '--ranges', '0x1000000-0x7fffffff')
    r.one(tree, '--ranges', '0x0-0xffffff', status=1)


@test
def edges_of_the_space(r):
    for regions, usable in (
            ([(0, TOP, 'reserved')], []),
            ([(0, 0, 'reserved'), (TOP, TOP, 'msi')], [(1, TOP - 1)]),
            ([(0, TOP - 1, 'reserved')], [(TOP, TOP)]),
            ([(1, TOP, 'direct')], [(0, 0)]),
            ([(5, 9, 'msi'), (5, 20, 'direct'), (8, 12, 'reserved')], [(0, 4), (21, TOP)])):
        group = r.one(r.tree().group(0, regions, geometry=(0, TOP)))
        equal(pairs(group['usable']), usable)
        r.text(r.tree().group(0, regions, geometry=(0, TOP)), '--ranges', '0x0-0xffffffffffffffff', status=1)


@test
def width_from_registers(r):
    def geometry(iommu, attribute, value):
        tree = r.tree().group(0, geometry=None, iommu=f'../../virtual/iommu/{iommu}')
        tree.file(f'/sys/class/iommu/{iommu}/{attribute}', value + '\n')
        found = r.one(tree)['geometry']
        return found and int(found['last'], 16).bit_length()

    equal(geometry('dmar0', 'intel-iommu/cap', 'd2008c222f0606'), 48)
    equal(geometry('dmar0', 'intel-iommu/cap', f'{38 << 16 | 2 << 8:x}'), 39)
    equal(geometry('dmar0', 'intel-iommu/cap', f'{47 << 16 | 2 << 8:x}'), 39)
    equal(geometry('dmar0', 'intel-iommu/cap', f'{56 << 16 | 14 << 8:x}'), 57)
    for text in '', 'nonsense', '-1', '123456789abcdef01':
        equal(geometry('dmar0', 'intel-iommu/cap', text), None)
    equal(geometry('ivhd0', 'amd-iommu/features', '0:29d3'), 64)
    equal(geometry('ivhd0', 'amd-iommu/features', '25bf732fa2295afe:1d'), 48)
    equal(geometry('ivhd0', 'amd-iommu/features', f'0:{1 << 10:x}'), 57)
    equal(geometry('ivhd0', 'amd-iommu/features', f'0:{3 << 10:x}'), None)


# Who has it

@test
def drivers_and_states(r):
    for driver, state in ((None, 'unbound'), ('vfio-pci', 'free'), ('mlx5-vfio-pci', 'kernel'),
                          ('e1000e', 'kernel'), ('pci-stub', 'unbound'), ('pcieport', 'unbound')):
        tree = r.tree().group(0, driver=driver)
        tree.folder('/proc')
        equal(r.one(tree)['state'], state)
    # What makes a device VFIO's is not the name of its driver.
    tree = r.tree().group(0, driver='mlx5-vfio-pci')
    tree.folder('/proc')
    tree.folder('/sys/kernel/iommu_groups/0/devices/0000:00:01.0/vfio-dev/vfio5')
    equal(r.one(tree)['state'], 'free')
    equal(r.one(tree)['devices'][0]['vfio_device'], 'vfio5')
    # One device of the kernel's keeps the others from being used.
    tree.group(0, driver='ahci', devices=('0000:00:1f.2',))
    equal(r.one(tree)['state'], 'kernel')
    equal(r.one(r.tree().group(0, devices=()))['state'], 'empty')


@test
def what_cannot_be_seen_is_not_free(r):
    tree = r.tree().group(0)
    equal(r.one(tree)['state'], 'vfio')
    tree.file('/proc/5/fd', 'no folder')
    group = r.one(tree)
    equal((group['state'], group['holders_complete']), ('vfio', False))
    os.unlink(tree.path('/proc/5/fd'))
    group = r.one(tree)
    equal((group['state'], group['holders_complete']), ('free', True))


# Odd trees

@test
def lines_that_are_not_understood(r):
    good = '0x0000000000001000 0x0000000000001fff msi\n'
    for bad in ('nonsense\n', '0x2000 0x1000 reserved\n', '0x1000 reserved\n', '0x1000 0x2000\n',
                '0x1000 0x2000 \n', '0x1000 0x10000000000000000 reserved\n', '-0x1 0x2000 reserved\n',
                '0x 0x2000 reserved\n', '0x1000 0x2000 ' + 'x' * 100 + '\n', '\0\n',
                '0x1000 0x2000 reserved more\n', '0x1000  0x2000 reserved\n', '\x1b[31m\n'):
        tree = r.tree().group(0, text=good + bad + '0x0000000000003000 0x0000000000003fff msi')
        group = r.one(tree, status=3)
        equal(pairs(group['reserved']), [(0x1000, 0x1fff), (0x3000, 0x3fff)])
        equal(group['nr_problems'], 1)
        assert 'PROBLEM' in r.text(tree, status=3)
        r.one(tree, '--ranges', '0x100000-0x1fffff', status=3)
        r.one(tree, '--ranges', '0x0-0xfffff', status=1)
    r.one(r.tree().group(0, text=good))


@test
def an_unknown_type_binds(r):
    group = r.one(r.tree().group(0, [(0x1000, 0x1fff, 'translated-later')]), '--vm', '1M', status=1)
    equal((group['reserved'][0]['binds'], group['nr_problems']), (True, 1))


@test
def a_geometry_that_is_not_understood(r):
    for text in 'aperture 0x5 0x4\n', 'aperture x y\n', 'aperture 0x5\n', 'aperture \n':
        tree = r.tree().group(0, geometry=None)
        tree.file('/sys/kernel/iommu_groups/0/geometry', text)
        equal(r.one(tree, status=3)['geometry'], None)
    for text in 'aperture unknown\npage_sizes unknown\n', '', 'more 1 2 3\n':
        tree = r.tree().group(0, geometry=None)
        tree.file('/sys/kernel/iommu_groups/0/geometry', text)
        equal(r.one(tree)['geometry'], None)


@test
def files_that_are_no_files(r):
    name = '/sys/kernel/iommu_groups/0/reserved_regions'
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(b'/dev/zero', path),
                 lambda path: os.symlink(b'reserved_regions', path), lambda path: None):
        tree = r.tree().group(0)
        os.unlink(tree.path(name))
        make(tree.path(name))
        equal(r.one(tree, status=3)['nr_problems'], 1)
        equal(r.one(tree, '--vm', '1G', status=3)['vm']['verdict'], 'unknown')


@test
def ten_thousand_regions(r):
    regions = [(i << 13, (i << 13) + 0xfff, 'reserved') for i in range(10000)]
    tree = r.tree().group(0, random.Random(1).sample(regions, len(regions)))
    group = r.one(tree, '--vm', '1G', status=1)
    equal(pairs(group['reserved']), [r[:2] for r in regions])
    equal(len(group['usable']), 10000)
    equal(len(group['vm']['in_the_way']), 10000)
    text = r.text(tree, '--vm', '1G', status=1)
    assert len(text.split('\n')) < 80 and '... and 9984 more' in text
    assert len(r.text(tree, '--all').split('\n')) > 20000


@test
def more_than_there_is_room_for(r):
    regions = [(i << 13, (i << 13) + 0xfff, 'reserved') for i in range(70000)]
    before = time.monotonic()
    group = r.one(r.tree().group(0, regions), '--ranges', '0x1000-0x1fff', status=3)
    equal((len(group['reserved']), group['nr_problems']), (65536, 1))
    tree = r.tree().group(0, text=b'0x1000 0x1fff msi\n' * 1000000)
    equal((r.one(tree, status=3)['nr_problems']), 1)
    equal(r.one(r.tree().group(0, text='x\n' * 50000), status=3)['nr_problems'], 50000)
    assert time.monotonic() - before < 60
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 256 << 10


@test
def names_with_odd_characters(r):
    names = [b'quote"', b'back\\slash', b'esc\x1b[31m', b'line\nend', b'\xff\xfe', 'ä'.encode(), b'x' * 255]
    tree = r.tree().group(0, devices=names, driver=b'evil\x1b"\n')
    tree.file('/proc/9/comm', b'\x1b]0;title\x07"\\\xff')
    tree.link('/proc/9/fd/1', '/dev/vfio/0')
    group = r.one(tree)
    equal(sorted(d['name'].encode('latin1') for d in group['devices']), sorted(names))
    equal({d['driver'].encode('latin1') for d in group['devices']}, {b'evil\x1b"\n'})
    equal(group['holders'][0]['comm'].encode('latin1'), b'\x1b]0;title\x07"\\\xff')
    assert r'esc\x1b[31m' in r.text(tree)


@test
def groups_with_odd_names(r):
    tree = r.tree().group(0).group('999999999').group('12345678901234567890').group('x')
    groups = r.json(tree, status=2)
    equal([g['group'] for g in groups], [0, 999999999])


@test
def no_groups(r):
    r.run(r.tree(), status=2)
    tree = r.tree()
    tree.folder('/sys/kernel/iommu_groups')
    equal(r.json(tree), [])
    r.run(tree, '--vm', '1G', status=2)


@test
def a_device_that_went_away(r):
    """What was listed and cannot be read any more does not hide the rest."""
    tree = r.tree().group(0)
    tree.folder('/sys/kernel/iommu_groups/1')
    os.symlink('nowhere', tree.path('/sys/kernel/iommu_groups/0/devices/0000:00:02.0'))
    groups = r.json(tree)
    equal([len(g['devices']) for g in groups], [2])


@test
def trees_with_changed_bytes(r):
    """Whatever the text is, the program ends with a status of its own and valid output."""
    chance = random.Random(3)
    for name in RECORDED:
        with open(f'{HERE}/lsiommu_trees/{name}.tree') as text:
            lines = text.read().split('\n')
        content = [i for i, line in enumerate(lines) if line.startswith('|')]
        for _ in range(10):
            changed = list(lines)
            for i in chance.sample(content, 8):
                line = list(changed[i][1:])
                for _ in range(chance.randrange(1, 4)):
                    line.insert(chance.randrange(len(line) + 1), chance.choice('0fx -\t\x00é%"' + chr(27)))
                    line.pop(chance.randrange(len(line)))
                changed[i] = '|' + ''.join(line)
            tree = r.tree()
            tree.unpack('\n'.join(changed))
            done = subprocess.run([r.program, '--root', tree.root, '--json', '--vm', '8G'],
                                  capture_output=True, timeout=60)
            assert done.returncode in (0, 1, 3), (done.returncode, done.stderr[:500])
            equal(json.loads(done.stdout)['status'], done.returncode)


@test
def answers_of_vfio(r):
    done = subprocess.run([r.vfio_test], capture_output=True, timeout=60)
    assert not done.returncode and not done.stdout, done.stdout + done.stderr[:500]


# Drawing

@test
def small_regions_stay_visible(r):
    for column in 1, 40, 63:
        start = (column << 58) + 0x5000
        text = r.text(r.tree().group(0, [(start, start + 0xfff, 'msi')], geometry=(0, TOP)))
        equal(maps(text)[0], ('16 EiB', '.' * column + 'm' + '.' * (63 - column)))


@test
def upper_case_is_for_nothing_usable(r):
    part = 1 << 42
    for start, last, letter in ((part, 2 * part - 1, 'R'), (part, 2 * part - 2, 'r'),
                                (part + 1, 2 * part - 1, 'r')):
        line = maps(r.text(r.tree().group(0, [(start, last, 'reserved')])))[0][1]
        equal(line, '.' + letter + '.' * 62)


@test
def kinds_that_meet(r):
    def first(*kinds):
        regions = [(i << 12, (i << 12) + 0xfff, kind) for i, kind in enumerate(kinds)]
        return maps(r.text(r.tree().group(0, regions)))[0][1][0]

    equal(first('direct-relaxable', 'msi', 'reserved', 'direct'), 'd')
    equal(first('direct-relaxable', 'msi', 'reserved'), 'r')
    equal(first('direct-relaxable', 'msi'), 'm')
    equal(first('direct-relaxable'), 'x')


@test
def scale_and_what_is_not_translated(r):
    line = maps(r.text(r.tree().group(0, geometry=(1 << 46, (1 << 48) - (1 << 44) - 1))))
    equal(line, [('256 TiB', '-' * 16 + '.' * 44 + '-' * 4)])
    equal(maps(r.text(r.tree().group(0, geometry=(0, 0xffff))))[0][0], '4 GiB')


@test
def ram_below_the_map(r):
    text = r.text(r.tree().group(0, [(TIB, TIB, 'msi')], geometry=(0, (1 << 42) - 1)), '--vm', '2T',
                  '--machine', 'virt', status=1)
    rows = re.findall(r'^    RAM +\|(.{64})\|$', text, re.M)
    equal(rows[0], '#' * 16 + '!' + '#' * 16 + ' ' * 31)
    text = r.text(r.tree('intel'), '--vm', '64G', '1')
    equal(maps(text)[1], ('128 GiB', '.m' + '.' * 62))
    unknown = r.text(r.tree('smmuv3-stock'), '--vm', '63G', '--machine', 'virt', '1', status=3)
    equal([size for size, line in maps(unknown)], ['64 GiB'])
    equal(re.findall(r'^    RAM +\|(.{64})\|$', text, re.M)[1], '# ' + '#' * 31 + ' ' * 31)


# Against a model

def model_usable(regions, first, last):
    """As slow and as plain as possible: which of the points that matter are usable."""
    usable, next_start = [], first
    for start, end in sorted((s, e) for s, e, kind in regions if kind != 'direct-relaxable'):
        if start > last:
            break
        if start > next_start:
            usable.append((next_start, start - 1))
        next_start = max(next_start, end + 1)
    if next_start <= last:
        usable.append((next_start, last))
    return usable


def model_map(regions, usable, first, last, bits):
    part, line = 1 << (bits - 6), ''
    for column in range(WIDTH):
        start, end = column * part, (column + 1) * part - 1

        def touches(a, b):
            return a <= end and b >= start

        kinds = {kind for s, e, kind in regions if touches(s, e)}
        letter = next((kind[0] if kind != 'direct-relaxable' else 'x'
                       for kind in ('direct', 'reserved', 'msi', 'direct-relaxable') if kind in kinds), '.')
        if not touches(first, last):
            letter = '-'
        elif not any(touches(a, b) for a, b in usable):
            letter = letter.upper()
        line += letter
    return line


@test
def random_trees_against_a_model(r):
    chance = random.Random(2)
    kinds = ('direct', 'reserved', 'msi', 'direct-relaxable')
    for _ in range(12):
        tree, wanted = r.tree(), {}
        for number in range(10):
            bits = chance.choice((32, 39, 48, 57, 64))
            first = chance.choice((0, 0, 1 << 24))
            last = (1 << bits) - 1 - chance.choice((0, 0, 0x1000, 1 << (bits - 3)))
            regions = set()
            for _ in range(chance.randrange(12)):
                start = chance.randrange(1 << chance.randrange(1, bits + 1))
                regions.add((start, min(start + chance.randrange(1 << chance.randrange(1, bits + 1)), TOP),
                             chance.choice(kinds)))
            tree.group(number, sorted(regions, key=lambda _: chance.random()), geometry=(first, last))
            wanted[number] = (regions, first, last)
        for group in r.json(tree):
            regions, first, last = wanted[group['group']]
            usable = model_usable(regions, first, last)
            equal(pairs(group['usable']), usable)
            equal(sorted(pairs(group['reserved'])), sorted(x[:2] for x in regions))
            size, line = maps(r.text(tree, str(group['group'])))[0]
            equal(line, model_map(regions, usable, first, last, max(last.bit_length(), 32)))
            # Mapped exactly where it is usable.
            for _ in range(3):
                a = chance.randrange(1 << chance.randrange(20, 65)) & ~0xfff
                b = min(a + chance.randrange(1 << chance.randrange(13, 60)), TOP) | 0xfff
                fits = any(s <= a and b <= e for s, e in model_usable(regions, first, last))
                gaps = model_usable([(s, e, 'reserved') for s, e in usable], a, b)
                got = r.one(tree, '--ranges', f'{a:#x}-{b:#x}', str(group['group']), status=0 if fits else 1)
                way = pairs(got['vm']['in_the_way'])
                equal(bool(gaps), bool(way))
                equal(model_usable([(s, e, 'reserved') for s, e in way], a, b),
                      model_usable([(s, e, 'reserved') for s, e in gaps], a, b))


# The command line

@test
def what_is_listed(r):
    tree = r.tree('intel')
    for argument, number in ('2', 2), ('0000:00:1f.3', 3), ('00:1f.2', 3):
        equal(r.one(tree, argument)['group'], number)
    equal([g['group'] for g in r.json(tree, '2', '00:02.0', '1')], [1, 2])
    for argument in '9', '0000:00:1e.0', '', '1x', '99999999999999999999':
        equal(len(r.json(tree, argument, '1', status=2)), 1)


@test
def bad_usage(r):
    tree = r.tree('intel')
    for size in '', '0', '64', 'G', '-1G', '1X', '1.5G', '1K', '5000P', '99999999999999999999G', '1GG', '0G':
        r.run(tree, '--vm', size, status=2)
    for ranges in ('', '0', '0-', '5-4', '0x0-0x100', '0x100-0xfff', '0x1000-0xfff', '0x0-0xfff,', ',0x0-0xfff',
                   '0x0-0xfff 0x1000-0x1fff', '-1-5', '0x0-0x1ffffffffffffffff', '0x0--1',
                   ','.join(['0x0-0xfff'] * 257)):
        r.run(tree, '--ranges', ranges, status=2)
    for args in (('--machine', 'vax', '--vm', '1G'), ('--machine', 'q35'), ('--machine', 'ranges', '--vm', '1G'),
                 ('--vm', '1G', '--ranges', '0x0-0xfff'), ('--probe',), ('--record', '--json'),
                 ('--no-such-option',), ('--vm',)):
        r.run(tree, *args, status=2)
    r.run(tree, '--ranges', ','.join(['0x0-0xfff'] * 256))
    r.run(tree, '--help')


@test
def output_that_cannot_be_written(r):
    with open('/dev/full', 'w') as full:
        done = subprocess.run([r.program, '--root', r.tree('intel').root], stdout=full, stderr=subprocess.PIPE)
    equal(done.returncode, 2)


@test
def the_manual_knows_every_option(r):
    options = set(re.findall(r'--[a-z]+', r.run(r.tree('intel'), '--help').decode()))
    with open(f'{HERE}/lsiommu.8') as text:
        manual = text.read().replace('\\-', '-')
    assert len(options) >= 8
    equal(sorted(option for option in options if option not in manual), [])


def main():
    programs, results = [os.path.abspath(path) for path in sys.argv[1:3]], []
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(*programs, scratch)
        for function in TESTS:
            start, said = time.monotonic(), []
            try:
                function(runner)
            except (AssertionError, subprocess.TimeoutExpired, ValueError, KeyError, IndexError, OSError) as error:
                said = [f'{type(error).__name__}: {error}', f'line {error.__traceback__.tb_next.tb_lineno}']
            seconds = round(time.monotonic() - start, 1)
            results.append({'name': function.__name__.replace('_', ' '), 'good': not said,
                            'seconds': seconds, 'said': said})
            if said:
                print(f'lsiommu: {results[-1]["name"]}: FAILED\n   ' + '\n   '.join(said)[:2000], flush=True)
    failed = sum(not result['good'] for result in results)
    print(f'lsiommu: {len(results) - failed} tests passed, {failed} failed')
    if len(sys.argv) > 3:
        with open(sys.argv[3], 'w') as out:
            json.dump(results, out)
    sys.exit(failed != 0)


if __name__ == '__main__':
    main()
