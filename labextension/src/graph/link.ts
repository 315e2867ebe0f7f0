import type { Kernel } from '@jupyterlab/services';

import { type IFromKernel, type KernelLink, linkTo } from '../kernel/link';
import { type FeedMessage, GraphModel } from '../views/model';

/** How often a page says that it still looks (milliseconds). */
const HEARTBEAT = 20_000;

/** The graph of one kernel, shared by all views of a page on that kernel. Told only while there is a view. */
export class GraphLink {
  readonly model = new GraphModel();
  private readonly listeners = new Set<() => void>();
  private readonly link: KernelLink;
  private heartbeat = 0;

  constructor(kernel: Kernel.IKernelConnection) {
    this.link = linkTo(kernel);
    this.link.said.connect(this.take);
    this.link.changed.connect(this.follow);
  }

  /** Whether the kernel has told anything yet. */
  get heard(): boolean {
    return this.model.seq > 0;
  }

  /** Be told of changes; returns how to stop that. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    this.follow();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) {
        this.stop();
        this.link.say({ kind: 'leave' });
      }
    };
  }

  /** Open the way, if it is not open. */
  connect(): Promise<void> {
    return this.link.connect();
  }

  /** The way has opened or closed, or somebody looks. */
  private readonly follow = (): void => {
    if (this.link.state !== 'open') {
      this.stop();
      this.model.startOver();
    } else if (this.listeners.size > 0 && this.heartbeat === 0) {
      this.link.say({ kind: 'look' });
      this.heartbeat = window.setInterval(() => this.link.say({ kind: 'here' }), HEARTBEAT);
    }
  };

  private stop(): void {
    window.clearInterval(this.heartbeat);
    this.heartbeat = 0;
  }

  private readonly take = (_: KernelLink, { data, buffers }: IFromKernel): void => {
    if (!('columns' in data) || this.listeners.size === 0) {
      return;
    }
    // the kernel's side of this comm is our own code: what has columns is a message of the feed
    if (!this.model.apply(data as unknown as FeedMessage, buffers)) {
      this.link.say({ kind: 'look' });
      return;
    }
    for (const listener of this.listeners) {
      listener();
    }
  };
}
