import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { IPool, IStartPool } from './api';
import type { RequestError } from './request';

/** The name of this package, and the prefix of its plugins. */
export const PACKAGE = 'shoal-lab';

/** The id of the panel in the left sidebar. */
export const PANEL_ID = 'shoal-panel';

/** The commands that this extension adds, for menus, shortcuts and other extensions. */
export namespace CommandIDs {
  export const showPanel = 'shoal:show-panel';
  export const startPool = 'shoal:start-pool';
  export const stopPool = 'shoal:stop-pool';
  export const scalePool = 'shoal:scale-pool';
  export const usePool = 'shoal:use-pool';
  export const refresh = 'shoal:refresh';
  export const runStale = 'shoal:run-stale';
}

/** What is known about the pools, at one moment. A new object whenever something changed. */
export interface IPoolsState {
  /** False until the first answer. */
  readonly asked: boolean;
  /** Every pool of this user on the server's machine, sorted by name; the last known ones while `error` is set. */
  readonly pools: readonly IPool[];
  /** Why the last listing failed; null if it did not. */
  readonly error: RequestError | null;
  /** Names of the pools that are being started, stopped or scaled. */
  readonly busy: ReadonlySet<string>;
}

/** The pools of this user on the server's machine, kept up to date while somebody watches. */
export interface IPoolModel {
  readonly state: IPoolsState;
  readonly changed: ISignal<IPoolModel, void>;
  /** Keep the state fresh until the returned function is called. */
  watch(): () => void;
  /** Ask now. */
  refresh(): Promise<void>;
  /** Start a pool that lasts. Rejects with a `RequestError`, as the others do. */
  start(wanted: IStartPool): Promise<void>;
  stop(name: string): Promise<void>;
  scale(name: string, blocks: number): Promise<void>;
}

/** Lets other extensions see and drive the pools. */
export const IPoolModel = new Token<IPoolModel>(
  `${PACKAGE}:IPoolModel`,
  'The pools of workers of this user: their state, and starting, scaling and stopping them.'
);
