import { html, setAttribute, setText } from './dom';
import type { GraphModel } from './model';
import { COLOURS, STACK, stateName } from './states';
import { progressLine, scopeLine, summary } from './words';

/** Screen readers are told at most so often (milliseconds). */
const SAY_EVERY = 5000;

/** The bar, the line under it, and the same as words that are spoken. */
export class Progress {
  readonly root: HTMLElement;
  private readonly bar: HTMLElement;
  private readonly line = html('span', { class: 'shoal-line' });
  private readonly scope = html('span', { class: 'shoal-scope' });
  private readonly spoken = html('p', { class: 'shoal-spoken', role: 'status', 'aria-live': 'polite' });
  private readonly parts = STACK.map(state => html('span', { style: `background:${COLOURS[state] ?? ''}` }));
  private said = -SAY_EVERY;
  private wasActive: boolean | undefined;

  constructor() {
    this.bar = html('div', { class: 'shoal-bar', role: 'progressbar', 'aria-label': 'Tasks that are over', 'aria-valuemin': 0 });
    this.bar.append(...this.parts);
    this.root = html('div', { class: 'shoal-progress' }, this.bar, this.line, this.scope, this.spoken);
  }

  /**
   * Bring it up to date.
   *
   * @param now - the kernel's clock, in seconds.
   * @param shown - how many nodes the picture draws.
   */
  update(model: GraphModel, now: number, shown: number): void {
    setAttribute(this.bar, 'aria-valuemax', String(Math.max(1, model.total)));
    setAttribute(this.bar, 'aria-valuenow', String(model.over));
    STACK.forEach((state, place) => {
      const part = this.parts[place];
      if (part) {
        part.style.width = `${((100 * model.count(state)) / Math.max(1, model.total)).toFixed(2)}%`;
        part.title = stateName(state);
      }
    });
    setText(this.line, progressLine(model, now));
    setText(this.scope, scopeLine(model, shown));
    this.say(model, now);
  }

  private say(model: GraphModel, now: number): void {
    const time = performance.now();
    if (model.active !== this.wasActive || time - this.said >= SAY_EVERY) {
      this.wasActive = model.active;
      this.said = time;
      setText(this.spoken, summary(model, now));
    }
  }
}
