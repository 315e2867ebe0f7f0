// Task cells in JupyterLab without a browser: what is read from the kernel, what a reload puts together, what lines say and offer.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cellOfMessage, firstBatch, lineOf, merged, outputOf, readIndex, readRecord } from '../../../labextension/src/cells/data';
import { deeds, lineWords } from '../../../labextension/src/cells/words';

const MIME = 'application/vnd.shoal.task+json';
const told = {
  ...{ version: 1, kernel: 'k', line: 'l', cell: 'c', request: 'r', task: 4, state: 'running', code: 2, over: false },
  ...{ flaw: { here: false, memory: '' }, who: 'fit (task 4)', words: 'running', names: ['model'], stale: '', since: 100 }
};
const lineOutput = more => ({ output_type: 'display_data', data: { [MIME]: { ...told, ...more } }, metadata: {} });
const line = more => lineOf(lineOutput(more));
const print = text => ({ output_type: 'stream', name: 'stdout', text });
const record = more => readRecord({ cell: 'c', request: 'r', session: 's', restored: false, cut: false, ...more });

test('a line ticks while its task runs', () => {
  assert.equal(lineWords(line(), 'ours', 112.4), 'fit (task 4): running for 12 s → model');
  assert.equal(lineWords(line(), 'unknown', 112.4), 'fit (task 4): running → model');
  assert.equal(lineWords(line({ over: true, state: 'done', words: 'done after 3 s' }), 'ours', 1), 'fit (task 4): done after 3 s → model');
});

test('a line of a kernel that is gone does not say that it runs', () => {
  assert.equal(lineWords(line(), 'restarted', 1), 'fit (task 4): kernel restarted (it was running)');
  assert.equal(lineWords(line(), 'ended', 1), 'fit (task 4): its kernel has ended (it was running)');
  assert.equal(lineWords(line({ over: true, words: 'failed' }), 'restarted', 1), 'fit (task 4): failed → model');
});

test('buttons are there where they help, and with the kernel that made the line alone', () => {
  assert.deepEqual(deeds(line(), 'ours'), ['cancel']);
  assert.deepEqual(deeds(line(), 'restarted'), []);
  assert.deepEqual(deeds(line(), 'unknown'), []);
  assert.deepEqual(deeds(line({ over: true, state: 'done' }), 'ours'), []);
  assert.deepEqual(deeds(line({ over: true, state: 'done', stale: 'why' }), 'ours'), ['again', 'stale']);
  const failed = { over: true, state: 'failed', flaw: { here: true, memory: '8 GB' } };
  assert.deepEqual(deeds(line(failed), 'ours'), ['again', 'debug', 'memory']);
});

test('what a saved notebook holds is checked', () => {
  assert.equal(lineOf({}), undefined);
  assert.equal(lineOf({ data: { [MIME]: { version: 2 } } }), undefined);
  const odd = lineOf({ data: { [MIME]: { version: 1, task: 'rm -rf', names: [1, 'a'], over: 'yes', flaw: [] } } });
  assert.deepEqual([odd.task, odd.names, odd.over, odd.here], [0, ['a'], false, false]);
});

test('the record takes the place of what the request showed, and what stood before it stays', () => {
  const outputs = [lineOutput({ over: true }), print('all')];
  const saved = [print('Shoal: started a session\n'), lineOutput(), print('a')];
  assert.deepEqual(merged(saved, record({ outputs })), { outputs: [saved[0], ...outputs], first: 1 });
  assert.deepEqual(merged([print('of an earlier run')], record({ outputs })), { outputs, first: 0 });
});

test('a record of an earlier kernel takes the place of its line, whatever its request was', () => {
  const outputs = [print('restored')];
  const saved = [print('before'), lineOutput({ request: 'dead' })];
  assert.deepEqual(merged(saved, record({ request: 'new', restored: true, outputs })).outputs, [saved[0], ...outputs]);
});

test('a whole output that was saved is not replaced by one of which parts were not kept', () => {
  const cut = record({ cut: true, outputs: [lineOutput({ over: true })] });
  assert.equal(merged([lineOutput({ over: true }), print('x'.repeat(1e6))], cut), undefined);
  assert.notEqual(merged([lineOutput()], cut), undefined, 'the saved one was not over');
});

test('messages say which cell they belong to', () => {
  assert.equal(cellOfMessage({}), undefined);
  assert.equal(cellOfMessage({ shoal: { cell: 'c' } }), 'c');
  assert.equal(cellOfMessage({ shoal: {} }), '');
  assert.deepEqual(readIndex({ cells: [['c', 'r', 9], ['x'], 7] }), [{ cell: 'c', request: 'r', size: 9 }]);
});

test('messages become outputs as they are saved', () => {
  assert.deepEqual(outputOf('stream', { name: 'stderr', text: 'x' }), {
    output: { output_type: 'stream', name: 'stderr', text: 'x' },
    display: ''
  });
  const shown = outputOf('update_display_data', { data: { 'text/plain': 'x' }, transient: { display_id: 'd' } });
  assert.deepEqual(shown, {
    output: { output_type: 'display_data', data: { 'text/plain': 'x' }, metadata: {} },
    display: 'd'
  });
  assert.equal(outputOf('status', {}), undefined);
});

test('records are asked for in batches that the server lets through', () => {
  const list = [3, 4, 5, 9, 1].map((size, place) => ({ cell: String(place), request: 'r', size }));
  const sizes = [];
  for (let rest = list; rest.length > 0; ) {
    const [batch, left] = firstBatch(rest, 8);
    sizes.push(batch.map(({ size }) => size));
    rest = left;
  }
  assert.deepEqual(sizes, [[3, 4], [5], [9], [1]]);
});
