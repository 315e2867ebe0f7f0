import { Notification } from '@jupyterlab/apputils';
import type { Cell, CodeCell } from '@jupyterlab/cells';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { linkTo } from '../kernel/link';
import { type ITaskLine, texts } from './data';

/** The code cells of a notebook with these ids, in the order of the ids. */
function cellsOf(panel: NotebookPanel, ids: readonly string[]): CodeCell[] {
  const cells = panel.content.widgets.filter((cell): cell is CodeCell => cell.model.type === 'code');
  return ids.flatMap(id => cells.find(cell => cell.model.id === id) ?? []);
}

/** Run cells in place, one after the other; the selection stays as it is. */
export async function runCells(panel: NotebookPanel, ids: readonly string[]): Promise<void> {
  const cells = cellsOf(panel, ids);
  if (cells.length > 0) {
    await NotebookActions.runCells(panel.content, cells, panel.sessionContext);
  }
}

/** Run all stale cells of a notebook, each under itself, in the order that the kernel tells. */
export async function runStale(panel: NotebookPanel, trans: TranslationBundle): Promise<void> {
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel) {
    return;
  }
  const link = linkTo(kernel);
  if (link.state !== 'open') {
    Notification.warning(trans.__('The kernel of this notebook has no Shoal loaded: no cell is known to be stale.'));
    return;
  }
  const told = await link.answer({ kind: 'stale' }, 'stale');
  const ids = texts(told['cells']);
  if (told['busy'] === true) {
    Notification.warning(trans.__('%rerun runs cells already.'));
  } else if (ids.length === 0) {
    Notification.info(trans.__('No cell is stale any more.'));
  } else if (cellsOf(panel, ids).length < ids.length) {
    Notification.warning(trans.__('Some of the stale cells are not in this notebook any more: use %rerun.'));
  } else {
    await runCells(panel, ids);
  }
}

/** Cancel the tasks of a cell. */
export async function cancelTasks(panel: NotebookPanel, line: ITaskLine, trans: TranslationBundle): Promise<void> {
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel) {
    return;
  }
  const told = await linkTo(kernel).answer({ kind: 'cancel', line: line.line }, 'cancelled');
  if (told['count'] === 0) {
    Notification.warning(trans.__('%1 had ended, or it runs where it cannot be stopped.', line.who));
  }
}

/** Put cells below another one, for the person to run. */
export function insertBelow(panel: NotebookPanel, cell: Cell, sources: readonly string[]): void {
  const notebook = panel.content;
  const place = notebook.widgets.indexOf(cell);
  if (place < 0 || panel.model?.readOnly !== false) {
    return;
  }
  notebook.activeCellIndex = place;
  for (const source of sources) {
    NotebookActions.insertBelow(notebook);
    notebook.activeCell?.model.sharedModel.setSource(source);
  }
  notebook.activeCellIndex = place + 1;
  notebook.deselectAll();
  notebook.mode = 'command';
  notebook.activate();
}
