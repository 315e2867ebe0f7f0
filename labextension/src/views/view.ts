import { html } from './dom';
import type { GraphModel } from './model';
import { type Item, legend, linesOf } from './nodes';
import { PanZoom } from './panzoom';
import { Picture } from './picture';
import { Progress } from './progress';
import { STATES } from './states';
import { CSS } from './style';

const MOST_HEIGHT = 420;
const CLOCK_EVERY = 500;

/** The live graph of one run: progress, picture, legend and tooltip. Knows nothing of widgets or of Jupyter. */
export class GraphView {
  readonly root: HTMLElement;
  private readonly progress = new Progress();
  private readonly picture: Picture;
  private readonly panZoom: PanZoom;
  private readonly foot = html('div', { class: 'shoal-foot' });
  private readonly tip = html('div', { class: 'shoal-tip', hidden: '' });
  private readonly resizes: ResizeObserver;
  private readonly clock: number;
  private picked: Item | undefined;
  private states = '';
  private heard = performance.now();
  private frame = 0;

  constructor(private readonly model: GraphModel) {
    this.picture = new Picture((item, element) => this.onPick(item, element));
    this.panZoom = new PanZoom(this.picture.root, this.picture.canvas, () => this.picture.size);
    this.root = html(
      'div',
      { class: 'shoal-graph', role: 'region', 'aria-label': 'Shoal tasks' },
      html('style', {}, CSS),
      this.progress.root,
      this.picture.root,
      this.foot,
      this.tip
    );
    this.resizes = new ResizeObserver(() => this.fit());
    this.resizes.observe(this.root);
    this.clock = window.setInterval(() => {
      if (this.model.active) {
        this.tick();
      }
    }, CLOCK_EVERY);
    this.draw();
  }

  /** The model has changed: draw it with the next frame. */
  changed(): void {
    this.heard = performance.now();
    if (this.frame === 0) {
      this.frame = window.requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }
  }

  dispose(): void {
    window.clearInterval(this.clock);
    window.cancelAnimationFrame(this.frame);
    this.resizes.disconnect();
    this.root.remove();
  }

  /** The kernel's clock, carried on since its last message. */
  private now(): number {
    return this.model.now + (performance.now() - this.heard) / 1000;
  }

  private draw(): void {
    const moved = this.picture.update(this.model);
    this.picture.root.toggleAttribute('hidden', this.model.total === 0);
    this.drawFoot();
    this.tick();
    if (moved) {
      this.fit();
    }
  }

  private drawFoot(): void {
    const present = STATES.map((_, code) => code).filter(code => this.model.count(code) > 0);
    if (present.join() !== this.states) {
      this.states = present.join();
      this.foot.replaceChildren(...(present.length > 0 ? [legend(present), this.panZoom.buttons] : []));
    }
  }

  private tick(): void {
    this.progress.update(this.model, this.now(), this.picture.items.length);
    if (this.picked) {
      this.tip.textContent = linesOf(this.model, this.picked, this.now()).join('\n');
    }
  }

  private fit(): void {
    const { width, height } = this.picture.size;
    const room = this.picture.root.clientWidth || 800;
    const wanted = Math.min(MOST_HEIGHT, height * Math.min(1, room / width));
    this.picture.root.style.height = `${Math.round(this.model.total > 0 ? Math.max(70, wanted) : 0)}px`;
    this.panZoom.fit();
  }

  private onPick(item: Item | undefined, element: SVGGElement | undefined): void {
    this.picked = item;
    this.tip.toggleAttribute('hidden', item === undefined);
    if (item === undefined || element === undefined) {
      return;
    }
    this.tick();
    const [frame, box] = [this.root.getBoundingClientRect(), element.getBoundingClientRect()];
    const left = Math.min(box.left - frame.left, frame.width - this.tip.offsetWidth - 8);
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${box.bottom - frame.top + 6}px`;
  }
}
