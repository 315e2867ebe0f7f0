import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IStartPool } from '../api';
import { freeName, nameProblem, numberProblem } from './words';

const MOST_WORKERS = 1024;
const MOST_BLOCKS = 1000;

interface IProps {
  readonly taken: readonly string[];
  readonly trans: TranslationBundle;
  /** Resolves to what went wrong; empty if nothing did. */
  readonly onStart: (wanted: IStartPool) => Promise<string>;
  readonly onClose: () => void;
}

interface IFieldProps {
  readonly label: string;
  readonly value: string;
  readonly problem: string;
  readonly onChange: (value: string) => void;
  readonly hint?: string;
  readonly numeric?: boolean;
  readonly first?: boolean;
}

function Field({ label, value, problem, onChange, hint, numeric, first }: IFieldProps): React.ReactElement {
  const id = React.useId();
  const told = problem || hint;
  return (
    <div className="shoal-Field">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        className="jp-mod-styled"
        value={value}
        autoFocus={first}
        autoComplete="off"
        spellCheck={false}
        inputMode={numeric ? 'numeric' : 'text'}
        aria-invalid={problem !== ''}
        aria-describedby={told ? `${id}-told` : undefined}
        onChange={event => onChange(event.target.value)}
      />
      {told && (
        <p id={`${id}-told`} className={problem ? 'shoal-Problem' : 'shoal-Hint'}>
          {told}
        </p>
      )}
    </div>
  );
}

/** The small form that starts a pool of local workers. */
export function StartForm({ taken, trans, onStart, onClose }: IProps): React.ReactElement {
  const [name, setName] = React.useState(() => freeName(taken));
  const [workers, setWorkers] = React.useState('');
  const [blocks, setBlocks] = React.useState('1');
  const [most, setMost] = React.useState('4');
  const [checked, setChecked] = React.useState(false);
  const [busy, setBusy] = React.useState(false);
  const [failed, setFailed] = React.useState('');

  // While the pool starts it is listed already, which makes its own name no mistake.
  const problems = {
    name: busy ? '' : nameProblem(name.trim(), taken, trans),
    workers: workers.trim() ? numberProblem(workers, 1, MOST_WORKERS, trans) : '',
    blocks: numberProblem(blocks, 0, MOST_BLOCKS, trans),
    most: numberProblem(most, Math.max(1, Number(blocks) || 1), MOST_BLOCKS, trans)
  };
  const shown = (problem: string): string => (checked ? problem : '');

  const submit = async (event: React.FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget;
    setChecked(true);
    setFailed('');
    if (Object.values(problems).some(Boolean)) {
      window.requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid=true]')?.focus());
      return;
    }
    setBusy(true);
    const wrong = await onStart({
      name: name.trim(),
      max_workers_per_node: workers.trim() ? Number(workers) : null,
      init_blocks: Number(blocks),
      max_blocks: Number(most)
    });
    setBusy(false);
    setFailed(wrong);
    if (!wrong) {
      onClose();
    }
  };

  return (
    <form
      className="shoal-StartForm"
      aria-label={trans.__('Start a pool')}
      noValidate
      onSubmit={event => void submit(event)}
      onKeyDown={event => event.key === 'Escape' && !busy && onClose()}
    >
      <Field first label={trans.__('Name')} value={name} problem={shown(problems.name)} onChange={setName} />
      <Field
        numeric
        label={trans.__('Workers per block')}
        value={workers}
        hint={trans.__('Empty: one for each core of this machine.')}
        problem={shown(problems.workers)}
        onChange={setWorkers}
      />
      <div className="shoal-FieldRow">
        <Field
          numeric
          label={trans.__('Blocks')}
          value={blocks}
          problem={shown(problems.blocks)}
          onChange={setBlocks}
        />
        <Field numeric label={trans.__('At most')} value={most} problem={shown(problems.most)} onChange={setMost} />
      </div>
      {failed && (
        <p className="shoal-Problem" role="alert">
          {failed}
        </p>
      )}
      <div className="shoal-Buttons">
        <button type="submit" className="jp-mod-styled jp-mod-accept" disabled={busy}>
          {busy ? trans.__('Starting…') : trans.__('Start')}
        </button>
        <button type="button" className="jp-mod-styled jp-mod-reject" disabled={busy} onClick={onClose}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}
