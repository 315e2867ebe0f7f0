import type { GraphModel, Group, Task } from './model';
import { CANCELLED, DONE, FAILED, QUEUED, RUNNING, SKIPPED, STATES, WAITING, stateName } from './states';

/** Seconds as people say them: ``7 ms``, ``0.42 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``. */
export function duration(seconds: number): string {
  if (seconds > 0 && seconds < 0.001) {
    return `${(1000 * seconds).toFixed(1)} ms`;
  }
  if (seconds < 0.1) {
    return `${(1000 * seconds).toFixed(0)} ms`;
  }
  if (seconds < 10) {
    return `${seconds < 1 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function number(value: number): string {
  return value.toLocaleString('en');
}

export function plural(count: number, word: string): string {
  return `${number(count)} ${word}${count === 1 ? '' : 's'}`;
}

/** Seconds from the begin of the present burst of tasks until now, or until the last one ended. */
export function elapsed(model: GraphModel, now: number): number {
  return model.began > 0 ? Math.max(0, (model.active ? now : model.last) - model.began) : 0;
}

/** Seconds that the rest will take if it goes on as it went; 0 where that cannot be told yet. */
export function remaining(model: GraphModel, now: number): number {
  const spent = elapsed(model, now);
  const over = model.over - model.before;
  return model.active && over >= 3 && spent > 1 ? (spent / over) * (model.total - model.over) : 0;
}

/** The line under the bar. */
export function progressLine(model: GraphModel, now: number): string {
  if (model.total === 0) {
    return 'No tasks yet: call an app, or begin a cell with %%task.';
  }
  const parts = [`${number(model.count(DONE))} of ${number(model.total)} done`];
  for (const state of [RUNNING, QUEUED, WAITING, FAILED, SKIPPED, CANCELLED]) {
    if (model.count(state) > 0) {
      parts.push(`${number(model.count(state))} ${stateName(state)}`);
    }
  }
  parts.push(duration(elapsed(model, now)));
  const left = remaining(model, now);
  if (left > 0) {
    parts.push(`about ${duration(left)} left`);
  }
  if (model.ended) {
    parts.push('session ended');
  }
  return parts.join(' · ');
}

/** What the picture shows of all there is; empty if it is everything, one by one. */
export function scopeLine(model: GraphModel, shown: number): string {
  if (!model.grouped) {
    return '';
  }
  const all = `showing ${plural(shown, 'group')} of ${plural(model.total - model.hiddenTasks, 'task')}`;
  return model.hiddenGroups > 0
    ? `${all}; ${plural(model.hiddenGroups, 'smaller group')} with ${plural(model.hiddenTasks, 'task')} not drawn`
    : all;
}

/** One sentence for screen readers. */
export function summary(model: GraphModel, now: number): string {
  return `Task graph: ${progressLine(model, now)}.`;
}

/** The lines of a task's tooltip; the first is its title. */
export function taskLines(model: GraphModel, task: Task, now: number): string[] {
  let state: string = stateName(task.state);
  if (task.started > 0) {
    const end = task.ended > 0 ? task.ended : now;
    state += `, ${duration(Math.max(0, end - task.started))}`;
  }
  const lines = [`${model.labelOf(task)} (task ${task.id})`, state];
  const worker = model.workers[task.worker] ?? '';
  if (worker !== '') {
    lines.push(`worker ${worker}`);
  }
  if (task.deps.length > 0) {
    lines.push(`takes ${plural(task.deps.length, 'value')}`);
  }
  if (task.error !== '') {
    lines.push(task.error);
  }
  return lines;
}

/** The lines of a group's tooltip; the first is its title. */
export function groupLines(group: Group): string[] {
  const parts = STATES.map((name, code) => [name, group.counts[code] ?? 0] as const).filter(([, count]) => count > 0);
  return [`${group.label}: ${plural(group.total, 'task')}`, parts.map(([name, count]) => `${number(count)} ${name}`).join(', ')];
}
