import { html } from './dom';

const STEP = 1.3;
const LEAST = 0.2;
const MOST = 4;

/** Moves and scales a picture: drag, Ctrl and wheel, or the buttons. The wheel alone scrolls the page, as everywhere. */
export class PanZoom {
  readonly buttons: HTMLElement;
  private scale = 1;
  private x = 0;
  private y = 0;
  private touched = false;

  constructor(
    private readonly root: SVGSVGElement,
    private readonly canvas: SVGGElement,
    private readonly content: () => { width: number; height: number }
  ) {
    this.buttons = html(
      'div',
      { class: 'shoal-zoom', role: 'group', 'aria-label': 'Zoom' },
      this.button('+', 'Zoom in', () => this.zoom(STEP)),
      this.button('−', 'Zoom out', () => this.zoom(1 / STEP)),
      this.button('⤢', 'Show all', () => this.reset())
    );
    root.addEventListener('wheel', event => this.onWheel(event), { passive: false });
    root.addEventListener('pointerdown', event => this.onDown(event));
  }

  /** Show all, unless the person has moved or scaled the picture. */
  fit(): void {
    if (!this.touched) {
      const [width, height] = this.view();
      const size = this.content();
      this.scale = Math.min(1, width / size.width, height / size.height);
      this.x = (width - size.width * this.scale) / 2;
      this.y = (height - size.height * this.scale) / 2;
    }
    this.apply();
  }

  private reset(): void {
    this.touched = false;
    this.fit();
  }

  private zoom(by: number, at?: [number, number]): void {
    const [width, height] = this.view();
    const [x, y] = at ?? [width / 2, height / 2];
    const scale = Math.min(MOST, Math.max(LEAST, this.scale * by));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.touched = true;
    this.apply();
  }

  private apply(): void {
    this.canvas.setAttribute('transform', `translate(${this.x.toFixed(1)} ${this.y.toFixed(1)}) scale(${this.scale.toFixed(3)})`);
  }

  private view(): [number, number] {
    return [this.root.clientWidth || 800, this.root.clientHeight || 200];
  }

  private onWheel(event: WheelEvent): void {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const box = this.root.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? STEP : 1 / STEP, [event.clientX - box.left, event.clientY - box.top]);
    }
  }

  private onDown(start: PointerEvent): void {
    if (start.button !== 0) {
      return;
    }
    const [x, y] = [this.x, this.y];
    const move = (event: PointerEvent): void => {
      this.x = x + event.clientX - start.clientX;
      this.y = y + event.clientY - start.clientY;
      this.touched = true;
      this.apply();
    };
    const stop = (): void => {
      window.removeEventListener('pointermove', move);
      window.removeEventListener('pointerup', stop);
      window.removeEventListener('pointercancel', stop);
    };
    window.addEventListener('pointermove', move);
    window.addEventListener('pointerup', stop);
    window.addEventListener('pointercancel', stop);
  }

  private button(text: string, label: string, act: () => void): HTMLButtonElement {
    const button = html('button', { type: 'button', 'aria-label': label, title: label }, text);
    button.addEventListener('click', act);
    return button;
  }
}
