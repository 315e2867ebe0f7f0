/** Something that is drawn at a place: a task, or a group of tasks. */
export interface LayoutNode {
  /** Places (in the list given) of the nodes that it takes values from. */
  deps: readonly number[];
}

export interface Spacing {
  /** Distance of columns of one layer, of layers, and of rows. */
  column: number;
  layer: number;
  row: number;
}

export interface Layout {
  x: Float64Array;
  y: Float64Array;
  depth: Int32Array;
  width: number;
  height: number;
}

/** Width to height that a picture aims at. */
const ASPECT = 2.6;
const MOST_ROWS = 24;

/**
 * Place a graph in layers from left to right: x by the longest way from a source, y near the mean of what it takes.
 *
 * A layer of many nodes is folded into several columns, so that a wide fan stays a compact block; every other column stands
 * half a row lower, so that the edges of one pass between the nodes of the next, and no row looks like a chain. Nodes must
 * come after what they depend on; a dependency on a later node (groups that depend on each other) is left out of the layering.
 */
export function layOut(nodes: readonly LayoutNode[], spacing: Spacing): Layout {
  const depth = depths(nodes);
  const layers = orderLayers(nodes, depth);
  const rows = chooseRows(layers, spacing);
  const x = new Float64Array(nodes.length);
  const y = new Float64Array(nodes.length);
  const tallest = Math.min(rows, Math.max(0, ...layers.map(layer => layer.length)));
  let left = 0;
  for (const layer of layers) {
    const columns = Math.ceil(layer.length / rows);
    const used = Math.ceil(layer.length / Math.max(1, columns));
    layer.forEach((node, place) => {
      const column = Math.floor(place / used);
      const inColumn = Math.min(used, layer.length - column * used);
      x[node] = left + column * spacing.column;
      const top = (tallest - used) / 2 + Math.floor((used - inColumn) / 2) + (column % 2) / 2;
      y[node] = (top + (place % used)) * spacing.row;
    });
    left += (columns - 1) * spacing.column + spacing.layer;
  }
  const width = Math.max(0, left - spacing.layer);
  return { x, y, depth, width, height: y.reduce((most, each) => Math.max(most, each), 0) };
}

function depths(nodes: readonly LayoutNode[]): Int32Array {
  const depth = new Int32Array(nodes.length);
  nodes.forEach((node, place) => {
    for (const dep of node.deps) {
      if (dep < place) {
        depth[place] = Math.max(depth[place] ?? 0, (depth[dep] ?? 0) + 1);
      }
    }
  });
  return depth;
}

/** The nodes of each layer, ordered so that they stand near what they take. */
function orderLayers(nodes: readonly LayoutNode[], depth: Int32Array): number[][] {
  const layers: number[][] = [];
  nodes.forEach((_, place) => {
    (layers[depth[place] ?? 0] ??= []).push(place);
  });
  const height = new Float64Array(nodes.length); // place in its layer, 0..1
  for (const layer of layers) {
    const wish = new Map(layer.map(place => [place, meanHeight(nodes[place], place, height)]));
    layer.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0) || a - b);
    layer.forEach((place, order) => {
      height[place] = (order + 0.5) / layer.length;
    });
  }
  return layers;
}

function meanHeight(node: LayoutNode | undefined, place: number, height: Float64Array): number {
  const before = (node?.deps ?? []).filter(dep => dep < place);
  return before.reduce((sum, dep) => sum + (height[dep] ?? 0), 0) / Math.max(1, before.length);
}

/** The most rows of one column: what gives the picture the shape aimed at. */
function chooseRows(layers: readonly number[][], spacing: Spacing): number {
  const tallest = Math.max(1, ...layers.map(layer => layer.length));
  let best = 1;
  let least = Infinity;
  for (let rows = 1; rows <= Math.min(tallest, MOST_ROWS); rows++) {
    const folds = layers.reduce((sum, layer) => sum + Math.ceil(layer.length / rows) - 1, 0);
    const width = folds * spacing.column + layers.length * spacing.layer;
    const miss = Math.abs(Math.log(width / (rows * spacing.row) / ASPECT));
    if (miss < least) {
      [best, least] = [rows, miss];
    }
  }
  return best;
}
