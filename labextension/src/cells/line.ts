import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { type KernelLink, linkTo } from '../kernel/link';
import { html, setAttribute, setText, svg } from '../views/dom';
import { COLOURS, HOLLOW, SHAPES, stateName } from '../views/states';
import { cancelTasks, insertBelow, runCells, runStale } from './actions';
import { type ITaskLine, MIME_TYPE, readLine } from './data';
import { type Deed, deeds, lineWords, type Standing } from './words';

type Factory = Parameters<NotebookPanel['content']['rendermime']['addFactory']>[0];
type Model = Parameters<ReturnType<Factory['createRenderer']>['renderModel']>[0];

const SECOND = 1000;
const CANCELLED = 6;

/** The line below a task cell: how its task is, and what can be done about it. */
export class TaskLine extends Widget {
  private line: ITaskLine | undefined;
  private link: KernelLink | undefined;
  private readonly shape = svg('path');
  private readonly icon = svg('svg', { viewBox: '-11 -11 22 22', width: 14, height: 14, role: 'img' }, this.shape);
  private readonly words = html('span', { class: 'shoal-TaskWords' });
  private readonly badge = html('span', { class: 'shoal-Badge' });
  private readonly buttons = html('span', { class: 'shoal-TaskButtons', 'data-lm-suppress-shortcuts': 'true' });
  private shown = '';
  private ticker = 0;

  /**
   * @param session - of the notebook.
   * @param findPanel - the view of the notebook that holds an element; views of one notebook share what renders.
   */
  constructor(
    private readonly session: NotebookPanel['sessionContext'],
    private readonly findPanel: (node: Node) => NotebookPanel | undefined,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('shoal-Task');
    this.node.setAttribute('role', 'group');
    this.node.append(this.icon, this.words, this.badge, this.buttons);
    session.kernelChanged.connect(this.follow);
    session.connectionStatusChanged.connect(this.follow);
    session.statusChanged.connect(this.follow);
  }

  renderModel(model: Model): Promise<void> {
    const line = readLine(model.data[MIME_TYPE]);
    this.line = line;
    if (line === undefined) {
      const plain = model.data['text/plain'];
      this.node.textContent = typeof plain === 'string' ? plain : '';
    } else {
      this.follow();
    }
    return Promise.resolve();
  }

  override dispose(): void {
    this.session.kernelChanged.disconnect(this.follow);
    this.session.connectionStatusChanged.disconnect(this.follow);
    this.session.statusChanged.disconnect(this.follow);
    this.link?.changed.disconnect(this.refresh);
    window.clearInterval(this.ticker);
    super.dispose();
  }

  private readonly follow = (): void => {
    const kernel = this.session.session?.kernel;
    const link = kernel ? linkTo(kernel) : undefined;
    if (link !== this.link) {
      this.link?.changed.disconnect(this.refresh);
        this.link = link;
      link?.changed.connect(this.refresh);
    }
    this.refresh();
  };

  private standing(line: ITaskLine): Standing {
    if (this.session.isReady && !this.session.session?.kernel) {
      return 'ended';
    }
    switch (this.link?.state) {
      case 'open':
        return this.link.kernelRun === line.kernel ? 'ours' : 'restarted';
      case 'refused':
        return 'restarted';
      default:
        return 'unknown';
    }
  }

  private readonly refresh = (): void => {
    const line = this.line;
    if (line === undefined || this.isDisposed) {
      return;
    }
    const standing = this.standing(line);
    const lost = !line.over && (standing === 'restarted' || standing === 'ended');
    this.showIcon(lost ? CANCELLED : line.code);
    setAttribute(this.node, 'aria-label', line.who);
    setAttribute(this.node, 'data-state', lost ? 'lost' : stateName(line.code));
    setText(this.words, lineWords(line, standing, this.link?.now ?? 0));
    this.showBadge(standing === 'ours' ? line.stale : '');
    this.showButtons(line, deeds(line, standing));
    window.clearInterval(this.ticker);
    if (standing === 'ours' && line.state === 'running') {
      this.ticker = window.setInterval(() => {
        setText(this.words, lineWords(line, standing, this.link?.now ?? 0));
      }, SECOND);
    }
  };

  private showIcon(code: number): void {
    const colour = COLOURS[code] ?? '';
    setAttribute(this.icon, 'aria-label', stateName(code));
    setAttribute(this.shape, 'd', SHAPES[code] ?? '');
    setAttribute(this.shape, 'stroke', colour);
    setAttribute(this.shape, 'stroke-width', HOLLOW.has(code) ? '2.5' : '1');
    setAttribute(this.shape, 'fill', HOLLOW.has(code) ? 'none' : colour);
  }

  private showBadge(why: string): void {
    this.badge.hidden = why === '';
    const words = this.trans.__('stale: %1', why);
    setText(this.badge, why === '' ? '' : words);
    setAttribute(this.badge, 'title', words);
  }

  private showButtons(line: ITaskLine, wanted: readonly Deed[]): void {
    const shown = [line.line, line.who, ...wanted].join(' ');
    if (shown === this.shown) {
      return; // the keyboard stays where it is
    }
    this.shown = shown;
    this.buttons.replaceChildren(...wanted.map(deed => this.button(line, deed)));
  }

  private button(line: ITaskLine, deed: Deed): HTMLElement {
    const trans = this.trans;
    const [label, title] = {
      cancel: [trans.__('Cancel'), trans.__('Cancel the tasks of %1', line.who)],
      again: [trans.__('Run again'), trans.__('Run the cell of %1 again', line.who)],
      stale: [trans.__('Run all stale'), trans.__('Run all stale cells of this notebook in their order')],
      debug: [trans.__('Debug here'), trans.__('Insert cells that run %1 in the kernel, and debug it there', line.who)],
      memory: [trans.__('More memory'), trans.__('Insert a cell that tries %1 with more memory', line.who)]
    }[deed] as [string, string];
    // the name begins with what is seen, so that it can be said to a voice control
    const button = html('button', { type: 'button', title, 'aria-label': `${label}: ${title}`, 'data-deed': deed }, label);
    button.addEventListener('click', () => {
      this.act(line, deed, button).catch((error: unknown) => {
        console.warn('Shoal:', error);
      });
    });
    return button;
  }

  private async act(line: ITaskLine, deed: Deed, button: HTMLButtonElement): Promise<void> {
    const panel = this.findPanel(this.node);
    const cell = panel?.content.widgets.find(({ node }) => node.contains(this.node));
    if (!panel || !cell) {
      return;
    }
    const meant = panel.content.widgets.some(({ model }) => model.id === line.cell) ? line.cell : cell.model.id;
    switch (deed) {
      case 'cancel':
        button.disabled = true;
        await cancelTasks(panel, line, this.trans).finally(() => {
          button.disabled = false;
        });
        break;
      case 'again':
        await runCells(panel, [meant]);
        break;
      case 'stale':
        await runStale(panel, this.trans);
        break;
      case 'debug':
        insertBelow(panel, cell, [`%retry ${line.task} --here`, '%debug']);
        break;
      case 'memory':
        insertBelow(panel, cell, [`%retry ${line.task} --memory "${line.memory.replace(/[^\w. ]/g, '')}"`]);
    }
  }
}
