import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import type { IPoolList, IStartPool } from './api';
import { RequestError, type Requests } from './request';
import type { IPoolModel, IPoolsState } from './tokens';

const MAX_INTERVAL = 30_000;

/** Polls the server extension while somebody watches and the page is seen; slower and slower while that fails. */
export class PoolModel implements IPoolModel, IDisposable {
  constructor(private readonly _requests: Requests) {
    this._poll = new Poll({
      auto: false,
      name: 'shoal-lab:pools',
      factory: () => this._list(),
      frequency: { interval: 2000, backoff: true, max: MAX_INTERVAL },
      standby: () => this._watchers === 0 || document.visibilityState === 'hidden'
    });
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  readonly changed = new Signal<this, void>(this);

  get state(): IPoolsState {
    return this._state;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Milliseconds between two questions while all is well. */
  set interval(value: number) {
    this._poll.frequency = { ...this._poll.frequency, interval: value };
  }

  watch(): () => void {
    this._watchers += 1;
    void this.refresh();
    let watching = true;
    return () => {
      if (watching) {
        watching = false;
        this._watchers -= 1;
      }
    };
  }

  async refresh(): Promise<void> {
    await this._poll.refresh();
    await this._poll.tick;
  }

  start(wanted: IStartPool): Promise<void> {
    return this._change(wanted.name, () => this._requests.start(wanted));
  }

  stop(name: string): Promise<void> {
    return this._change(name, () => this._requests.stop(name));
  }

  scale(name: string, blocks: number): Promise<void> {
    return this._change(name, () => this._requests.scale(name, { blocks }));
  }

  dispose(): void {
    document.removeEventListener('visibilitychange', this._onVisibility);
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _list(): Promise<void> {
    const change = this._changes;
    try {
      const answer = await this._requests.list();
      // An answer that set out before a change came back would show the old state again for a moment.
      if (change === this._changes) {
        this._take(answer);
      }
    } catch (error) {
      this._update({ asked: true, error: asRequestError(error) });
      throw error;
    }
  }

  private async _change(name: string, call: () => Promise<IPoolList>): Promise<void> {
    this._update({ busy: new Set([...this._state.busy, name]) });
    try {
      const answer = await call();
      this._changes += 1;
      this._take(answer);
    } finally {
      this._update({ busy: new Set([...this._state.busy].filter(other => other !== name)) });
      void this.refresh();
    }
  }

  private _take(answer: IPoolList): void {
    this._update({ asked: true, pools: answer.pools, error: null });
  }

  private _update(part: Partial<IPoolsState>): void {
    this._state = { ...this._state, ...part };
    this.changed.emit();
  }

  private readonly _onVisibility = (): void => {
    if (this._watchers > 0 && document.visibilityState === 'visible') {
      void this._poll.refresh();
    }
  };

  private readonly _poll: Poll<void, Error>;
  private _changes = 0;
  private _state: IPoolsState = { asked: false, pools: [], error: null, busy: new Set() };
  private _watchers = 0;
}

function asRequestError(error: unknown): RequestError {
  return error instanceof RequestError ? error : new RequestError('unreachable', String(error));
}
