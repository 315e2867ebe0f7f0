import { html, setAttribute, setText, svg } from './dom';
import type { GraphModel, Group, Task } from './model';
import type { Spacing } from './layout';
import { COLOURS, HOLLOW, SHAPES, STACK, stateName } from './states';
import { groupLines, number, taskLines } from './words';

/** One thing in the picture. */
export interface Item {
  deps: readonly number[];
  task?: Task;
  group?: Group;
}

/** How the nodes of a picture are drawn. */
export interface Style {
  kind: 'dot' | 'card' | 'group';
  spacing: Spacing;
  width: number;
  height: number;
}

/** Up to so many tasks carry their names. */
const MOST_CARDS = 24;

export const STYLES: Readonly<Record<Style['kind'], Style>> = {
  dot: { kind: 'dot', spacing: { column: 26, layer: 90, row: 25 }, width: 20, height: 20 },
  card: { kind: 'card', spacing: { column: 150, layer: 190, row: 38 }, width: 134, height: 28 },
  group: { kind: 'group', spacing: { column: 210, layer: 250, row: 78 }, width: 188, height: 58 }
};

/** What is to be drawn of a run: its tasks one by one, or its groups. */
export function itemsOf(model: GraphModel): { items: Item[]; edges: Map<string, number>; style: Style } {
  const edges = new Map<string, number>();
  if (!model.grouped) {
    const items = model.tasks.map(task => ({ deps: task.deps, task }));
    return { items, edges, style: STYLES[items.length <= MOST_CARDS ? 'card' : 'dot'] };
  }
  const { groups, edges: found } = model.groups();
  const items = groups.map(group => ({ deps: [] as number[], group }));
  for (const edge of found) {
    items[edge.to]?.deps.push(edge.from);
    edges.set(`${edge.from} ${edge.to}`, edge.count);
  }
  return { items, edges, style: STYLES.group };
}

/** The lines of the tooltip of an item. */
export function linesOf(model: GraphModel, item: Item, now: number): string[] {
  return item.task ? taskLines(model, item.task, now) : item.group ? groupLines(item.group) : [];
}

/** A drawn node: an SVG group, and how to bring it up to date. */
export interface NodeView {
  element: SVGGElement;
  update(item: Item): void;
}

export function makeNode(style: Style, model: GraphModel): NodeView {
  const element = svg('g', { class: `shoal-node shoal-${style.kind}`, role: 'img', tabindex: -1 });
  return style.kind === 'group' ? groupNode(element, style) : taskNode(element, style, model);
}

function taskNode(element: SVGGElement, style: Style, model: GraphModel): NodeView {
  const shape = svg('path', { class: 'shoal-shape' });
  const title = svg('text', { class: 'shoal-title', x: -style.width / 2 + 26, y: 4 });
  if (style.kind === 'card') {
    element.append(box(style));
    shape.setAttribute('transform', `translate(${-style.width / 2 + 14} 0) scale(0.8)`);
    element.append(shape, title);
  } else {
    element.append(svg('circle', { class: 'shoal-halo', r: 12 }), shape);
  }
  let shown = -1;
  return {
    element,
    update: ({ task }): void => {
      if (task === undefined || task.state === shown) {
        return;
      }
      shown = task.state;
      element.setAttribute('data-state', stateName(shown));
      element.setAttribute('aria-label', `${model.labelOf(task)} ${task.id}: ${stateName(shown)}`);
      shape.setAttribute('d', SHAPES[shown] ?? '');
      paint(shape, shown);
      setText(title, clip(model.labelOf(task), 14));
    }
  };
}

function groupNode(element: SVGGElement, style: Style): NodeView {
  const [left, inner] = [-style.width / 2 + 12, style.width - 24];
  const title = svg('text', { class: 'shoal-title', x: left, y: -11 });
  const counts = svg('text', { class: 'shoal-counts', x: left, y: 5 });
  const bars = STACK.map(state => svg('rect', { y: 13, height: 8, fill: COLOURS[state] ?? '' }));
  element.append(box(style), title, counts, ...bars);
  return {
    element,
    update: ({ group }): void => {
      if (group === undefined) {
        return;
      }
      const [name = '', states = ''] = groupLines(group);
      setText(title, clip(group.label, 20));
      setText(counts, `${number(group.counts[3] ?? 0)} of ${number(group.total)} done`);
      setAttribute(element, 'aria-label', `${name}: ${states}`);
      let x = left;
      STACK.forEach((state, place) => {
        const width = group.total > 0 ? ((group.counts[state] ?? 0) / group.total) * inner : 0;
        const bar = bars[place];
        if (bar) {
          setAttribute(bar, 'x', x.toFixed(1));
          setAttribute(bar, 'width', width.toFixed(1));
        }
        x += width;
      });
    }
  };
}

function box(style: Style): SVGRectElement {
  const { width, height } = style;
  return svg('rect', { class: 'shoal-box', x: -width / 2, y: -height / 2, width, height, rx: 5 });
}

/** Colour a state's shape: filled, or as an outline. */
export function paint(shape: SVGPathElement, state: number): void {
  const colour = COLOURS[state] ?? '';
  const hollow = HOLLOW.has(state);
  shape.setAttribute('fill', hollow ? 'transparent' : colour);
  shape.setAttribute('stroke', colour);
  shape.setAttribute('stroke-width', hollow ? '2.5' : '1');
}

/** A legend of the states that occur. */
export function legend(states: readonly number[]): HTMLElement {
  return html(
    'ul',
    { class: 'shoal-legend', 'aria-label': 'States' },
    ...states.map(state => {
      const shape = svg('path', { d: SHAPES[state] ?? '' });
      paint(shape, state);
      const icon = svg('svg', { viewBox: '-11 -11 22 22', width: 14, height: 14, 'aria-hidden': 'true' }, shape);
      return html('li', {}, icon, stateName(state));
    })
  );
}

function clip(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
