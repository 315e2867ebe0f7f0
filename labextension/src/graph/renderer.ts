import type { ISessionContext } from '@jupyterlab/apputils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { Widget } from '@lumino/widgets';

import { GraphView } from '../views/view';
import { GraphLink } from './link';

/** What the kernel side adds to the output of ``%graph`` for JupyterLab. */
export const MIME_TYPE = 'application/vnd.shoal.graph+json';
/** Before Jupyter's widgets: those are for front ends without this extension. */
const RANK = -20;

type RenderMime = NotebookPanel['content']['rendermime'];
type Factory = Parameters<RenderMime['addFactory']>[0];
type Renderer = ReturnType<Factory['createRenderer']>;
type Model = Parameters<Renderer['renderModel']>[0];

const links = new WeakMap<Kernel.IKernelConnection, GraphLink>();

function linkTo(kernel: Kernel.IKernelConnection): GraphLink {
  const link = links.get(kernel) ?? new GraphLink(kernel);
  links.set(kernel, link);
  return link;
}

/** Shows the live graph in the output of a cell; until the kernel tells something, the picture that was saved. */
class GraphRenderer extends Widget {
  private view: GraphView | undefined;
  private unlisten: (() => void) | undefined;
  private link: GraphLink | undefined;

  constructor(private readonly session: ISessionContext) {
    super();
    this.addClass('shoal-output');
    session.kernelChanged.connect(this.follow);
    session.connectionStatusChanged.connect(this.follow);
  }

  renderModel(model: Model): Promise<void> {
    if (this.view === undefined) {
      this.showSaved(model);
    }
    this.follow();
    return Promise.resolve();
  }

  override dispose(): void {
    this.session.kernelChanged.disconnect(this.follow);
    this.session.connectionStatusChanged.disconnect(this.follow);
    this.leave();
    super.dispose();
  }

  private showSaved(model: Model): void {
    const html = model.data['text/html'];
    if (model.trusted && typeof html === 'string') {
      this.node.innerHTML = html; // made by the kernel side, in a notebook that the person trusts
    } else {
      const text = model.data['text/plain'];
      this.node.textContent = typeof text === 'string' ? text : '';
    }
  }

  private readonly follow = (): void => {
    const kernel = this.session.session?.kernel;
    if (kernel?.connectionStatus !== 'connected') {
      return;
    }
    const link = linkTo(kernel);
    if (link !== this.link) {
      this.leave();
      this.link = link;
      this.unlisten = link.listen(() => this.onNews(link));
      if (link.heard) {
        this.onNews(link);
      }
    }
    link.connect().catch((error: unknown) => {
      console.warn('Shoal: the kernel cannot be asked for its graph', error);
    });
  };

  private onNews(link: GraphLink): void {
    if (this.view === undefined) {
      if (link.model.run === '') {
        return; // a kernel without a session has nothing to add to the picture that was saved
      }
      this.view = new GraphView(link.model);
      this.node.replaceChildren(this.view.root);
    }
    this.view.changed();
  }

  private leave(): void {
    this.unlisten?.();
    this.view?.dispose();
    this.view = undefined;
    this.link = undefined;
  }
}

/** Make the notebooks of a tracker show live graphs. */
export function renderGraphs(tracker: INotebookTracker): void {
  const add = (panel: NotebookPanel): void => {
    const factory: Factory = {
      safe: false,
      mimeTypes: [MIME_TYPE],
      createRenderer: () => new GraphRenderer(panel.sessionContext)
    };
    panel.content.rendermime.addFactory(factory, RANK);
  };
  tracker.forEach(add);
  tracker.widgetAdded.connect((_, panel) => add(panel));
}
