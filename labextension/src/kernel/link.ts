import { type Kernel, KernelMessage } from '@jupyterlab/services';
import { UUID, type JSONObject } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

/** The comm target of the kernel's side. */
export const TARGET = 'shoal.graph';

/** How long to wait for a subshell before doing without; JupyterLab itself waits 3 s for a busy kernel after a reload (milliseconds). */
const PATIENCE = 10_000;

/** What the kernel's side says. */
export interface IFromKernel {
  readonly data: Readonly<Record<string, unknown>>;
  readonly buffers: readonly (ArrayBuffer | ArrayBufferView)[];
}

/** `refused`: the kernel knows nothing of Shoal, or it has ended. */
export type LinkState = 'closed' | 'opening' | 'open' | 'refused';

/**
 * The way to one kernel's side, shared by all that a page shows of that kernel.
 *
 * It has a comm of its own and a subshell of its own, made before the first message: the kernel then answers at once,
 * also while a cell runs, and also after a reload of the page during a cell, when JupyterLab's own comms wait.
 */
export class KernelLink {
  /** Emitted with each message of the kernel's side. */
  readonly said = new Signal<this, IFromKernel>(this);
  /** Emitted when the state has changed. */
  readonly changed = new Signal<this, void>(this);
  /** Each tells the ids of the cells of one notebook on this kernel. */
  readonly notebooks = new Set<() => string[]>();
  private comm: Kernel.IComm | undefined;
  private subshell: string | undefined;
  private current: LinkState = 'closed';
  /** What tells this run of the kernel apart from others; empty until it has said so. */
  private run = '';
  private ahead = 0;

