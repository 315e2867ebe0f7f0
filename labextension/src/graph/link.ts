import { type Kernel, KernelMessage } from '@jupyterlab/services';
import { UUID } from '@lumino/coreutils';

import { type Bytes, type FeedMessage, GraphModel } from '../views/model';

/** The comm target of the kernel's feed. */
export const TARGET = 'shoal.graph';

/** How often a page says that it still looks (milliseconds). */
const HEARTBEAT = 20_000;
/** How long to wait for a subshell before doing without; JupyterLab itself waits 3 s for a busy kernel after a reload (milliseconds). */
const PATIENCE = 10_000;

/**
 * The way to one kernel's feed, shared by all views of a page on that kernel.
 *
 * It has a comm of its own and a subshell of its own, made before the first message: the kernel then answers at once,
 * also while a cell runs, and also after a reload of the page during a cell, when JupyterLab's own comms wait.
 */
export class GraphLink {
  readonly model = new GraphModel();
  private readonly listeners = new Set<() => void>();
  private comm: Kernel.IComm | undefined;
  private subshell: string | undefined;
  /** Whether the subshell is this link's own, to be ended with it. */
  private ownSubshell = false;
  private heartbeat = 0;

  constructor(private readonly kernel: Kernel.IKernelConnection) {
    window.addEventListener('pagehide', this.disconnect);
    kernel.disposed.connect(this.disconnect);
    kernel.statusChanged.connect((_, status) => {
      if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
        this.forget();
      }
    });
  }

  /** Whether the kernel has told anything yet. */
  get heard(): boolean {
    return this.model.seq > 0;
  }

  /** Be told of changes; returns how to stop that. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  /** Open the way, if it is not open. */
  async connect(): Promise<void> {
    if (this.comm && !this.comm.isDisposed) {
      return;
    }
    const comm = this.kernel.createComm(TARGET, UUID.uuid4());
    this.comm = comm;
    comm.onMsg = message => this.take(message.content.data, message.buffers ?? []);
    comm.onClose = () => this.forget();
    this.subshell ??= await this.findSubshell(comm);
    const { clientId: session, username } = this.kernel;
    const message = KernelMessage.createMessage<KernelMessage.ICommOpenMsg<'shell'>>({
      ...{ msgType: 'comm_open', channel: 'shell', session, username },
      content: { comm_id: comm.commId, target_name: TARGET, data: {} }
    });
    this.send(message);
    window.clearInterval(this.heartbeat);
    this.heartbeat = window.setInterval(() => this.say('here'), HEARTBEAT);
  }

  private take(message: unknown, buffers: readonly Bytes[]): void {
    // the kernel's side of this comm is our own code: what comes is a message of the feed
    if (!this.model.apply(message as FeedMessage, buffers)) {
      this.say('look');
      return;
    }
    for (const listener of this.listeners) {
      listener();
    }
  }

  private say(kind: 'look' | 'here'): void {
    if (this.comm && !this.kernel.isDisposed) {
      const { clientId: session, username } = this.kernel;
      const message = KernelMessage.createMessage<KernelMessage.ICommMsgMsg<'shell'>>({
        ...{ msgType: 'comm_msg', channel: 'shell', session, username },
        content: { comm_id: this.comm.commId, data: { kind } }
      });
      this.send(message);
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
    const made = await this.makeSubshell();
    this.ownSubshell = made !== undefined;
    return made;
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

  private forget(): void {
    window.clearInterval(this.heartbeat);
    this.comm = undefined;
    this.subshell = undefined;
    this.model.startOver();
  }

  /** The page or the kernel goes: the kernel need not keep a thread for us. */
  private readonly disconnect = (): void => {
    const { subshell, ownSubshell, kernel } = this;
    this.forget();
    if (subshell !== undefined && ownSubshell && !kernel.isDisposed && kernel.connectionStatus === 'connected') {
      const request = KernelMessage.createMessage<KernelMessage.IDeleteSubshellRequestMsg>({
        ...{ msgType: 'delete_subshell_request', channel: 'control' },
        session: kernel.clientId,
        username: kernel.username,
        content: { subshell_id: subshell }
      });
      kernel.sendControlMessage(request, false, true);
    }
  };
}

function pause(): Promise<undefined> {
  return new Promise(resolve => {
    window.setTimeout(() => resolve(undefined), PATIENCE);
  });
}

function readSubshell(content: object): string | undefined {
  return 'subshell_id' in content && typeof content.subshell_id === 'string' ? content.subshell_id : undefined;
}
