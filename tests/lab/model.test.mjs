import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';

import { PoolModel } from '../../labextension/src/model';

globalThis.document = { visibilityState: 'visible', addEventListener() {}, removeEventListener() {} };

/** A server whose answers a test gives by hand. */
class Server {
  calls = [];
  list = () => this._call('list');
  start = wanted => this._call('start', wanted);
  stop = name => this._call('stop', name);
  scale = (name, wanted) => this._call('scale', name, wanted);
  _call(...what) {
    return new Promise((resolve, reject) => this.calls.push({ what, resolve, reject }));
  }
  asked = () => this.calls.map(call => call.what[0]);
}

const answer = (...names) => ({ version: '1', pools: names.map(name => ({ name })) });
/** Let everything that is due now happen. */
const settle = async () => {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise(resolve => setImmediate(resolve));
    mock.timers.tick(0);
  }
};
const passes = async ms => {
  mock.timers.tick(ms);
  await settle();
};

let server;
let model;
beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  globalThis.document.visibilityState = 'visible';
  server = new Server();
  model = new PoolModel(server);
});

test('nothing is asked while nobody watches', async () => {
  await passes(10_000);
  assert.deepEqual(server.calls, []);
});

test('a watcher gets an answer at once, and again after each interval', async () => {
  model.watch();
  await settle();
  assert.equal(server.calls.length, 1);
  server.calls[0].resolve(answer('a'));
  await settle();
  assert.deepEqual(model.state.pools.map(pool => pool.name), ['a']);
  await passes(1999);
  assert.equal(server.calls.length, 1);
  await passes(2);
  assert.equal(server.calls.length, 2);
});

test('a page that nobody sees, and a watcher that has left, ask nothing', async () => {
  const leave = model.watch();
  await settle();
  server.calls[0].resolve(answer());
  await settle();
  globalThis.document.visibilityState = 'hidden';
  await passes(10_000);
  assert.equal(server.calls.length, 1);
  globalThis.document.visibilityState = 'visible';
  leave();
  leave();
  await passes(10_000);
  assert.equal(server.calls.length, 1);
});

test('failures are told, keep what was known, and make the questions rarer', async () => {
  model.watch();
  await settle();
  server.calls[0].resolve(answer('a'));
  await settle();
  await passes(2001);
  server.calls[1].reject(new Error('no route'));
  await settle();
  assert.equal(model.state.error.kind, 'unreachable');
  assert.deepEqual(model.state.pools.map(pool => pool.name), ['a']);
  // After each failure the poll waits longer, up to 30 s: in ten minutes it asks a few dozen times, not 300.
  for (let second = 0; second < 600; second++) {
    await passes(1000);
    server.calls.at(-1).reject(new Error('no route'));
    await settle();
  }
  assert.ok(server.calls.length > 15 && server.calls.length < 80, `${server.calls.length} calls`);
});

test('a change marks its pool as busy until it is answered, and shows the answer', async () => {
  const done = model.stop('a');
  assert.ok(model.state.busy.has('a'));
  server.calls[0].resolve(answer('b'));
  await done;
  assert.deepEqual([...model.state.busy], []);
  assert.deepEqual(model.state.pools.map(pool => pool.name), ['b']);
});

test('a refused change rejects, and leaves what is known as it is', async () => {
  const done = model.scale('a', 2);
  server.calls[0].reject(new Error('refused'));
  await assert.rejects(done, /refused/);
  assert.deepEqual([...model.state.busy], []);
  assert.equal(model.state.error, null);
});

test('a listing that set out before a change was answered does not bring back the old state', async () => {
  model.watch();
  await settle();
  const listing = server.calls[0];
  const done = model.stop('a');
  server.calls[1].resolve(answer());
  await done;
  listing.resolve(answer('a'));
  await settle();
  assert.deepEqual(model.state.pools, []);
});
