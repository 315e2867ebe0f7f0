import { NotebookActions, type INotebookTracker } from '@jupyterlab/notebook';

/** The code that attaches a notebook to a running pool. */
export function attachCode(name: string): string {
  const pool = JSON.stringify(name);
  return `import shoal\n\nshoal.load(shoal.Config(executors=[shoal.HighThroughputExecutor(pool=${pool})]))`;
}

/**
 * Put code into a new cell below the active one of the current notebook, and go there.
 *
 * @returns false if there is no notebook to put it into.
 */
export function insertCell(tracker: INotebookTracker | null, code: string): boolean {
  const panel = tracker?.currentWidget;
  if (!panel?.model || panel.model.readOnly) {
    return false;
  }
  const notebook = panel.content;
  NotebookActions.insertBelow(notebook);
  notebook.activeCell?.model.sharedModel.setSource(code);
  notebook.mode = 'edit';
  notebook.activate();
  return true;
}
