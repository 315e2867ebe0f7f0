import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { CommandIDs } from '../tokens';
import { runStale } from './actions';
import { MIME_TYPE } from './data';
import { CellDoor } from './door';
import { TaskLine } from './line';

/** Before HTML, which is for front ends without this extension. */
const RANK = -20;

interface IParts {
  readonly app: JupyterFrontEnd;
  readonly tracker: INotebookTracker;
  readonly palette: ICommandPalette | null;
  readonly trans: TranslationBundle;
}

/** Make the notebooks of a tracker show task cells: their lines with buttons, and their output after a reload. */
export function showTaskCells(parts: IParts): void {
  const { tracker, trans } = parts;
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
  addStaleCommand(parts);
}

/** Add what the button of a stale cell does as a command. */
function addStaleCommand({ app, tracker, palette, trans }: IParts): void {
  app.commands.addCommand(CommandIDs.runStale, {
    label: trans.__('Run All Stale Cells'),
    caption: trans.__('Run the cells of the notebook that are stale, in their order, each in its place'),
    describedBy: { args: { type: 'object', properties: {} } },
    isEnabled: () => tracker.currentWidget !== null,
    execute: async () => {
      if (tracker.currentWidget) {
        await runStale(tracker.currentWidget, trans);
      }
    }
  });
  palette?.addItem({ command: CommandIDs.runStale, category: 'Shoal' });
}
