import { Dialog, showDialog } from '@jupyterlab/apputils';
import { ReactWidget, addIcon, refreshIcon, type LabIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { IPool, IStartPool } from '../api';
import { shoalIcon } from '../icons';
import { RequestError } from '../request';
import { PANEL_ID, type IPoolModel } from '../tokens';
import { PoolCard } from './pool_card';
import { StartForm } from './start_form';
import { sentence } from './words';

/** What the panel needs of the notebook side. */
export interface INotebookSide {
  /** Whether there is a notebook to insert into. */
  canInsert(): boolean;
  /** Insert a cell that attaches the current notebook to a pool. */
  insert(pool: string): void;
  /** Copy that code to the clipboard. */
  copy(pool: string): void;
}

/** The left sidebar: every pool of this user, and starting, scaling and stopping them. */
export class PoolsPanel extends ReactWidget {
  constructor(
    private readonly _model: IPoolModel,
    private readonly _notebook: INotebookSide,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.id = PANEL_ID;
    this.addClass('shoal-Panel');
    this.title.icon = shoalIcon;
    this.title.caption = 'Shoal';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', this._trans.__('Shoal: pools of workers'));
  }

  /** Emitted when a command asks for the form. */
  readonly formAsked = new Signal<this, void>(this);

  override render(): React.ReactElement {
    return <Pools panel={this} model={this._model} notebook={this._notebook} trans={this._trans} />;
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._unwatch ??= this._model.watch();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._unwatch ??= this._model.watch();
    }
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._unwatch?.();
    this._unwatch = undefined;
  }

  protected override onBeforeDetach(message: Message): void {
    this._unwatch?.();
    this._unwatch = undefined;
    super.onBeforeDetach(message);
  }

  private _unwatch: (() => void) | undefined;
}

interface IProps {
  readonly panel: PoolsPanel;
  readonly model: IPoolModel;
  readonly notebook: INotebookSide;
  readonly trans: TranslationBundle;
}

function usePools(model: IPoolModel): IPoolModel['state'] {
  const subscribe = React.useCallback(
    (notify: () => void) => {
      model.changed.connect(notify);
      return () => void model.changed.disconnect(notify);
    },
    [model]
  );
  return React.useSyncExternalStore(subscribe, () => model.state);
}

/** What the panel does and what it has to say about it. */
function useActions({ model, notebook, trans }: IProps) {
  const [said, setSaid] = React.useState('');
  const [failed, setFailed] = React.useState('');

  /** Carry something out; its failure is shown in the panel, its success said to screen readers. */
  const attempt = async (work: () => Promise<void> | void, done: string): Promise<void> => {
    setFailed('');
    const wrong = await problemOf(work);
    setFailed(wrong);
    setSaid(wrong ? '' : done);
  };
  return {
    said,
    failed,
    dismiss: () => setFailed(''),
    /** Resolves to what went wrong, which the form shows itself. */
    start: async (wanted: IStartPool): Promise<string> => {
      const wrong = await problemOf(() => model.start(wanted));
      setSaid(wrong ? '' : trans.__('Pool %1 is up.', wanted.name));
      return wrong;
    },
    stop: (pool: IPool) => attempt(() => model.stop(pool.name), trans.__('Pool %1 has stopped.', pool.name)),
    copy: (pool: IPool) => attempt(() => notebook.copy(pool.name), trans.__('The code is copied.')),
    scale: (pool: IPool, blocks: number) =>
      attempt(
        async () => {
          await model.scale(pool.name, blocks);
          const target = model.state.pools.find(other => other.name === pool.name)?.target ?? blocks;
          if (target !== blocks) {
            throw new RequestError('refused', trans.__('Pool %1 stays at %2: that is its limit.', pool.name, target));
          }
        },
        trans.__('Pool %1 now aims at %2 blocks.', pool.name, blocks)
      )
  };
}

