# SPDX-License-Identifier: GPL-2.0
"""Judge one run of the guest from what it left behind.

The verdict fails closed: a run is good only if the guest said everything it was
asked to say and then turned its power off. Each way to fall short has a kind of
its own, and what merely follows from it (a guest that panicked has no end line)
is not reported beside it.

    panic     the kernel panicked
    hang      the guest was killed at its time limit
    qemu      QEMU itself failed
    reset     the guest was reset instead of turning its power off
    early     power-off without the end line
    short     a plan that is missing, or fewer results than it announced
    missing   an expected suite or program that did not report at all
    fail      a test that failed
    crash     a program that a signal ended
    timeout   a program that ran too long
    skip      a test that was skipped and is not listed as allowed to
    splat     a line of the kernel's log that the rules deny
    taint, leak, log, harness       as PID 1 found them

Results are parsed by the kernel's own kunit_parser, from the assembled tree.
"""
import contextlib
import dataclasses
import importlib
import io
import os
import re
import sys

PROBLEM = re.compile(r'^# problem ([a-z]+): (.*)$')
TOOK = re.compile(r'^# took (\S+) (\d+) ms$')
END = re.compile(r'^# end status=(\d+)$')
KUNIT_SUITE = re.compile(r'struct\s+kunit_suite\s+\w+\s*=\s*\{[^}]*?\.name\s*=\s*"([^"]+)"', re.S)


@dataclasses.dataclass
class Verdict:
    reasons: list = dataclasses.field(default_factory=list)   # (kind, text)
    cases: int = 0
    per_test: dict = dataclasses.field(default_factory=dict)  # name -> (cases, failed cases)
    passed: set = dataclasses.field(default_factory=set)      # "name.case" of every case that passed
    skipped: list = dataclasses.field(default_factory=list)   # names, listed as allowed to or not
    results: dict = dataclasses.field(default_factory=dict)   # name -> True if "ok"
    seconds: dict = dataclasses.field(default_factory=dict)   # name -> how long it ran

    def add(self, kind, text):
        if (kind, text) not in self.reasons:
            self.reasons.append((kind, text))

    @property
    def good(self):
        return not self.reasons

    @property
    def kinds(self):
        return {kind for kind, _ in self.reasons}


def lines_of(path):
    try:
        with open(path, errors='replace') as text:
            return text.read().replace('\r', '').split('\n')
    except FileNotFoundError:
        return []


def load_rules(path):
    rules = []
    for line in lines_of(path):
        if line and not line.startswith('#'):
            verb, _, expr = line.partition(' ')
            rules.append((verb == 'deny', re.compile(expr)))
    if not rules:
        raise ValueError(f'{path}: no rules')
    return rules


def is_splat(rules, line):
    return next((deny for deny, expr in rules if expr.search(line)), False)


def kunit_suites(sources):
    """Names of the KUnit suites that the given C files define."""
    found = set()
    for path in sources:
        found.update(KUNIT_SUITE.findall('\n'.join(lines_of(path))))
    return found


def parse(tree, lines):
    """The kernel's parser over our lines: (its Test object, what it printed)."""
    path = os.path.join(tree, 'tools/testing/kunit')
    said = io.StringIO()
    sys.path.insert(0, path)
    sys.dont_write_bytecode = True
    try:
        parser = importlib.import_module('kunit_parser')
        parser.stdout._output = said
        with contextlib.redirect_stdout(said):
            test = parser.parse_run_tests(lines)
    finally:
        sys.path.remove(path)
    return test, said.getvalue()


def check_plan(verdict, lines, name, indent):
    """A plan must be there, and as many results as it announces."""
    plan = [int(m[1]) for line in lines if (m := re.match(indent + r'1\.\.(\d+)', line))]
    results = sum(bool(re.match(indent + r'(not )?ok \d+', line)) for line in lines)
    if not plan:
        verdict.add('short', f'{name}: no plan')
    elif plan[0] != results:
        verdict.add('short', f'{name}: plan 1..{plan[0]}, but {results} results')


def blocks(lines):
    """{name: lines of its nested test}, {name: its result} of the top-level tests."""
    nested, results, block = {}, {}, []
    for line in lines:
        match = re.match(r'(not )?ok \d+ (\S+)', line)
        if match:
            nested[match[2]], results[match[2]] = block, not match[1]
            block = []
        elif line.startswith('    '):
            block.append(line)
    return nested, results


