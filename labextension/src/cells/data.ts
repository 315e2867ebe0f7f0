/** What the kernel's side tells about task cells, checked before it is used: saved notebooks may hold anything. */

/** What the kernel side adds to the line below a task cell for JupyterLab. */
export const MIME_TYPE = 'application/vnd.shoal.task+json';

/** The line below a task cell (stripdata.py). */
export interface ITaskLine {
  /** What tells the run of the kernel apart that made it. */
  readonly kernel: string;
  /** What tells the line apart. */
  readonly line: string;
  /** The id of the cell that is meant. */
  readonly cell: string;
  readonly request: string;
  readonly task: number;
  readonly state: string;
  /** The state whose shape and colour are shown. */
  readonly code: number;
  readonly over: boolean;
  readonly who: string;
  readonly words: string;
  readonly names: readonly string[];
  /** Why the cell is stale; empty if it is not. */
  readonly stale: string;
  /** Since when it is in this state, by the kernel's clock (seconds since the epoch). */
  readonly since: number;
  /** Whether its cell can run in the kernel with the inputs that it had. */
  readonly here: boolean;
  /** The memory to try next if it failed for want of it; else empty. */
  readonly memory: string;
}

/** An output as it is saved. */
export type Output = Readonly<Record<string, unknown>> & { readonly output_type: string };

/** What is below one cell (celldesk.py). */
export interface ICellRecord {
  readonly cell: string;
  /** Empty if nothing is known. */
  readonly request: string;
  readonly session: string;
  /** Whether an earlier kernel ran the cell. */
  readonly restored: boolean;
  /** Whether something was too large to be kept. */
  readonly cut: boolean;
  readonly outputs: readonly Output[];
  /** The display id of each, empty where there is none. */
  readonly displays: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** A list of text; what is no text is left out. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

export function readLine(value: unknown): ITaskLine | undefined {
  const told = fields(value);
  if (told?.['version'] !== 1) {
    return undefined;
  }
  const flaw = fields(told['flaw']) ?? {};
  return {
    kernel: text(told['kernel']),
    line: text(told['line']),
    cell: text(told['cell']),
    request: text(told['request']),
    task: number(told['task']),
    state: text(told['state']),
    code: number(told['code']),
    over: told['over'] === true,
    who: text(told['who']),
    words: text(told['words']),
    names: texts(told['names']),
    stale: text(told['stale']),
    since: number(told['since']),
    here: flaw['here'] === true,
    memory: text(flaw['memory'])
  };
}

/** The line that an output is, if it is one. */
export function lineOf(output: Fields): ITaskLine | undefined {
  return readLine(fields(output['data'])?.[MIME_TYPE]);
}

export function readRecord(told: Fields): ICellRecord {
  const outputs = Array.isArray(told['outputs']) ? (told['outputs'] as Output[]) : []; // as the kernel's side made them
  return {
    cell: text(told['cell']),
    request: text(told['request']),
    session: text(told['session']),
    restored: told['restored'] === true,
    cut: told['cut'] === true,
    outputs,
    displays: texts(told['displays'])
  };
}

/** A cell of which the kernel has a record. */
export interface IIndexed {
  readonly cell: string;
  readonly request: string;
  /** Characters. */
  readonly size: number;
}

export function readIndex(told: Fields): IIndexed[] {
  const rows = Array.isArray(told['cells']) ? (told['cells'] as unknown[]) : [];
  return rows
    .filter((row): row is unknown[] => Array.isArray(row))
    .map(([cell, request, size]) => ({ cell: text(cell), request: text(request), size: number(size) }))
    .filter(({ cell, request }) => cell !== '' && request !== '');
}

/** The first cells of a list, and what is left: as many as are asked for at once. */
export function firstBatch(list: readonly IIndexed[], most: number): [IIndexed[], IIndexed[]] {
  let size = 0;
  const end = list.findIndex((one, place) => place > 0 && (size += list[place - 1]?.size ?? 0) + one.size > most);
  return end < 0 ? [[...list], []] : [list.slice(0, end), list.slice(end)];
}

/** The id of the cell below which a message's output belongs; undefined if it is no output of Shoal's. */
export function cellOfMessage(metadata: unknown): string | undefined {
  const shoal = fields(fields(metadata)?.['shoal']);
  return shoal ? text(shoal['cell']) : undefined;
}

/** What a message adds to the outputs of a cell, as it is saved; undefined if it adds none. */
export function outputOf(kind: string, content: unknown): { output: Output; display: string } | undefined {
  const told = fields(content) ?? {};
  const display = text(fields(told['transient'])?.['display_id']);
  switch (kind) {
    case 'stream':
      return { output: { output_type: 'stream', name: told['name'], text: told['text'] }, display: '' };
    case 'error': {
      const { ename, evalue, traceback } = told;
      return { output: { output_type: 'error', ename, evalue, traceback }, display: '' };
    }
    case 'display_data':
    case 'update_display_data':
      return {
        output: { output_type: 'display_data', data: told['data'], metadata: told['metadata'] ?? {} },
        display
      };
    default:
      return undefined;
  }
}

/**
 * The outputs that a cell is to have, after a page got its record.
 *
 * What the cell itself printed before its task began is in no record: it is kept if it was saved.
 *
 * @returns undefined if the saved ones are better: of a task that is over, of which not all was kept.
 */
export function merged(saved: readonly Fields[], record: ICellRecord): { outputs: Fields[]; first: number } | undefined {
  const place = saved.findIndex(output => {
    const line = lineOf(output);
    return line !== undefined && (record.restored || line.request === record.request);
  });
  const before = place < 0 ? undefined : lineOf(saved[place] ?? {});
  if (record.cut && before?.over === true && !record.restored) {
    return undefined;
  }
  const kept = place > 0 ? saved.slice(0, place) : [];
  return { outputs: [...kept, ...record.outputs], first: kept.length };
}
