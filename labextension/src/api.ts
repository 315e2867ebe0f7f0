// GENERATED from labextension/shoal_lab/models.py by `make api`. Do not edit.

/** One block of a pool. */
export interface IBlock {
  /** the block's number in its pool. */
  readonly number: number;
  /** its state, as the pool names it. */
  readonly state: string;
  /** what it was asked of. */
  readonly provider: string;
  /** the provider's own name for it. */
  readonly job: string;
  /** when it entered this state, in seconds since the epoch. */
  readonly since: number;
  /** why, where that is not plain; else empty. */
  readonly message: string;
}

/** Why a request was not carried out. */
export interface IErrorBody {
  /** the type of the error. */
  readonly error: string;
  /** one sentence for people. */
  readonly message: string;
  /** what to do; empty where nothing can be said. */
  readonly fix: string;
}

/** One manager of a pool, which owns the workers of one host (or of one node of a block). */
export interface IHost {
  /** the host's name. */
  readonly name: string;
  /** the number of the block it belongs to. */
  readonly block: number;
  /** how many one-core tasks it runs at once. */
  readonly slots: number;
  /** how many of its workers are up. */
  readonly workers: number;
  /** tasks that run there now. */
  readonly running: number;
  /** tasks that wait there. */
  readonly queued: number;
  /** seconds since it was last heard. */
  readonly silent: number;
}

/** One pool, as the panel shows it. */
export interface IPool {
  /** the pool's name, unique on this machine for this user. */
  readonly name: string;
  /** ``embedded`` ends with its notebook, ``lasting`` lives until it is stopped. */
  readonly kind: 'embedded' | 'lasting';
  /** whether its process is there and answers; ``older`` or ``newer`` if another version of Shoal runs it. */
  readonly state: 'up' | 'not answering' | 'gone' | 'older' | 'newer';
  /** its process. */
  readonly pid: number;
  /** the Python version that it runs. */
  readonly python: string;
  /** when, in seconds since the epoch. */
  readonly started: number;
  /** the notebook or script that started it; empty where that is not known. */
  readonly owner: string;
  /** names of the notebooks and scripts that are connected. */
  readonly clients: readonly string[];
  /** the number of blocks that it aims at. */
  readonly target: number;
  /** its blocks. */
  readonly blocks: readonly IBlock[];
  /** its managers. */
  readonly hosts: readonly IHost[];
  /** how many one-core tasks it runs at once. */
  readonly slots: number;
  /** workers that are up. */
  readonly workers: number;
  /** tasks that run now. */
  readonly running: number;
  /** tasks that wait for a worker. */
  readonly queued: number;
  /** tasks that ended since it started. */
  readonly done: number;
  /** the last thing that went wrong; empty if nothing did. */
  readonly trouble: string;
}

/** Every pool of this user on this machine. */
export interface IPoolList {
  /** the version of the server extension. */
  readonly version: string;
  /** sorted by name. */
  readonly pools: readonly IPool[];
}

/** Ask a pool to aim at another number of blocks. */
export interface IScalePool {
  /** how many; the pool keeps within the limits that it was started with. */
  readonly blocks: number;
}

/** Ask for a new pool of local workers that lasts until it is stopped. */
export interface IStartPool {
  /** how it is to be called. */
  readonly name: string;
  /** workers in each block; null for one per core. */
  readonly max_workers_per_node?: number | null;
  /** blocks to start with. */
  readonly init_blocks?: number;
  /** blocks that it may grow to. */
  readonly max_blocks?: number;
}