def walk(test, path=()):
    yield path, test
    for sub in test.subtests:
        yield from walk(sub, path + (sub.name,))


def judge(facts, console, ktap, tree, rules, expected, suites=(), may_skip=(), speaks_ktap=True):
    """
    facts: what the host saw of QEMU ('timeout', 'shutdown' reason, 'status', 'stderr')
    console, ktap: lines of the two serial ports
    expected: names of the programs that must report, in order; suites: KUnit's
    """
    verdict = Verdict()
    panic = next((line for line in console if 'Kernel panic - not syncing' in line), None)
    end = next((m for line in ktap if (m := END.match(line))), None)
    culprit = next((line.split(': ', 1)[1] for line in reversed(ktap)
                    if line.startswith('    # Subtest: ')), 'boot') if not end else ''

    # How the guest ended.
    if panic:
        verdict.add('panic', f'during {culprit or "power-off"}: {panic.strip()}')
    elif facts['timeout']:
        verdict.add('hang', f'killed after {facts["timeout"]} s, last in {culprit or "power-off"}')
    elif facts['status'] != 0 or facts['shutdown'] is None:
        verdict.add('qemu', f'status {facts["status"]}: {facts["stderr"].strip() or "no message"}')
    elif facts['shutdown'] != 'guest-shutdown':
        verdict.add('reset', f'QEMU ended by {facts["shutdown"]}, not by power-off')
    elif not end:
        verdict.add('early', f'the guest stopped before the end line, last in {culprit}')
    complete = verdict.good

    # What PID 1 found.
    for line in ktap:
        if match := PROBLEM.match(line):
            verdict.add(match[1], match[2])
    broken = {text.split(':')[0] for kind, text in verdict.reasons if kind in ('crash', 'timeout')}
    reported = ' '.join(text for kind, text in verdict.reasons if kind == 'splat')
    for line in console:
        text = re.sub(r'^\[ *[\d.]+\] ', '', line)
        if is_splat(rules, text) and text not in reported and line != panic:
            verdict.add('splat', f'on the console: {text}')

    # What the tests said.
    nested, results = blocks(ktap)
    verdict.results = results
    verdict.seconds = {m[1]: int(m[2]) / 1000 for line in ktap if (m := TOOK.match(line))}
    if complete:
        check_plan(verdict, ktap, 'the run', '')
        for name in expected:
            if name not in results:
                verdict.add('missing', f'{name} did not report')
    if speaks_ktap:
        for name, lines in nested.items():
            if name in broken:
                continue
            check_plan(verdict, lines, name, '    ')
        if 'kunit' in nested:
            seen = {line.split(': ', 1)[1] for line in nested['kunit']
                    if line.startswith('        # Subtest: ')}
            for suite in sorted(set(suites) - seen):
                verdict.add('missing', f'KUnit suite {suite} did not report')

    test, said = parse(tree, ktap)
    for path, sub in walk(test):
        name = '.'.join(path)
        if sub.subtests or not sub.name:
            continue
        if sub.status.name == 'SUCCESS':
            verdict.passed.add(name)
        elif sub.status.name == 'FAILURE':
            verdict.add('fail', name)
        elif sub.status.name == 'SKIPPED':
            verdict.skipped.append(name)
            if not {name, sub.name, path[0]} & set(may_skip):
                verdict.add('skip', name)
        elif complete and sub.status.name in ('NO_TESTS', 'FAILURE_TO_PARSE_TESTS'):
            verdict.add('short', f'{name}: {sub.status.name}')
    shorts = [re.sub(r'^\[.*?\] (\[ERROR\] )?', '', line) for line in said.split('\n') if '[ERROR]' in line]
    if complete and not broken and not verdict.kinds & {'short', 'missing'}:
        for text in shorts:
            verdict.add('short', re.sub(r'\x1b\[[0-9;]*m', '', text))
    failed = ' '.join(text for kind, text in verdict.reasons)
    for name, good in results.items():
        if not good and name not in failed:
            verdict.add('fail', f'{name} exited with an error')

    for sub in test.subtests:
        verdict.per_test[sub.name] = (sub.counts.total(), sub.counts.failed + sub.counts.crashed)
    verdict.cases = test.counts.total()
    if complete and verdict.good and int(end[1]) != 0:
        verdict.add('harness', f'PID 1 counted {end[1]} problems that nobody named')
    return verdict, said