function Pools(props: IProps): React.ReactElement {
  const { panel, model, notebook, trans } = props;
  const { asked, pools, error, busy } = usePools(model);
  const actions = useActions(props);
  const [form, setForm] = React.useState(false);
  const startButton = React.useRef<HTMLButtonElement>(null);

  React.useEffect(() => {
    const open = (): void => setForm(true);
    panel.formAsked.connect(open);
    return () => void panel.formAsked.disconnect(open);
  }, [panel]);

  const closeForm = (): void => {
    setForm(false);
    startButton.current?.focus();
  };
  const stop = async (pool: IPool): Promise<void> => {
    if (await confirmStop(pool, trans)) {
      await actions.stop(pool);
      startButton.current?.focus();
    }
  };
  const alive = pools.filter(pool => pool.state !== 'gone');

  return (
    <>
      <div className="shoal-Header">
        <h2>{trans.__('Pools')}</h2>
        <IconButton icon={refreshIcon} label={trans.__('Refresh the list of pools')} onClick={() => void model.refresh()} />
        <IconButton
          icon={addIcon}
          label={trans.__('Start a pool')}
          buttonRef={startButton}
          expanded={form}
          disabled={error?.kind === 'missing'}
          onClick={() => setForm(open => !open)}
        />
      </div>
      <div className="shoal-Said" role="status">
        {actions.said}
      </div>
      {form && (
        <StartForm trans={trans} taken={alive.map(pool => pool.name)} onClose={closeForm} onStart={actions.start} />
      )}
      {actions.failed && (
        <div className="shoal-Notice shoal-mod-error" role="alert">
          <p>{actions.failed}</p>
          <button type="button" className="jp-mod-styled" onClick={actions.dismiss}>
            {trans.__('Dismiss')}
          </button>
        </div>
      )}
      {error && <Failure error={error} stale={pools.length > 0} trans={trans} />}
      {asked && !error && pools.length === 0 && !form && <Empty trans={trans} onStart={() => setForm(true)} />}
      <ul className="shoal-Pools" aria-label={trans.__('Pools')} aria-busy={!asked}>
        {pools.map(pool => (
          <PoolCard
            key={pool.name}
            pool={pool}
            busy={busy.has(pool.name)}
            trans={trans}
            canInsert={notebook.canInsert()}
            onInsert={() => notebook.insert(pool.name)}
            onCopy={() => void actions.copy(pool)}
            onScale={blocks => void actions.scale(pool, blocks)}
            onStop={() => void stop(pool)}
          />
        ))}
      </ul>
    </>
  );
}

interface IIconButtonProps {
  readonly icon: LabIcon;
  readonly label: string;
  readonly onClick: () => void;
  readonly buttonRef?: React.Ref<HTMLButtonElement>;
  readonly expanded?: boolean;
  readonly disabled?: boolean;
}

function IconButton({ icon, label, onClick, buttonRef, expanded, disabled }: IIconButtonProps): React.ReactElement {
  return (
    <button
      type="button"
      ref={buttonRef}
      className="shoal-IconButton"
      title={label}
      aria-label={label}
      aria-expanded={expanded}
      disabled={disabled}
      onClick={onClick}
    >
      <icon.react tag="span" width="16px" />
    </button>
  );
}

async function problemOf(work: () => Promise<void> | void): Promise<string> {
  try {
    await work();
    return '';
  } catch (error) {
    return error instanceof RequestError ? sentence(error) : String(error);
  }
}

async function confirmStop(pool: IPool, trans: TranslationBundle): Promise<boolean> {
  const tasks = pool.running + pool.queued;
  const users = pool.clients.join(', ');
  const answer = await showDialog({
    title: trans.__('Stop pool %1?', pool.name),
    body:
      tasks > 0
        ? trans._n('%1 task has not ended and will fail. ', '%1 tasks have not ended and will fail. ', tasks) +
          (users && trans.__('Used by: %1.', users))
        : users
          ? trans.__('Its workers end. It is used by: %1.', users)
          : trans.__('Its workers end. Nobody uses it now.'),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Keep it') }),
      Dialog.warnButton({ label: trans.__('Stop it'), ariaLabel: trans.__('Stop pool %1', pool.name) })
    ],
    defaultButton: 0
  });
  return answer.button.accept;
}

function Empty({ trans, onStart }: { trans: TranslationBundle; onStart: () => void }): React.ReactElement {
  return (
    <div className="shoal-Notice">
      <p>{trans.__('No pool is running.')}</p>
      <p className="shoal-Hint">
        {trans.__(
          'A pool is a set of worker processes that run the tasks of your notebooks. Start one here and every ' +
            'notebook can use it, or call shoal.load() in a notebook for one of its own. Both are listed here.'
        )}
      </p>
      <button type="button" className="jp-mod-styled jp-mod-accept" onClick={onStart}>
        {trans.__('Start a pool')}
      </button>
    </div>
  );
}

interface IFailureProps {
  readonly error: RequestError;
  readonly stale: boolean;
  readonly trans: TranslationBundle;
}

function Failure({ error, stale, trans }: IFailureProps): React.ReactElement {
  const text = {
    missing: trans.__(
      'This Jupyter server has no Shoal extension, so pools cannot be shown. Run "shoal doctor" in a terminal: it ' +
        'says what is missing. If Shoal was installed just now, restart the server.'
    ),
    unreachable: trans.__('The Jupyter server cannot be reached (%1). Asking again soon.', error.message),
    refused: sentence(error)
  }[error.kind];
  return (
    <div className="shoal-Notice shoal-mod-error" role="alert">
      <p>{text}</p>
      {stale && <p className="shoal-Hint">{trans.__('Below is what was known last.')}</p>}
    </div>
  );
}
