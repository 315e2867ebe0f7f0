import { copyIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IPool } from '../api';
import { Glyph } from './glyphs';
import { lifetime, poolState, tasksText, workersText } from './words';

interface IProps {
  readonly pool: IPool;
  readonly busy: boolean;
  readonly trans: TranslationBundle;
  readonly canInsert: boolean;
  readonly onInsert: () => void;
  readonly onCopy: () => void;
  readonly onScale: (blocks: number) => void;
  readonly onStop: () => void;
}

/** One pool: its state, its numbers, and what can be done with it. */
export function PoolCard(props: IProps): React.ReactElement {
  const { pool, trans } = props;
  const id = React.useId();
  const state = poolState(pool, trans);
  const alive = pool.state === 'up';
  const lasting = pool.kind === 'lasting';
  return (
    <li className="shoal-Pool" aria-labelledby={id} data-pool={pool.name} data-state={pool.state}>
      <div className="shoal-PoolHead">
        <Glyph look={state.look} />
        <h3 id={id} title={pool.name} tabIndex={-1}>
          {pool.name}
        </h3>
        <span className="shoal-State">{state.text}</span>
      </div>
      <p className="shoal-Hint">{lifetime(pool, trans)}</p>
      {alive && <Numbers {...props} />}
      {pool.trouble && (
        <details className="shoal-Trouble">
          <summary>{pool.trouble.split('\n', 1)[0]}</summary>
          <pre>{pool.trouble}</pre>
        </details>
      )}
      <div className="shoal-Buttons">
        {alive && lasting && <AttachButtons {...props} />}
        {pool.state !== 'gone' && (
          <button
            type="button"
            className="jp-mod-styled shoal-Stop"
            disabled={props.busy}
            aria-label={trans.__('Stop pool %1', pool.name)}
            onClick={props.onStop}
          >
            {trans.__('Stop')}
          </button>
        )}
      </div>
    </li>
  );
}

function Numbers({ pool, busy, trans, onScale }: IProps): React.ReactElement {
  const up = pool.blocks.filter(block => block.state === 'running').length;
  return (
    <dl className="shoal-Numbers">
      <div>
        <dt>{trans.__('Workers')}</dt>
        <dd data-number="workers">
          <WorkerBar pool={pool} trans={trans} />
        </dd>
      </div>
      <div>
        <dt>{trans.__('Blocks')}</dt>
        <dd className="shoal-Stepper" data-number="blocks">
          <button
            type="button"
            disabled={busy || pool.target <= 0}
            aria-label={trans.__('One block less in pool %1', pool.name)}
            onClick={() => onScale(pool.target - 1)}
          >
            −
          </button>
          <span>{up === pool.target ? up : trans.__('%1 of %2', up, pool.target)}</span>
          <button
            type="button"
            disabled={busy}
            aria-label={trans.__('One block more in pool %1', pool.name)}
            onClick={() => onScale(pool.target + 1)}
          >
            +
          </button>
        </dd>
      </div>
      <div>
        <dt>{trans.__('Tasks')}</dt>
        <dd data-number="tasks">
          {tasksText(pool, trans)}
        </dd>
      </div>
      <div>
        <dt>{trans.__('Used by')}</dt>
        <dd data-number="clients">{pool.clients.length ? pool.clients.join(', ') : trans.__('nobody now')}</dd>
      </div>
    </dl>
  );
}

const MOST_CELLS = 32;

function WorkerBar({ pool, trans }: Pick<IProps, 'pool' | 'trans'>): React.ReactElement {
  const cells = Math.min(MOST_CELLS, Math.max(pool.slots, pool.workers));
  const look = (cell: number): string => (cell < pool.running ? 'at-work' : cell < pool.workers ? 'free' : 'coming');
  return (
    <>
      {workersText(pool, trans)}
      <span className="shoal-WorkerBar" aria-hidden="true">
        {Array.from({ length: cells }, (_, cell) => (
          <span key={cell} className={`shoal-mod-${look(cell)}`} />
        ))}
      </span>
    </>
  );
}

function AttachButtons({ pool, busy, trans, canInsert, onInsert, onCopy }: IProps): React.ReactElement {
  return (
    <>
      <button
        type="button"
        className="jp-mod-styled jp-mod-accept"
        disabled={busy || !canInsert}
        title={canInsert ? trans.__('Insert a cell that attaches this notebook to the pool') : trans.__('Open a notebook first')}
        aria-label={trans.__('Use pool %1 in the notebook', pool.name)}
        onClick={onInsert}
      >
        {trans.__('Use in notebook')}
      </button>
      <button
        type="button"
        className="jp-mod-styled shoal-Copy"
        title={trans.__('Copy code to attach')}
        aria-label={trans.__('Copy code to attach to pool %1', pool.name)}
        onClick={onCopy}
      >
        <copyIcon.react tag="span" width="14px" />
      </button>
    </>
  );
}
