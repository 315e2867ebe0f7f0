import { duration } from '../views/words';
import type { ITaskLine } from './data';

/** What the line stands for: the kernel that made it, that one as far as is known yet, or none that is there. */
export type Standing = 'ours' | 'unknown' | 'restarted' | 'ended';

/** How a task is, as the line below its cell says it. */
export function lineWords(line: ITaskLine, standing: Standing, now: number): string {
  const names = line.names.length > 0 ? ` → ${line.names.join(', ')}` : '';
  if (!line.over && (standing === 'restarted' || standing === 'ended')) {
    const what = standing === 'restarted' ? 'kernel restarted' : 'its kernel has ended';
    return `${line.who}: ${what} (it was ${line.state || 'not over'})`;
  }
  const ticks = standing === 'ours' && line.state === 'running' && line.words === 'running';
  const spent = ticks ? now - line.since : 0;
  const time = spent >= 1 ? ` for ${duration(Math.floor(spent))}` : '';
  return `${line.who}: ${line.words}${time}${names}`;
}

/** What the person can do about a task, as ids of buttons in their order. */
export type Deed = 'cancel' | 'again' | 'stale' | 'debug' | 'memory';

const AGAIN: ReadonlySet<string> = new Set(['failed', 'skipped', 'cancelled']);

/** The buttons of a line: none if the kernel that made it is not there. */
export function deeds(line: ITaskLine, standing: Standing): Deed[] {
  if (standing !== 'ours') {
    return [];
  }
  if (!line.over) {
    return ['cancel'];
  }
  const found: Deed[] = [];
  if (line.stale !== '' || AGAIN.has(line.state)) {
    found.push('again');
  }
  if (line.stale !== '') {
    found.push('stale');
  }
  if (line.here) {
    found.push('debug');
  }
  if (line.memory !== '') {
    found.push('memory');
  }
  return found;
}
