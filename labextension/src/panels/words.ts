import type { TranslationBundle } from '@jupyterlab/translation';

import type { IPool } from '../api';
import type { RequestError } from '../request';
import type { Look } from './glyphs';

/** The look of a pool and the word for it. */
export function poolState(pool: IPool, trans: TranslationBundle): { look: Look; text: string } {
  if (pool.state === 'gone') {
    return { look: 'gone', text: trans.__('Gone') };
  }
  if (pool.state === 'not answering') {
    return { look: 'trouble', text: trans.__('Not answering') };
  }
  if (pool.state === 'older' || pool.state === 'newer') {
    return { look: 'trouble', text: trans.__('Of another version of Shoal: it can only be stopped') };
  }
  if (pool.workers === 0 && pool.trouble) {
    return { look: 'trouble', text: trans.__('In trouble') };
  }
  if (pool.workers === 0) {
    return pool.target > 0
      ? { look: 'starting', text: trans.__('Starting workers') }
      : { look: 'idle', text: trans.__('No blocks') };
  }
  return pool.running + pool.queued > 0
    ? { look: 'up', text: trans.__('Working') }
    : { look: 'up', text: trans.__('Ready') };
}

/** How long a pool lives, and has lived. */
export function lifetime(pool: IPool, trans: TranslationBundle): string {
  if (pool.state === 'gone') {
    return trans.__('Its process has ended.');
  }
  const age = since(pool.started, Date.now() / 1000, trans);
  if (pool.kind === 'lasting') {
    return trans.__('Lasts until it is stopped; up for %1', age);
  }
  return pool.owner
    ? trans.__('Ends with %1; up for %2', pool.owner, age)
    : trans.__('Ends with its notebook; up for %1', age);
}

/** How many workers there are, and what they do. */
export function workersText(pool: IPool, trans: TranslationBundle): string {
  const { workers, slots, running } = pool;
  if (workers === 0) {
    return slots > 0 ? trans.__('none of %1 up', slots) : trans.__('none');
  }
  return workers < slots
    ? trans.__('%1 of %2 up, %3 at work', workers, slots, running)
    : trans.__('%1, %2 at work', workers, running);
}

/** How many tasks there are in each state. A number stays on one line with its word. */
export function tasksText(pool: IPool, trans: TranslationBundle): string {
  return trans
    .__('%1 running, %2 queued, %3 done', pool.running, pool.queued, pool.done)
    .replace(/(\d) /g, '$1\u00a0');
}

/** How long ago something was, roughly. */
export function since(seconds: number, now: number, trans: TranslationBundle): string {
  const passed = Math.max(0, now - seconds);
  if (passed < 90) {
    return trans.__('%1 s', Math.round(passed));
  }
  if (passed < 5400) {
    return trans.__('%1 min', Math.round(passed / 60));
  }
  return passed < 129_600 ? trans.__('%1 h', Math.round(passed / 3600)) : trans.__('%1 d', Math.round(passed / 86_400));
}

/** What went wrong, with its fix where the message does not say it already. */
export function sentence(error: RequestError): string {
  const { message, fix } = error;
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return fix && !text.includes(fix) ? `${text} ${fix}` : text;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** Why a name cannot be a pool's; empty if it can. */
export function nameProblem(name: string, taken: readonly string[], trans: TranslationBundle): string {
  if (!name) {
    return trans.__('Give the pool a name.');
  }
  if (!NAME.test(name)) {
    return trans.__('Use letters, digits, "-" and "_", and begin with a letter or a digit.');
  }
  return taken.includes(name) ? trans.__('A pool of this name is running already.') : '';
}

/** Why the text of a number field cannot be taken; empty if it can. */
export function numberProblem(text: string, least: number, most: number, trans: TranslationBundle): string {
  const value = Number(text);
  const fits = /^\d+$/.test(text.trim()) && value >= least && value <= most;
  return fits ? '' : trans.__('A whole number from %1 to %2.', least, most);
}

/** A name that no pool has yet. */
export function freeName(taken: readonly string[]): string {
  let name = 'pool';
  for (let n = 2; taken.includes(name); n++) {
    name = `pool-${n}`;
  }
  return name;
}
