import { setAttribute, svg } from './dom';
import { type Layout, layOut } from './layout';
import type { GraphModel } from './model';
import { type Item, type NodeView, type Style, STYLES, itemsOf, makeNode } from './nodes';

/** What the picture tells to whoever shows tooltips. */
export type Picked = (item: Item | undefined, element: SVGGElement | undefined) => void;

const MARGIN = 10;
/** With more edges than this each is drawn fainter. */
const MANY_EDGES = 60;

/** The graph as SVG: nodes are made once and then only change; one of them at a time is in the order of the Tab key. */
export class Picture {
  readonly root: SVGSVGElement;
  readonly canvas: SVGGElement;
  items: Item[] = [];
  private readonly edgePath = svg('path', { class: 'shoal-edges' });
  private readonly nearPath = svg('path', { class: 'shoal-near' });
  private readonly edgeCounts = svg('g', { class: 'shoal-edge-counts' });
  private readonly nodeLayer = svg('g');
  private readonly inset = svg('g', {}, this.edgePath, this.nearPath, this.nodeLayer, this.edgeCounts);
  private nodes: NodeView[] = [];
  private place: Layout | undefined;
  private style: Style = STYLES.dot;
  private edges = new Map<string, number>();
  private drawn = -1;
  private current = 0;

  constructor(private readonly picked: Picked) {
    this.canvas = svg('g', {}, this.inset);
    this.root = svg('svg', { class: 'shoal-picture', role: 'group', 'aria-label': 'Task graph' }, this.canvas);
    this.root.addEventListener('keydown', event => this.onKey(event));
    for (const name of ['pointerover', 'focusin'] as const) {
      this.root.addEventListener(name, event => this.pick(this.find(event.target)));
    }
    for (const name of ['pointerleave', 'focusout'] as const) {
      this.root.addEventListener(name, () => this.pick(-1));
    }
  }

  /** Size of all that is drawn, with its margin. */
  get size(): { width: number; height: number } {
    const { width, height } = this.place ?? { width: 0, height: 0 };
    return { width: width + this.style.width + 2 * MARGIN, height: height + this.style.height + 2 * MARGIN };
  }

  /** Bring the picture up to date. Returns whether nodes were added or placed anew. */
  update(model: GraphModel): boolean {
    const moved = this.drawn !== model.structure || model.mode === 'groups';
    if (moved) {
      this.rebuild(model);
    } else if (model.grouped) {
      this.items = itemsOf(model).items;
    }
    this.items.forEach((item, place) => this.nodes[place]?.update(item));
    return moved;
  }

  private rebuild(model: GraphModel): void {
    const { items, edges, style } = itemsOf(model);
    if (style !== this.style || items.length < this.nodes.length || this.drawn < 0) {
      this.nodeLayer.replaceChildren();
      this.nodes = [];
      this.current = 0;
    }
    Object.assign(this, { items, edges, style, drawn: model.structure });
    this.place = layOut(items, style.spacing);
    // nodes are placed by their middle
    this.inset.setAttribute('transform', `translate(${MARGIN + style.width / 2} ${MARGIN + style.height / 2})`);
    const { x, y } = this.place;
    items.forEach((_, place) => {
      let node = this.nodes[place];
      if (node === undefined) {
        node = makeNode(style, model);
        node.element.setAttribute('data-place', String(place));
        node.element.setAttribute('tabindex', place === this.current ? '0' : '-1');
        this.nodes.push(node);
        this.nodeLayer.append(node.element);
      }
      setAttribute(node.element, 'transform', `translate(${this.shift(x[place])} ${this.shift(y[place])})`);
    });
    this.drawEdges();
  }

  private shift(value: number | undefined): string {
    return (value ?? 0).toFixed(1);
  }

  private drawEdges(): void {
    const lines: string[] = [];
    const counts: SVGTextElement[] = [];
    this.items.forEach((item, to) => {
      for (const from of item.deps) {
        lines.push(this.line(from, to));
        const count = this.edges.get(`${from} ${to}`);
        if (count !== undefined) {
          counts.push(this.countLabel(from, to, count));
        }
      }
    });
    this.edgePath.setAttribute('d', lines.join(''));
    this.edgePath.style.opacity = String(Math.min(1, Math.max(0.25, MANY_EDGES / Math.max(1, lines.length))));
    this.edgeCounts.replaceChildren(...counts);
  }

  private line(from: number, to: number): string {
    const [x1, y1] = this.at(from, 1);
    const [x2, y2] = this.at(to, -1);
    const bend = Math.max(24, Math.abs(x2 - x1) / 2);
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  }

  private countLabel(from: number, to: number, count: number): SVGTextElement {
    const [x1, y1] = this.at(from, 1);
    const [x2, y2] = this.at(to, -1);
    return svg('text', { x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 4 }, count.toLocaleString('en'));
  }

  /** The right (1) or left (-1) end of a node. */
  private at(place: number, side: 1 | -1): [number, number] {
    const half = this.style.kind === 'dot' ? 9 : this.style.width / 2;
    return [Math.round((this.place?.x[place] ?? 0) + side * half), Math.round(this.place?.y[place] ?? 0)];
  }

  private find(target: EventTarget | null): number {
    const element = target instanceof Element ? target.closest('.shoal-node') : null;
    return element ? Number(element.getAttribute('data-place')) : -1;
  }

  private pick(place: number): void {
    const item = this.items[place];
    const near: string[] = [];
    if (item) {
      near.push(...item.deps.map(dep => this.line(dep, place)));
      this.items.forEach((other, to) => {
        if (other.deps.includes(place)) {
          near.push(this.line(place, to));
        }
      });
    }
    this.nearPath.setAttribute('d', near.join(''));
    this.picked(item, this.nodes[place]?.element);
  }

  private onKey(event: KeyboardEvent): void {
    const ways: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1]
    };
    const way = ways[event.key];
    if (way && this.place) {
      this.focus(nearest(this.place, this.current, way));
    } else if (event.key === 'Home' || event.key === 'End') {
      this.focus(event.key === 'Home' ? 0 : this.nodes.length - 1);
    } else {
      if (event.key === 'Escape') {
        this.pick(-1);
      }
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  private focus(place: number): void {
    const node = this.nodes[place];
    if (node) {
      this.nodes[this.current]?.element.setAttribute('tabindex', '-1');
      node.element.setAttribute('tabindex', '0');
      node.element.focus();
      this.current = place;
    }
  }
}

/** The nearest node in a direction; steps aside count threefold. */
function nearest(place: Layout, from: number, [dx, dy]: [number, number]): number {
  let [best, least] = [from, Infinity];
  const [x0, y0] = [place.x[from] ?? 0, place.y[from] ?? 0];
  place.x.forEach((x, node) => {
    const [ahead, aside] = [(x - x0) * dx + ((place.y[node] ?? 0) - y0) * dy, (x - x0) * dy + ((place.y[node] ?? 0) - y0) * dx];
    if (ahead > 0.5 && ahead + 3 * Math.abs(aside) < least) {
      [best, least] = [node, ahead + 3 * Math.abs(aside)];
    }
  });
  return best;
}
