import { type Bytes, type FeedMessage, GraphModel } from './model';
import { GraphView } from './view';

/** What anywidget hands to a view (https://anywidget.dev/en/afm). */
interface WidgetModel {
  get(name: string): unknown;
  send(content: object): void;
  on(event: string, listener: (...args: unknown[]) => void): void;
  off(event: string, listener: (...args: unknown[]) => void): void;
}

interface RenderProps {
  model: WidgetModel;
  el: HTMLElement;
}

/** How often, and how many times, a view asks for all again while the kernel does not answer. */
const ASK_EVERY = 1500;
const ASK_TIMES = 8;

/** Asks the kernel to send everything; asks again, as the first messages of a page may wait behind a running cell. */
class Asking {
  private timer = 0;
  private left = 0;

  constructor(private readonly widget: WidgetModel) {}

  ask(): void {
    this.left = ASK_TIMES;
    this.again();
  }

  answered(): void {
    window.clearTimeout(this.timer);
    this.left = 0;
  }

  private again(): void {
    window.clearTimeout(this.timer);
    if (this.left > 0) {
      this.left -= 1;
      this.widget.send({ kind: 'look' });
      this.timer = window.setTimeout(() => this.again(), ASK_EVERY);
    }
  }
}

function render({ model: widget, el }: RenderProps): () => void {
  const model = new GraphModel();
  const view = new GraphView(model);
  const asking = new Asking(widget);
  const take = (message: unknown, buffers: readonly Bytes[]): void => {
    if (!isFeedMessage(message)) {
      return;
    }
    if (!model.apply(message, buffers)) {
      asking.ask();
      return;
    }
    if (message.kind === 'full') {
      asking.answered();
    }
    view.changed();
  };
  const onSnapshot = (): void => {
    const snapshot = widget.get('snapshot');
    if (isSnapshot(snapshot)) {
      take(snapshot.head, snapshot.buffers);
    }
  };
  const onMessage = (message: unknown, buffers: unknown): void => take(message, Array.isArray(buffers) ? (buffers as Bytes[]) : []);
  onSnapshot();
  widget.on('change:snapshot', onSnapshot);
  widget.on('msg:custom', onMessage);
  el.append(view.root);
  view.changed();
  asking.ask();
  return () => {
    asking.answered();
    widget.off('change:snapshot', onSnapshot);
    widget.off('msg:custom', onMessage);
    view.dispose();
  };
}

function isFeedMessage(value: unknown): value is FeedMessage {
  return typeof value === 'object' && value !== null && 'kind' in value && (value.kind === 'full' || value.kind === 'delta');
}

function isSnapshot(value: unknown): value is { head: unknown; buffers: Bytes[] } {
  return typeof value === 'object' && value !== null && 'head' in value && 'buffers' in value && Array.isArray(value.buffers);
}

export default { render };
