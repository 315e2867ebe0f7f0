import { CANCELLED, DONE, FAILED, SKIPPED, STATES } from './states';

/** The largest number of nodes that is drawn one by one; above it tasks are drawn as groups. */
export const MOST_NODES = 300;

type Scalar = 'u1' | 'u4' | 'f8';

/** What the kernel sends: one record with the columns' names and types, and a buffer for each column. */
export interface FeedMessage {
  kind: 'full' | 'delta';
  /** Number of this message; a delta follows the message with the number before. */
  seq: number;
  /** Which run; a new one starts from nothing. */
  run: string;
  /** Whether tasks come one by one or as groups. */
  mode: 'tasks' | 'groups';
  total: number;
  counts: number[];
  /** The kernel's clock; when the present burst of tasks began; when the last task ended. Seconds since the epoch. */
  now: number;
  began: number;
  last: number;
  /** Tasks that were over when the present burst began. */
  before: number;
  /** Whether the session has ended. */
  ended: boolean;
  /** Groups that are left out of ``groups`` mode, and the tasks in them. */
  hiddenGroups: number;
  hiddenTasks: number;
  /** Strings that columns name by their place: those from the place ``labelBase`` (``workerBase``) on. */
  labels: string[];
  labelBase: number;
  workers: string[];
  workerBase: number;
  /** Tasks from this one on come with what they take. */
  firstNew: number;
  /** Errors in one line, by task. */
  errors: Record<string, string>;
  columns: [string, Scalar][];
}

export interface Task {
  id: number;
  group: number;
  state: number;
  deps: readonly number[];
  started: number;
  ended: number;
  worker: number;
  error: string;
}

export interface Group {
  label: string;
  counts: number[];
  total: number;
}

export interface GroupEdge {
  from: number;
  to: number;
  count: number;
}

export interface Groups {
  groups: Group[];
  edges: GroupEdge[];
}

export type Bytes = DataView | ArrayBufferView | ArrayBuffer;
type Columns = ReadonlyMap<string, readonly number[]>;

/** The tasks of a run as a page knows them, kept up to date by the messages of the kernel's feed. */
export class GraphModel {
  seq = 0;
  run = '';
  mode: 'tasks' | 'groups' = 'tasks';
  total = 0;
  counts: number[] = STATES.map(() => 0);
  now = 0;
  began = 0;
  last = 0;
  before = 0;
  ended = false;
  hiddenGroups = 0;
  hiddenTasks = 0;
  labels: string[] = [];
  workers: string[] = [];
  tasks: Task[] = [];
  /** Grows when tasks or groups were added; not when only states changed. */
  structure = 0;
  private sentGroups: Groups = { groups: [], edges: [] };

  /**
   * Take in a message.
   *
   * @returns false if messages between the last one and this one are missing: ask for a full one.
   */
  apply(message: FeedMessage, buffers: readonly Bytes[]): boolean {
    if (message.kind === 'delta') {
      if (message.run !== this.run || message.mode !== this.mode || message.seq > this.seq + 1) {
        return false;
      }
      if (message.seq <= this.seq) {
        return true;
      }
    } else if (message.run === this.run && message.seq < this.seq) {
      return true;
    } else {
      this.clear();
    }
    this.takeHead(message);
    const columns = readColumns(message.columns, buffers);
    if (message.mode === 'groups') {
      this.takeGroups(columns);
    } else {
      this.takeTasks(columns, message.firstNew, message.errors);
    }
    return true;
  }

  /** Tasks that are over, however they ended. */
  get over(): number {
    return [DONE, FAILED, SKIPPED, CANCELLED].reduce((sum, state) => sum + this.count(state), 0);
  }

  get active(): boolean {
    return this.over < this.total && !this.ended;
  }

  count(state: number): number {
    return this.counts[state] ?? 0;
  }

  /** Whether tasks are drawn as groups. */
  get grouped(): boolean {
    return this.mode === 'groups' || this.tasks.length > MOST_NODES;
  }

  labelOf(task: Task): string {
    return this.labels[task.group] ?? 'task';
  }

  /** Tasks by label, and how many values go from one label to another. */
  groups(): Groups {
    return this.mode === 'groups' ? this.sentGroups : groupTasks(this.tasks, this.labels);
  }

