// The drawing code without a browser: what a page knows after the kernel's messages, where nodes stand, what lines say.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { layOut } from '../../../labextension/src/views/layout';
import { GraphModel } from '../../../labextension/src/views/model';
import { duration, groupLines, progressLine, remaining, scopeLine, taskLines } from '../../../labextension/src/views/words';

const recorded = JSON.parse(readFileSync('tests/recorded/feed.json', 'utf8')).map(({ head, buffers }) => ({
  head,
  buffers: buffers.map(text => {
    const bytes = Buffer.from(text, 'base64');
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  })
}));
const after = (...places) => {
  const model = new GraphModel();
  const taken = places.map(place => model.apply(recorded[place].head, recorded[place].buffers));
  return { model, taken };
};
const states = model => model.tasks.map(task => task.state);
const spacing = { column: 10, layer: 40, row: 10 };

test('deltas build up the run', () => {
  const { model, taken } = after(0, 1, 2);
  assert.deepEqual(taken, [true, true, true]);
  assert.deepEqual(states(model), [3, 2, 4, 5]);
  assert.deepEqual(model.tasks.map(task => [...task.deps]), [[], [0], [0], [1, 2]]);
  assert.deepEqual(model.tasks.map(task => model.labelOf(task)), ['load', 'fit', 'fit', 'best']);
  assert.equal(model.workers[model.tasks[1].worker], 'host/8');
  assert.equal(model.tasks[2].error, 'ValueError: no');
  assert.deepEqual(model.counts, [0, 0, 1, 1, 1, 1, 0]);
});

test('a snapshot gives the same as all the deltas', () => {
  assert.deepEqual(after(3).model.tasks, after(0, 1, 2).model.tasks);
});

test('a gap is noticed, and a snapshot heals it', () => {
  const { model, taken } = after(0, 2, 3);
  assert.deepEqual(taken, [true, false, true]);
  assert.deepEqual(states(model), [3, 2, 4, 5]);
});

test('a message that comes twice, or late, changes nothing', () => {
  const { model, taken } = after(0, 1, 2, 1, 0);
  assert.deepEqual(taken, [true, true, true, true, true]);
  assert.deepEqual(states(model), [3, 2, 4, 5]);
});

test('groups come counted, and are the same when counted here', () => {
  const { model } = after(0, 1, 2, 4);
  assert.equal(model.mode, 'groups');
  const own = after(3).model.groups();
  assert.deepEqual(model.groups().groups, own.groups);
  assert.deepEqual(model.groups().edges, own.edges);
  assert.match(scopeLine(model, 3), /showing 3 groups of 4 tasks/);
});

test('layers follow the longest way', () => {
  const place = layOut([{ deps: [] }, { deps: [0] }, { deps: [0, 1] }, { deps: [] }], spacing);
  assert.deepEqual([...place.depth], [0, 1, 2, 0]);
  assert.ok(place.x[2] > place.x[1] && place.x[1] > place.x[0]);
});

test('no two nodes stand on one place, however wide the fan', () => {
  const nodes = [{ deps: [] }, ...Array.from({ length: 250 }, () => ({ deps: [0] })), { deps: [1, 200] }];
  const place = layOut(nodes, spacing);
  const places = new Set(nodes.map((_, node) => `${place.x[node]} ${place.y[node]}`));
  assert.equal(places.size, nodes.length);
  assert.ok(place.width / place.height < 8, 'a wide fan is folded');
});

test('a folded layer does not look like a chain: neighbours in a row stand half a row apart', () => {
  for (const count of [7, 30, 41, 250]) {
    const nodes = [{ deps: [] }, ...Array.from({ length: count }, () => ({ deps: [0] }))];
    const place = layOut(nodes, spacing);
    const fan = nodes.map((_, node) => node).slice(1);
    const columns = [...new Set(fan.map(node => place.x[node]))].sort((a, b) => a - b);
    assert.ok(columns.length > 1);
    const heights = columns.map(x => new Set(fan.filter(node => place.x[node] === x).map(node => place.y[node])));
    heights.slice(1).forEach((those, column) => {
      assert.ok([...those].every(y => !heights[column].has(y)));
    });
    assert.equal(place.height, Math.max(...place.y));
  }
});

test('groups that depend on each other are laid out all the same', () => {
  const place = layOut([{ deps: [1] }, { deps: [0] }], spacing);
  assert.deepEqual([...place.depth], [0, 1]);
});

test('an empty graph has no size', () => {
  assert.deepEqual(layOut([], spacing).width, 0);
});

test('lines say what there is', () => {
  const { model } = after(0, 1, 2);
  assert.equal(progressLine(model, 105), '1 of 4 done · 1 running · 1 failed · 1 skipped · 5.0 s · about 1.7 s left');
  assert.deepEqual(taskLines(model, model.tasks[2], 105), [
    'fit (task 2)', 'failed, 2.0 s', 'worker host/7', 'takes 1 value', 'ValueError: no'
  ]);
  assert.deepEqual(groupLines(model.groups().groups[1]), ['fit: 2 tasks', '1 running, 1 failed']);
  assert.match(progressLine(new GraphModel(), 0), /^No tasks yet/);
});

test('no time is foretold from nothing', () => {
  assert.equal(remaining(after(0).model, 200), 0);
});

test('durations read well', () => {
  assert.deepEqual([0.007, 0.123, 3.21, 59.6, 75, 7260].map(duration), ['7 ms', '0.12 s', '3.2 s', '1 min 0 s', '1 min 15 s', '2 h 1 min']);
});