  constructor(private readonly kernel: Kernel.IKernelConnection) {
    window.addEventListener('pagehide', this.disconnect);
    kernel.disposed.connect(this.disconnect);
    kernel.statusChanged.connect((_, status) => {
      if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
        this.forget(status === 'dead' ? 'refused' : 'closed');
      }
    });
  }

  get state(): LinkState {
    return this.current;
  }

  get kernelRun(): string {
    return this.run;
  }

  /** Seconds since the epoch by the kernel's clock. */
  get now(): number {
    return Date.now() / 1000 - this.ahead;
  }

  /** Open the way, if it is not open. */
  async connect(): Promise<void> {
    if ((this.comm && !this.comm.isDisposed) || !this.kernel.handleComms) {
      return;
    }
    const comm = this.kernel.createComm(TARGET, UUID.uuid4());
    this.comm = comm;
    this.become('opening');
    comm.onMsg = message => this.take(comm, message.content.data, message.buffers ?? []);
    comm.onClose = () => {
      if (this.comm === comm) {
        this.forget('refused');
      }
    };
    this.subshell ??= await this.findSubshell(comm);
    if (this.comm !== comm) {
      return; // the kernel has ended meanwhile
    }
    const { clientId: session, username } = this.kernel;
    const message = KernelMessage.createMessage<KernelMessage.ICommOpenMsg<'shell'>>({
      ...{ msgType: 'comm_open', channel: 'shell', session, username },
      content: { comm_id: comm.commId, target_name: TARGET, data: { cells: this.cellIds() } }
    });
    this.send(message);
  }

  /** Say something; lost if the way is not open. */
  say(data: JSONObject): void {
    if (this.comm && !this.kernel.isDisposed) {
      const { clientId: session, username } = this.kernel;
      const message = KernelMessage.createMessage<KernelMessage.ICommMsgMsg<'shell'>>({
        ...{ msgType: 'comm_msg', channel: 'shell', session, username },
        content: { comm_id: this.comm.commId, data }
      });
      this.send(message);
    }
  }

  /** The next message of a kind; rejected if the way is closed before it comes. */
  answer(data: JSONObject, kind: string): Promise<IFromKernel['data']> {
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.said.disconnect(onSaid);
        this.changed.disconnect(onChanged);
      };
      const onSaid = (_: this, message: IFromKernel): void => {
        if (message.data['kind'] === kind) {
          stop();
          resolve(message.data);
        }
      };
      const onChanged = (): void => {
        stop();
        reject(new Error('the kernel has ended before it answered'));
      };
      this.said.connect(onSaid);
      this.changed.connect(onChanged);
      this.say(data);
    });
  }

  private take(comm: Kernel.IComm, data: unknown, buffers: IFromKernel['buffers']): void {
    if (comm !== this.comm || typeof data !== 'object' || data === null) {
      return;
    }
    const told = data as IFromKernel['data']; // an object of JSON
    if (told['kind'] === 'who') {
      this.say({ kind: 'me', cells: this.cellIds() });
    } else if (told['kind'] === 'cells') {
      this.run = String(told['kernel']);
      this.ahead = Date.now() / 1000 - Number(told['now']);
    }
    this.become('open');
    this.said.emit({ data: told, buffers });
  }

  private cellIds(): string[] {
    return [...this.notebooks].flatMap(ids => ids());
  }

  private become(state: LinkState): void {
    if (state !== this.current) {
      this.current = state;
      this.changed.emit();
    }
  }

  private send(message: KernelMessage.IShellMessage<'comm_open' | 'comm_msg'>): void {
    if (this.subshell !== undefined) {
      message.header.subshell_id = this.subshell;
    }
    this.kernel.sendShellMessage(message, false, true);
  }

  /** The subshell that JupyterLab makes for the comm, where it knows that it can; else one of our own. */
  private async findSubshell(comm: Kernel.IComm): Promise<string | undefined> {
    const theirs: Kernel.IComm & { subshellStarted?: Promise<void>; subshellId?: string | null } = comm;
    if (this.kernel.supportsSubshells && theirs.subshellStarted) {
      await Promise.race([theirs.subshellStarted, pause()]);
      return theirs.subshellId ?? undefined;
    }
    return this.makeSubshell();
  }

  /** Ask on the control channel, which is never busy; a kernel without subshells refuses. */
  private async makeSubshell(): Promise<string | undefined> {
    const { clientId: session, username } = this.kernel;
    const request = KernelMessage.createMessage<KernelMessage.ICreateSubshellRequestMsg>({
      ...{ msgType: 'create_subshell_request', channel: 'control', session, username },
      content: {}
    });
    const asked = this.kernel.sendControlMessage(request, true, true).done;
    const reply = await Promise.race([asked.catch(() => undefined), pause()]);
    return reply ? readSubshell(reply.content) : undefined;
  }

  private forget(state: LinkState): void {
    this.comm = undefined;
    this.subshell = undefined;
    this.run = '';
    this.become(state);
  }

  /** The page or the kernel goes: the kernel need not keep a thread for us. */
  private readonly disconnect = (): void => {
    const { comm, subshell, kernel } = this;
    if (comm && !kernel.isDisposed && kernel.connectionStatus === 'connected') {
      const { clientId: session, username } = kernel;
      const message = KernelMessage.createMessage<KernelMessage.ICommCloseMsg<'shell'>>({
        ...{ msgType: 'comm_close', channel: 'shell', session, username },
        content: { comm_id: comm.commId, data: {} }
      });
      kernel.sendShellMessage(message, false, true); // not over the subshell, which is gone before it gets there
      if (subshell !== undefined) {
        const request = KernelMessage.createMessage<KernelMessage.IDeleteSubshellRequestMsg>({
          ...{ msgType: 'delete_subshell_request', channel: 'control', session, username },
          content: { subshell_id: subshell }
        });
        kernel.sendControlMessage(request, false, true);
      }
    }
    this.forget('closed');
  };
}

const links = new WeakMap<Kernel.IKernelConnection, KernelLink>();

/** The one way of this page to a kernel. */
export function linkTo(kernel: Kernel.IKernelConnection): KernelLink {
  const link = links.get(kernel) ?? new KernelLink(kernel);
  links.set(kernel, link);
  return link;
}

function pause(): Promise<undefined> {
  return new Promise(resolve => {
    window.setTimeout(() => resolve(undefined), PATIENCE);
  });
}

function readSubshell(content: object): string | undefined {
  return 'subshell_id' in content && typeof content.subshell_id === 'string' ? content.subshell_id : undefined;
}
