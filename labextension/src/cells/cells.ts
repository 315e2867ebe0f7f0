import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { MIME_TYPE } from './data';
import { CellDoor } from './door';
import { TaskLine } from './line';

/** Before HTML, which is for front ends without this extension. */
const RANK = -20;

/** Make the notebooks of a tracker show task cells: their lines with buttons, and their output after a reload. */
export function showTaskCells(tracker: INotebookTracker, trans: TranslationBundle): void {
  // the views of a notebook in one page share its outputs, and what renders them
  const doors = new WeakMap<NotebookPanel['context'], CellDoor>();
  const findPanel = (node: Node): NotebookPanel | undefined => tracker.find(panel => panel.node.contains(node));
  const add = (panel: NotebookPanel): void => {
    const session = panel.sessionContext;
    panel.content.rendermime.addFactory(
      { safe: true, mimeTypes: [MIME_TYPE], createRenderer: () => new TaskLine(session, findPanel, trans) },
      RANK
    );
    const door = doors.get(panel.context) ?? new CellDoor(panel.context);
    doors.set(panel.context, door);
    door.add(panel);
  };
  tracker.forEach(add);
  tracker.widgetAdded.connect((_, panel) => add(panel));
}
