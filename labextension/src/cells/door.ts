import type { CodeCell } from '@jupyterlab/cells';
import type { IOutput } from '@jupyterlab/nbformat';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { KernelMessage } from '@jupyterlab/services';
import { JSONExt, type ReadonlyPartialJSONValue } from '@lumino/coreutils';

import { type IFromKernel, type KernelLink, linkTo } from '../kernel/link';
import { cellOfMessage, firstBatch, type ICellRecord, type IIndexed, lineOf, merged, outputOf, readIndex, readRecord, texts } from './data';

type Context = NotebookPanel['context'];
type Future = CodeCell['outputArea']['future'];
type OutputModel = CodeCell['model']['outputs'];

/** How much is asked for at once (characters). */
const BATCH = 300_000;
/** How fast answers may come (characters a millisecond). */
const RATE = 500;
/** An answer that has not come for so long (milliseconds) was dropped on its way. */
const PATIENCE = 15_000;

/** A cell whose output this page gets although JupyterLab does not file it there. */
interface IFollowed {
  readonly request: string;
  /** The client that ran the cell. */
  readonly session: string;
  /** Where the displays are. */
  readonly displays: Map<string, number>;
  /** How many outputs there were when this page wrote last. */
  count: number;
}

/**
 * Puts output below the task cells of one notebook whose requests this page has not made: after a reload, in a second
 * page, and after a restart of the kernel.
 *
 * The kernel sends output to all pages, each message with the id of its cell. A page that did not see the beginning asks
 * for the record of the cell. The answer comes in line with the output itself, so that nothing is missing or twice.
 */
export class CellDoor {
  private readonly views = new Set<NotebookPanel>();
  private link: KernelLink | undefined;
  private readonly followed = new Map<string, IFollowed>();
  /** Cells that were asked for, each with the request because of which; empty if because of none. */
  private readonly asked = new Map<string, { request: string; at: number }>();
  /** Cells that are to be asked for. */
  private queue: IIndexed[] = [];
  private later = 0;
  /** Requests of which the kernel says that they are not their cells' last ones. */
  private readonly gone = new Set<string>();
  private sessions: readonly string[] = [];

  constructor(private readonly context: Context) {
    const session = context.sessionContext;
    session.kernelChanged.connect(this.follow);
    session.connectionStatusChanged.connect(this.follow);
    session.iopubMessage.connect((_, message) => this.onOutput(message));
    context.disposed.connect(() => this.leave());
    void context.ready.then(() => this.follow());
  }

  /** One more view of the notebook. */
  add(panel: NotebookPanel): void {
    this.views.add(panel);
    panel.disposed.connect(() => this.views.delete(panel));
    this.follow();
  }

  /** Open the way to the kernel, if Shoal seems to be there. */
  private readonly follow = (): void => {
    const kernel = this.context.sessionContext.session?.kernel;
    if (this.context.isDisposed || kernel?.connectionStatus !== 'connected') {
      return;
    }
    const link = linkTo(kernel);
    if (link !== this.link) {
      this.leave();
      this.link = link;
      link.notebooks.add(this.cellIds);
      link.said.connect(this.onSaid);
      link.changed.connect(this.onChanged);
    }
    if (link.state === 'open') {
      link.say({ kind: 'cells' }); // what came while the connection was broken is in the records
    } else if (this.usesShoal()) {
      this.open();
    }
  };

  private open(): void {
    this.link?.connect().catch((error: unknown) => {
      console.warn('Shoal: the kernel cannot be asked for the output of its tasks', error);
    });
  }

  private leave(): void {
    this.link?.notebooks.delete(this.cellIds);
    this.link?.said.disconnect(this.onSaid);
    this.link?.changed.disconnect(this.onChanged);
    this.link = undefined;
    this.forget();
  }

  private forget(): void {
    this.followed.clear();
    this.asked.clear();
    this.gone.clear();
    this.queue = [];
  }

  /** A kernel without Shoal would write a warning into its log if it were asked. */
  private usesShoal(): boolean {
    if (this.context.sessionContext.session?.kernel?.name.includes('shoal') === true) {
      return true;
    }
    return this.cells().some(
      ({ model }) =>
        model.sharedModel.getSource().includes('shoal') ||
        model.outputs.toJSON().some(output => lineOf(output) !== undefined)
    );
  }

  // ------------------------------------------------------------------ what comes

  private readonly onChanged = (): void => {
    if (this.link?.state !== 'open') {
      this.forget();
    }
  };

  private readonly onSaid = (_: KernelLink, { data }: IFromKernel): void => {
    if (data['kind'] === 'cells') {
      this.queue = readIndex(data);
      this.askNext();
    } else if (data['kind'] === 'cell') {
      this.onRecord(readRecord(data));
    } else if (data['kind'] === 'pages') {
      this.onPages(texts(data['sessions']));
    }
  };

  private onOutput(message: KernelMessage.IMessage): void {
    const id = cellOfMessage(message.metadata);
    if (id === undefined) {
      return;
    }
    const request = 'msg_id' in message.parent_header ? message.parent_header.msg_id : '';
    const cell = id === '' ? undefined : this.find(id);
    if (this.link?.state !== 'open') {
      this.open();
    }
    if (!cell || this.isLive(id, request) || this.isAsked(id) || this.gone.has(request) || this.waits(id)) {
      return;
    }
    const followed = this.followed.get(id);
    if (followed?.request === request) {
      this.write(followed, () => add(cell.model.outputs, followed, message));
    } else {
      this.ask([id], request);
    }
  }

