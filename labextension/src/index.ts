import { ILayoutRestorer, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { loadBokeh } from './bokeh';
import { showTaskCells } from './cells/cells';
import { addCommands, notebookSide } from './commands';
import { renderGraphs } from './graph/renderer';
import { PoolModel } from './model';
import { PoolsPanel } from './panels/pools';
import { Requests } from './request';
import { IPoolModel, PACKAGE } from './tokens';

const RANK = 600;

/** Knows the pools, for the panel and for other extensions. */
const model: JupyterFrontEndPlugin<IPoolModel> = {
  id: `${PACKAGE}:pools`,
  description: 'Keeps track of the pools of workers.',
  autoStart: true,
  optional: [ISettingRegistry],
  provides: IPoolModel,
  activate: async (app, settings: ISettingRegistry | null) => {
    const pools = new PoolModel(new Requests(app.serviceManager.serverSettings));
    if (settings) {
      const loaded = await settings.load(model.id);
      const apply = (): void => {
        pools.interval = Number(loaded.get('refreshInterval').composite) * 1000;
      };
      loaded.changed.connect(apply);
      apply();
    }
    return pools;
  }
};

/** Shows them in a sidebar, and adds the commands. */
const panel: JupyterFrontEndPlugin<void> = {
  id: `${PACKAGE}:panel`,
  description: 'A sidebar that lists, starts, scales and stops pools of workers.',
  autoStart: true,
  requires: [IPoolModel],
  optional: [ITranslator, ICommandPalette, INotebookTracker, ILayoutRestorer],
  activate: (
    app,
    pools: IPoolModel,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    tracker: INotebookTracker | null,
    restorer: ILayoutRestorer | null
  ) => {
    const trans = (translator ?? nullTranslator).load('shoal_lab');
    const widget = new PoolsPanel(pools, notebookSide(tracker), trans);
    app.shell.add(widget, 'left', { rank: RANK, type: 'Shoal' });
    restorer?.add(widget, widget.id);
    tracker?.currentChanged.connect(() => widget.update());
    addCommands({ app, model: pools, panel: widget, tracker, palette, trans });
  }
};

/** Makes plots of Bokeh work without a network. */
const bokeh: JupyterFrontEndPlugin<void> = {
  id: `${PACKAGE}:bokeh`,
  description: 'Loads BokehJS from the Jupyter server, for plots in notebooks.',
  autoStart: true,
  activate: app => {
    const load = (): Promise<void> => loadBokeh(app.serviceManager.serverSettings);
    app.restored.then(load).catch((error: unknown) => {
      console.warn(error);
    });
  }
};

/** Shows the live graph of tasks in the output of a cell. */
const graph: JupyterFrontEndPlugin<void> = {
  id: `${PACKAGE}:graph`,
  description: 'Shows the live graph of tasks in the output of a cell, also while the cell runs.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_app, tracker: INotebookTracker) => renderGraphs(tracker)
};

/** Shows task cells: a line with buttons, and their output, also after a reload of the page. */
const cells: JupyterFrontEndPlugin<void> = {
  id: `${PACKAGE}:cells`,
  description: 'Shows how the tasks of cells are, with buttons, and their output after a reload of the page.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ITranslator, ICommandPalette],
  activate: (app, tracker: INotebookTracker, translator: ITranslator | null, palette: ICommandPalette | null) => {
    const trans = (translator ?? nullTranslator).load('shoal_lab');
    showTaskCells({ app, tracker, palette, trans });
  }
};

export * from './tokens';
export default [model, panel, bokeh, graph, cells];
