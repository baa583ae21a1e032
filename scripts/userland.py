#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Assemble files of Debian packages for the guest: userland.py OUT NAME...

OUT/userland/NAME.cpio holds the files that consumers.toml lists, and the shared
libraries that they need, as an initramfs to append to another.

apt does all that apt does well: it knows the dependencies, downloads and
verifies. It is given folders of its own in OUT and an empty database, so that the
host's packages, sources and caches are neither used nor changed; only how to
reach a server (proxies) is the host's. No package's scripts run.

What was assembled is kept, and reused only if NAME.json, which is written last,
says that this stanza and this program made it, and its checksum is right.
"""
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
MIRROR = os.environ.get('DEBIAN_MIRROR', 'http://deb.debian.org/debian')   # and MIRROR-security
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
ARCHITECTURES = {'amd64': 'x86_64-linux-gnu', 'arm64': 'aarch64-linux-gnu'}
MERGED = ('bin', 'sbin', 'lib', 'lib64')


def stanzas():
    with open(f'{HERE}/consumers.toml', 'rb') as text:
        return tomllib.load(text)['userland']


def digest(path):
    with open(path, 'rb') as data:
        return hashlib.file_digest(data, 'sha256').hexdigest()


def made_by(stanza):
    with open(os.path.abspath(__file__), 'rb') as program:
        return hashlib.sha256(program.read() + json.dumps(stanza, sort_keys=True).encode()).hexdigest()


def is_complete(base, stanza):
    try:
        with open(f'{base}.json') as text:
            said = json.load(text)
        return said['made_by'] == made_by(stanza) and said['sha256'] == digest(f'{base}.cpio')
    except (OSError, ValueError, KeyError):
        return False


class Apt:
    """apt with a configuration and a database of its own."""

    def __init__(self, folder, suites, architecture):
        self.folder = folder
        for name in ('lists/partial', 'cache/archives/partial', 'parts'):
            os.makedirs(f'{folder}/{name}', exist_ok=True)
        lines = []
        for suite in suites:
            lines.append((MIRROR, suite))
            if '-' not in suite:
                lines += [(MIRROR, f'{suite}-updates'), (f'{MIRROR}-security', f'{suite}-security')]
        with open(f'{folder}/sources.list', 'w') as out:
            out.writelines(f'deb [signed-by={KEYRING}] {where} {suite} main\n' for where, suite in lines)
        open(f'{folder}/status', 'w').close()
        settings = {
            'Dir::Etc::SourceList': f'{folder}/sources.list', 'Dir::Etc::SourceParts': '/dev/null',
            'Dir::Etc::Preferences': '/dev/null', 'Dir::Etc::PreferencesParts': '/dev/null',
            'Dir::Etc::Main': '/dev/null', 'Dir::Etc::Parts': f'{folder}/parts',
            'Dir::State': folder, 'Dir::State::Lists': f'{folder}/lists', 'Dir::State::Status': f'{folder}/status',
            'Dir::Cache': f'{folder}/cache', 'Dir::Log': folder,
            'Debug::NoLocking': 'true', 'APT::Sandbox::User': '', 'APT::Get::Assume-Yes': 'true',
            'APT::Install-Recommends': 'false', 'APT::Default-Release': suites[0],
            'APT::Architecture': architecture, 'APT::Architectures': architecture,
            'Acquire::Retries': '3', 'Acquire::Languages': 'none',
        }
        # What is read first says that nothing of the host's is read after it, hooks included.
        with open(f'{folder}/apt.conf', 'w') as out:
            for line in subprocess.run(['apt-config', 'dump', 'Acquire'], capture_output=True, text=True,
                                       check=True).stdout.split('\n'):
                if not line.startswith(('Acquire ', 'Acquire::IndexTargets', 'Acquire::Languages')):
                    out.write(f'{line}\n')
            out.writelines(f'{key} "{value}";\n' for key, value in settings.items())

    def run(self, *words):
        subprocess.run(['apt-get', '-q', *words], check=True, stdin=subprocess.DEVNULL,
                       env=dict(os.environ, APT_CONFIG=f'{self.folder}/apt.conf'))

    def download(self, packages):
        """Paths of the packages and of all that they depend on."""
        self.run('update')
        self.run('install', '--download-only', *packages)
        return sorted(glob.glob(f'{self.folder}/cache/archives/*.deb'))


def unpack(package, root):
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', package], stdout=subprocess.PIPE) as tar:
        subprocess.run(['tar', '-x', '-C', root, '--keep-directory-symlink', '--no-same-owner'],
                       stdin=tar.stdout, check=True)
    if tar.returncode:
        raise subprocess.CalledProcessError(tar.returncode, package)


def needed(paths):
    """Names of the libraries that ELF files ask for, and paths of their interpreters."""
    text = subprocess.run(['readelf', '-W', '-d', '-l', *paths], capture_output=True, text=True,
                          env=dict(os.environ, LC_ALL='C')).stdout
    return set(re.findall(r'\(NEEDED\).*\[(.*)\]', text)) | set(
        re.findall(r'Requesting program interpreter: (.*)\]', text))


class Picker:
    """The files of a root that the guest gets."""

    def __init__(self, root, architecture):
        self.root, self.picked = root, set()
        self.libraries = {}
        for folder in ('usr/lib64', f'usr/lib/{ARCHITECTURES[architecture]}', 'usr/lib'):
            for name in os.listdir(f'{root}/{folder}') if os.path.isdir(f'{root}/{folder}') else ():
                self.libraries.setdefault(name, f'{folder}/{name}')

    def pick(self, path):
        """A file, and what it is a link to. Returns the file at the end, if it is new."""
        while path not in self.picked:
            self.picked.add(path)
            full = f'{self.root}/{path}'
            if not os.path.islink(full):
                return path
            target = os.readlink(full)
            # Links of packages may be absolute, and may go through /lib.
            target = os.path.normpath(target.lstrip('/') if target.startswith('/')
                                      else f'{os.path.dirname(path)}/{target}')
            path = f'usr/{target}' if target.split('/')[0] in MERGED else target
        return None

    def pick_all(self, patterns):
        fresh = []
        for pattern in patterns:
            found = glob.glob(pattern, root_dir=self.root)
            if not found:
                raise FileNotFoundError(f'no package has {pattern}')
            fresh += [new for path in sorted(found) if (new := self.pick(path))]
        while fresh:
            names = needed([f'{self.root}/{path}' for path in fresh])
            self.libraries.update({path: f'usr{path}' for path in names if path.startswith('/')})
            lacking = names - self.libraries.keys()
            if lacking:
                raise FileNotFoundError(f'no package has {", ".join(sorted(lacking))}')
            fresh = [new for name in sorted(names) if (new := self.pick(self.libraries[name]))]


def cpio(root, paths, target):
    """An initramfs of these files and of the folders above them."""
    everything = set(paths)
    for path in paths:
        while path := os.path.dirname(path):
            everything.add(path)
    with open(target, 'wb') as out:
        subprocess.run(['cpio', '-o', '-H', 'newc', '-R', '0:0', '--reproducible', '--quiet', '-D', root],
                       input='\n'.join(sorted(everything)).encode() + b'\n', stdout=out, check=True)


def cpio_of(root, target):
    """An initramfs of all that is in a folder."""
    cpio(root, [os.path.relpath(f'{folder}/{name}', root)
                for folder, folders, files in os.walk(root) for name in folders + files], target)


def assemble(base, stanza):
    for path in (f'{base}.json', f'{base}.cpio'):
        if os.path.exists(path):
            os.unlink(path)
    with tempfile.TemporaryDirectory(prefix=f'{os.path.basename(base)}-', dir=os.path.dirname(base)) as folder:
        architecture = stanza['architecture']
        packages = Apt(f'{folder}/apt', stanza['suites'], architecture).download(stanza['packages'])
        root = f'{folder}/root'
        os.mkdir(root)
        for name in MERGED:
            os.makedirs(f'{root}/usr/{name}')
            os.symlink(f'usr/{name}', f'{root}/{name}')
        for package in packages:
            unpack(package, root)
        picker = Picker(root, architecture)
        picker.pick_all(stanza['files'])
        # The guest's /bin is busybox's.
        cpio(root, picker.picked | {'lib', 'lib64'}, f'{folder}/cpio')
        os.rename(f'{folder}/cpio', f'{base}.cpio')
    said = {'made_by': made_by(stanza), 'sha256': digest(f'{base}.cpio'),
            'packages': [os.path.basename(path)[:-len('.deb')].replace('%3a', ':') for path in packages]}
    with open(f'{base}.json.tmp', 'w') as out:
        json.dump(said, out, indent=1)
    os.rename(f'{base}.json.tmp', f'{base}.json')
    print(f'{base}.cpio: {len(picker.picked)} files of {len(packages)} packages, '
          f'{os.path.getsize(f"{base}.cpio") >> 20} MiB')


def main():
    out, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    os.makedirs(f'{out}/userland', exist_ok=True)
    with open(f'{out}/userland/.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            base, stanza = f'{out}/userland/{name}', stanzas()[name]
            if not is_complete(base, stanza):
                # Left by a run that was killed.
                for past in glob.glob(f'{base}-*'):
                    shutil.rmtree(past)
                assemble(base, stanza)


if __name__ == '__main__':
    main()
