import assert from 'node:assert/strict';
import { test } from 'node:test';

import { freeName, nameProblem, numberProblem, poolState, sentence, since } from '../../labextension/src/panels/words';

/** A translation bundle that translates nothing. */
const trans = { __: (text, ...values) => text.replace(/%(\d)/g, (_, n) => String(values[n - 1])) };
const pool = changes => ({ state: 'up', workers: 2, slots: 2, running: 0, queued: 0, target: 1, trouble: '', ...changes });

test('each state of a pool has a word and a look of its own', () => {
  const looks = [
    [{ state: 'gone' }, 'gone', 'Gone'],
    [{ state: 'not answering' }, 'trouble', 'Not answering'],
    [{ state: 'older' }, 'trouble', 'Of another version of Shoal: it can only be stopped'],
    [{ state: 'newer' }, 'trouble', 'Of another version of Shoal: it can only be stopped'],
    [{ workers: 0, trouble: 'no numpy' }, 'trouble', 'In trouble'],
    [{ workers: 0 }, 'starting', 'Starting workers'],
    [{ workers: 0, target: 0 }, 'idle', 'No blocks'],
    [{ queued: 1 }, 'up', 'Working'],
    [{}, 'up', 'Ready']
  ];
  for (const [changes, look, text] of looks) {
    assert.deepEqual(poolState(pool(changes), trans), { look, text });
  }
});

test('a name that the server would refuse is refused in the form', () => {
  for (const bad of ['', '-x', '.x', 'a b', 'a/b', 'ä', 'a.b', 'x'.repeat(65)]) {
    assert.notEqual(nameProblem(bad, [], trans), '', bad);
  }
  for (const good of ['a', 'pool-2', 'A-b_c', '0']) {
    assert.equal(nameProblem(good, ['other'], trans), '');
  }
  assert.match(nameProblem('taken', ['taken'], trans), /running already/);
});

test('numbers are whole and within their limits', () => {
  for (const bad of ['', '0', '11', '1.5', '-1', '1e1', 'two']) {
    assert.notEqual(numberProblem(bad, 1, 10, trans), '', bad);
  }
  assert.equal(numberProblem(' 10 ', 1, 10, trans), '');
});

test('the name that the form proposes is free', () => {
  assert.equal(freeName([]), 'pool');
  assert.equal(freeName(['pool', 'pool-2']), 'pool-3');
});

test('a fix is said once', () => {
  assert.equal(sentence({ message: 'It broke. Fix: mend it.', fix: 'mend it' }), 'It broke. Fix: mend it.');
  assert.equal(sentence({ message: 'it broke.', fix: 'Mend it.' }), 'It broke. Mend it.');
});

test('ages are told in one unit', () => {
  assert.deepEqual(
    [5, 600, 7200, 400_000].map(age => since(0, age, trans)),
    ['5 s', '10 min', '2 h', '5 d']
  );
});