  /** Another kernel may number its messages anew: take its first, keep the picture until then. */
  startOver(): void {
    this.seq = 0;
  }

  private clear(): void {
    this.labels = [];
    this.workers = [];
    this.tasks = [];
    this.structure += 1;
    this.sentGroups = { groups: [], edges: [] };
  }

  private takeHead(message: FeedMessage): void {
    const { seq, run, mode, total, counts, now, began, last, before, ended, hiddenGroups, hiddenTasks } = message;
    Object.assign(this, { seq, run, mode, total, counts, now, began, last, before, ended, hiddenGroups, hiddenTasks });
    this.labels.splice(message.labelBase, Infinity, ...message.labels);
    this.workers.splice(message.workerBase, Infinity, ...message.workers);
  }

  private takeTasks(columns: Columns, firstNew: number, errors: Record<string, string>): void {
    const [ids, groups, states] = [get(columns, 'tid'), get(columns, 'group'), get(columns, 'state')];
    const [started, ended, workers] = [get(columns, 'started'), get(columns, 'ended'), get(columns, 'worker')];
    const [depCounts, deps] = [get(columns, 'dep_count'), get(columns, 'dep')];
    let nextDep = 0;
    let nextNew = 0;
    ids.forEach((id, row) => {
      let own: number[] = [];
      if (id >= firstNew) {
        const count = depCounts[nextNew++] ?? 0;
        own = deps.slice(nextDep, nextDep + count);
        nextDep += count;
      }
      let task = this.tasks[id];
      if (task === undefined) {
        task = { id, group: 0, state: 0, deps: own, started: 0, ended: 0, worker: 0, error: '' };
        this.tasks[id] = task;
        this.structure += 1;
      }
      task.group = groups[row] ?? 0;
      task.state = states[row] ?? 0;
      task.started = started[row] ?? 0;
      task.ended = ended[row] ?? 0;
      task.worker = workers[row] ?? 0;
      task.error = errors[String(id)] ?? task.error;
    });
  }

  private takeGroups(columns: Columns): void {
    const counts = get(columns, 'counts');
    const width = STATES.length;
    const groups = this.labels.map((label, place) => {
      const own = counts.slice(place * width, (place + 1) * width);
      return { label, counts: own, total: sum(own) };
    });
    const to = get(columns, 'edge_to');
    const count = get(columns, 'edge_count');
    const edges = get(columns, 'edge_from').map((from, row) => ({ from, to: to[row] ?? 0, count: count[row] ?? 0 }));
    this.sentGroups = { groups, edges };
  }
}

export function groupTasks(tasks: readonly Task[], labels: readonly string[]): Groups {
  const groups = labels.map(label => ({ label, counts: STATES.map(() => 0), total: 0 }));
  const edges = new Map<string, GroupEdge>();
  for (const task of tasks) {
    const group = groups[task.group];
    if (group === undefined) {
      continue;
    }
    group.total += 1;
    group.counts[task.state] = (group.counts[task.state] ?? 0) + 1;
    for (const dep of task.deps) {
      const from = tasks[dep]?.group ?? task.group;
      const key = `${from} ${task.group}`;
      const edge = edges.get(key) ?? { from, to: task.group, count: 0 };
      edge.count += 1;
      edges.set(key, edge);
    }
  }
  return { groups, edges: [...edges.values()].filter(edge => edge.from !== edge.to) };
}

function readColumns(heads: readonly [string, Scalar][], buffers: readonly Bytes[]): Columns {
  return new Map(heads.map(([name, type], place) => [name, readColumn(type, buffers[place])]));
}

function readColumn(type: Scalar, bytes: Bytes | undefined): readonly number[] {
  if (bytes === undefined) {
    return [];
  }
  const [source, offset] = bytes instanceof ArrayBuffer ? [bytes, 0] : [bytes.buffer, bytes.byteOffset];
  const view = new DataView(source, offset, bytes.byteLength);
  const size = Number(type.slice(1));
  const values = new Array<number>(Math.floor(view.byteLength / size));
  for (let row = 0; row < values.length; row++) {
    const at = row * size;
    values[row] =
      type === 'u1' ? view.getUint8(at) : type === 'u4' ? view.getUint32(at, true) : view.getFloat64(at, true);
  }
  return values;
}

function get(columns: Columns, name: string): readonly number[] {
  return columns.get(name) ?? [];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
