import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Notification, type ICommandPalette } from '@jupyterlab/apputils';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { IStartPool } from './api';
import { shoalIcon } from './icons';
import { attachCode, insertCell } from './notebook';
import type { INotebookSide, PoolsPanel } from './panels/pools';
import { CommandIDs, type IPoolModel } from './tokens';

interface IParts {
  readonly app: JupyterFrontEnd;
  readonly model: IPoolModel;
  readonly panel: PoolsPanel;
  readonly tracker: INotebookTracker | null;
  readonly palette: ICommandPalette | null;
  readonly trans: TranslationBundle;
}

/** Arguments as they come from menus, shortcuts and other extensions: anything may be missing. */
type Args = ReadonlyPartialJSONObject;

const NAME = { name: { type: 'string', description: 'The name of the pool.' } };

/** What the panel may do with notebooks, where there is a notebook tracker at all. */
export function notebookSide(tracker: INotebookTracker | null): INotebookSide {
  return {
    canInsert: () => tracker?.currentWidget?.model?.readOnly === false,
    insert: name => void insertCell(tracker, attachCode(name)),
    copy: name => {
      Clipboard.copyToSystem(attachCode(name));
    }
  };
}

/** Add the commands, and those that need no arguments to the palette. */
export function addCommands(parts: IParts): void {
  for (const [id, options] of Object.entries(panelCommands(parts))) {
    parts.app.commands.addCommand(id, options);
    parts.palette?.addItem({ command: id, category: 'Shoal' });
  }
  for (const [id, options] of Object.entries(poolCommands(parts))) {
    parts.app.commands.addCommand(id, options);
  }
}

function panelCommands({ app, model, panel, trans }: IParts): Record<string, CommandRegistry.ICommandOptions> {
  const show = (): void => {
    app.shell.activateById(panel.id);
  };
  return {
    [CommandIDs.showPanel]: {
      label: trans.__('Show Shoal Panel'),
      caption: trans.__('Show the pools of workers in the sidebar'),
      icon: shoalIcon,
      describedBy: takes({}),
      execute: show
    },
    [CommandIDs.startPool]: {
      label: trans.__('Start a Pool…'),
      caption: trans.__('Start a pool of local workers that notebooks can use'),
      describedBy: takes({
        ...NAME,
        workers: { type: 'number', description: 'Workers in each block; one per core if left out.' },
        blocks: { type: 'number', description: 'Blocks to start with; 1 if left out.' }
      }),
      execute: async args => {
        if (text(args, 'name')) {
          await model.start(wantedPool(args));
        } else {
          show();
          panel.formAsked.emit();
        }
      }
    },
    [CommandIDs.refresh]: {
      label: trans.__('Refresh the List of Pools'),
      describedBy: takes({}),
      execute: () => model.refresh()
    }
  };
}

function poolCommands({ model, tracker, trans }: IParts): Record<string, CommandRegistry.ICommandOptions> {
  return {
    [CommandIDs.stopPool]: {
      label: trans.__('Stop a Pool'),
      describedBy: takes(NAME),
      execute: args => model.stop(text(args, 'name'))
    },
    [CommandIDs.scalePool]: {
      label: trans.__('Scale a Pool'),
      describedBy: takes({ ...NAME, blocks: { type: 'number', description: 'The number of blocks to aim at.' } }),
      execute: args => model.scale(text(args, 'name'), Number(args['blocks']))
    },
    [CommandIDs.usePool]: {
      label: trans.__('Use a Pool in the Notebook'),
      caption: trans.__('Insert a cell that attaches the current notebook to a pool'),
      describedBy: takes(NAME),
      execute: args => {
        if (!insertCell(tracker, attachCode(text(args, 'name')))) {
          Notification.warning(trans.__('There is no notebook to put the cell into. Open one first.'));
        }
      }
    }
  };
}

function wantedPool(args: Args): IStartPool {
  const blocks = typeof args['blocks'] === 'number' ? args['blocks'] : 1;
  return {
    name: text(args, 'name'),
    max_workers_per_node: typeof args['workers'] === 'number' ? args['workers'] : null,
    init_blocks: blocks,
    max_blocks: Math.max(1, blocks)
  };
}

function text(args: Args, name: string): string {
  const value = args[name];
  return typeof value === 'string' ? value : '';
}

function takes(properties: ReadonlyJSONObject): { args: ReadonlyJSONObject } {
  return { args: { type: 'object', properties } };
}
