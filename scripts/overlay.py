# SPDX-License-Identifier: GPL-2.0
"""What the overlay is: which files of the repository go where in a kernel tree.

Three kinds of file make up the overlay: a new or replacing file stands at its
kernel path; `X.patch` or `X.N-topic.patch` changes the base's file X; the
entries of the root's MAINTAINERS are merged into the tree's.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

TESTED_BASE = '6.1.192'
FOLDERS = ('drivers', 'include', 'virt', 'tools', 'Documentation')
PATCH = re.compile(r'^(?P<target>.+?)(\.\d+-[a-z0-9-]+)?\.patch$')
REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Error(Exception):
    pass


def repo_files():
    """Paths of the overlay in the repository: committed or not, but not ignored."""
    listed = subprocess.run(
        ['git', '-C', REPO, '-c', 'safe.directory=*', 'ls-files', '-z', '--cached',
         '--others', '--exclude-standard', '--'] + list(FOLDERS),
        check=True, capture_output=True, text=True).stdout
    return sorted({path for path in listed.split('\0')
                   if path and os.path.isfile(os.path.join(REPO, path))})


def split(paths):
    """Split into (files at their kernel path, {target: [patches in order]})."""
    files, patches = [], {}
    for path in paths:
        match = PATCH.match(path)
        if match:
            patches.setdefault(match['target'], []).append(path)
        else:
            files.append(path)
    both = set(files) & set(patches)
    if both:
        raise Error(f'both replaced and patched: {", ".join(sorted(both))}')
    return files, patches


def base_version(base):
    with open(os.path.join(base, 'Makefile')) as makefile:
        head = dict(re.findall(r'^(VERSION|PATCHLEVEL|SUBLEVEL) = *(\d+)', makefile.read(2000), re.M))
    return '{VERSION}.{PATCHLEVEL}.{SUBLEVEL}'.format(**head)


def apply_patch(target, text, patch_path, base):
    """The bytes of `target` with one patch applied; fuzz is refused, an offset is not."""
    with tempfile.TemporaryDirectory() as scratch:
        old, new = os.path.join(scratch, 'old'), os.path.join(scratch, 'new')
        with open(old, 'wb') as out:
            out.write(text)
        done = subprocess.run(
            ['patch', '--fuzz=0', '--force', '--no-backup-if-mismatch', '--reject-file=-',
             '--output', new, old, os.path.join(REPO, patch_path)],
            capture_output=True, text=True)
        if done.returncode:
            raise Error(f'{patch_path} does not apply to {target} of Linux {base_version(base)}'
                        f' without fuzz (tested with {TESTED_BASE}):\n{done.stdout}{done.stderr}')
        with open(new, 'rb') as result:
            return result.read()


def sections(text):
    """Split a MAINTAINERS list into its entries, each a block starting with its heading."""
    blocks = []
    for block in re.split(r'\n\s*\n', text.strip('\n')):
        blocks.append(block)
    return blocks


def merge_maintainers(base_text, our_text):
    """Insert our entries in front of the first base entry that sorts after them."""
    start = base_text.index('3C59X NETWORK DRIVER')
    head, blocks = base_text[:start], sections(base_text[start:])
    for entry in sections(our_text):
        title = entry.split('\n', 1)[0]
        at = next((i for i, block in enumerate(blocks)
                   if block.split('\n', 1)[0] > title or block.startswith('THE REST')), len(blocks))
        blocks.insert(at, entry)
    return head + '\n\n'.join(blocks) + '\n'


def wanted(base, paths=None):
    """{kernel path: bytes} of everything in which the assembled tree differs from the base."""
    files, patches = split(repo_files() if paths is None else paths)
    result = {}
    for path in files:
        with open(os.path.join(REPO, path), 'rb') as source:
            result[path] = source.read()
    for target, names in patches.items():
        try:
            with open(os.path.join(base, target), 'rb') as source:
                text = source.read()
        except FileNotFoundError:
            raise Error(f'{names[0]}: Linux {base_version(base)} has no file {target}')
        for name in names:
            text = apply_patch(target, text, name, base)
        result[target] = text
    ours = os.path.join(REPO, 'MAINTAINERS')
    if os.path.exists(ours):
        with open(os.path.join(base, 'MAINTAINERS')) as theirs, open(ours) as mine:
            result['MAINTAINERS'] = merge_maintainers(theirs.read(), mine.read()).encode()
    return result


def mode(path):
    """File mode in the tree: executable only where the repository says so."""
    here = os.path.join(REPO, path)
    return 0o755 if os.path.exists(here) and os.access(here, os.X_OK) else 0o644


def read(path):
    try:
        with open(path, 'rb') as source:
            return source.read()
    except FileNotFoundError:
        return None


def replace(path, data, mode=0o644):
    """Give `path` new contents without writing through a hard link."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.tmp', 'wb') as out:
        out.write(data)
    os.chmod(path + '.tmp', mode)
    os.rename(path + '.tmp', path)


def sync(out, name, wanted):
    """
    Make OUT/<name> the base with `wanted` laid over it. Returns the paths that changed.

    Only files whose bytes differ are replaced, by a rename, so that kbuild rebuilds no more
    than it has to. OUT/<name>.manifest names the paths that differ from the base; it is written
    before the tree is touched (the union of old and new) and again afterwards, so an
    interrupted run is completed by the next one.
    """
    base, tree = os.path.realpath(f'{out}/base'), f'{out}/{name}'
    identity = f'{os.path.basename(base)} {os.stat(base).st_ino}'
    manifest = json.loads(read(f'{tree}.manifest') or '{}')
    if manifest.get('base') != identity or not os.path.isdir(tree):
        # A tree of another base, or none: start over, and name it when complete.
        shutil.rmtree(f'{tree}.tmp', ignore_errors=True)
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(os.path.dirname(tree), exist_ok=True)
        subprocess.run(['cp', '-al', base, f'{tree}.tmp'], check=True)
        os.rename(f'{tree}.tmp', tree)
        manifest = {'base': identity, 'paths': []}

    def note(paths):
        replace(f'{tree}.manifest', json.dumps({'base': identity, 'paths': sorted(paths)}, indent=1).encode())

    changed = []
    note(set(manifest['paths']) | set(wanted))
    for path, data in sorted(wanted.items()):
        if read(f'{tree}/{path}') != data:
            replace(f'{tree}/{path}', data, mode(path))
            changed.append(path)
    for path in sorted(set(manifest['paths']) - set(wanted)):
        # Copied, not linked again: the base's old time stamp would hide the change from kbuild.
        original = read(f'{base}/{path}')
        if original is None and os.path.exists(f'{tree}/{path}'):
            os.unlink(f'{tree}/{path}')
            changed.append(path)
        elif original is not None and read(f'{tree}/{path}') != original:
            replace(f'{tree}/{path}', original, os.stat(f'{base}/{path}').st_mode & 0o777)
            changed.append(path)
    note(wanted)
    return changed