  /** The Jupyter server drops what comes faster than about a megabyte a second. */
  private askNext(): void {
    window.clearTimeout(this.later);
    const known = new Set(this.cellIds());
    const wanted = this.queue.filter(({ cell, request }) => known.has(cell) && !this.isLive(cell, request));
    const [batch, rest] = firstBatch(wanted, BATCH);
    this.queue = rest;
    this.ask(batch.map(({ cell }) => cell));
    if (rest.length > 0) {
      const size = batch.reduce((sum, one) => sum + one.size, 0);
      this.later = window.setTimeout(() => this.askNext(), size / RATE);
    }
  }

  private ask(cells: string[], request = ''): void {
    if (this.link?.state === 'open' && cells.length > 0) {
      const at = Date.now();
      cells.forEach(id => this.asked.set(id, { request, at }));
      this.link.say({ kind: 'want', cells });
    }
  }

  private isAsked(id: string): boolean {
    const asked = this.asked.get(id);
    return asked !== undefined && Date.now() - asked.at < PATIENCE;
  }

  private onRecord(record: ICellRecord): void {
    const wanted = this.asked.get(record.cell)?.request;
    if (wanted === undefined) {
      return; // for another notebook of this kernel
    }
    this.asked.delete(record.cell);
    if (wanted !== '' && wanted !== record.request) {
      this.gone.add(wanted);
    }
    const cell = this.find(record.cell);
    if (!cell || record.request === '' || this.isLive(record.cell, record.request) || this.waits(record.cell)) {
      return;
    }
    const followed: IFollowed = { request: record.request, session: record.session, displays: new Map(), count: 0 };
    this.followed.set(record.cell, followed);
    this.write(followed, () => put(cell, followed, record));
  }

  // ------------------------------------------------------------------ what is written

  private write(followed: IFollowed, change: () => void): void {
    const model = this.context.model;
    if (model.collaborative) {
      return; // pages share their outputs
    }
    const dirty = model.dirty;
    change();
    if (!dirty && !this.saves(followed.session)) {
      model.dirty = false;
    }
  }

  /**
   * Whether this page is the one to save what comes: if the page that ran the cell is gone, the first of the others.
   * Otherwise all would save, and JupyterLab would ask which of them is right.
   */
  private saves(session: string): boolean {
    const [first] = this.sessions;
    const own = this.context.sessionContext.session?.kernel?.clientId;
    return first === undefined || (first === own && !this.sessions.includes(session));
  }

  private onPages(sessions: readonly string[]): void {
    const others = [...this.followed.values()].filter(({ session }) => !this.saves(session));
    this.sessions = sessions;
    if (others.some(({ session }) => this.saves(session))) {
      this.context.model.dirty = true;
    }
  }

  private cells(): CodeCell[] {
    const [view] = this.views;
    return view ? codeCells(view) : [];
  }

  private find(id: string): CodeCell | undefined {
    return this.cells().find(cell => cell.model.id === id);
  }

  private readonly cellIds = (): string[] => this.cells().map(cell => cell.model.id);

  /** What JupyterLab still waits for on behalf of a cell, in any view. */
  private futures(id: string): Future[] {
    return [...this.views]
      .flatMap(codeCells)
      .filter(cell => cell.model.id === id)
      .flatMap(cell => futureOf(cell.outputArea) ?? [])
      .filter(future => !future.isDisposed);
  }

  /** Whether JupyterLab files the output of a request below the cell itself. */
  private isLive(id: string, request: string): boolean {
    return this.futures(id).some(future => future.msg.header.msg_id === request);
  }

  /** Whether a cell was run from this page, and is not over. */
  private waits(id: string): boolean {
    return this.futures(id).length > 0 && this.find(id)?.model.executionState === 'running';
  }
}

function codeCells(panel: NotebookPanel): CodeCell[] {
  return panel.content.widgets.filter((cell): cell is CodeCell => cell.model.type === 'code');
}

/** An area has none before its cell was run from this page, whatever its type says. */
function futureOf(area: { future?: Future }): Future | undefined {
  return area.future;
}

/** Let a cell have what the kernel has kept of it. */
function put(cell: CodeCell, followed: IFollowed, record: ICellRecord): void {
  const outputs = cell.model.outputs;
  const saved = outputs.toJSON();
  const next = merged(saved, record);
  if (next === undefined) {
    return;
  }
  const wanted = next.outputs as IOutput[]; // as nbformat has them
  if (!isSame(saved, wanted)) {
    if (next.first === 0) {
      cell.model.trusted = true; // as for what a cell shows that was run
    }
    outputs.fromJSON(wanted);
  }
  record.displays.forEach((display, index) => {
    if (display) {
      followed.displays.set(display, next.first + index);
    }
  });
  followed.count = outputs.length;
}

function isSame(saved: readonly IOutput[], wanted: readonly IOutput[]): boolean {
  return JSONExt.deepEqual(saved.map(normal), wanted.map(normal));
}

function normal(output: IOutput): ReadonlyPartialJSONValue {
  const text = output['text'];
  return Array.isArray(text) ? { ...output, text: text.join('') } : output;
}

function add(outputs: OutputModel, followed: IFollowed, message: KernelMessage.IMessage): void {
  const made = outputOf(message.header.msg_type, message.content);
  if (made === undefined) {
    return;
  }
  const output = made.output as unknown as IOutput; // as nbformat has it
  if (outputs.length < followed.count) {
    followed.displays.clear(); // somebody has cleared the cell
  }
  if (message.header.msg_type === 'update_display_data') {
    const place = followed.displays.get(made.display);
    if (place !== undefined && place < outputs.length) {
      outputs.set(place, output);
    }
    return;
  }
  const place = outputs.add(output) - 1;
  if (made.display) {
    followed.displays.set(made.display, place);
  }
  followed.count = outputs.length;
}
