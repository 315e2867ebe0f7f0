/** The states of a task, in the order of their codes, and how each looks: a colour and a shape of its own. */
export const STATES = ['waiting', 'queued', 'running', 'done', 'failed', 'skipped', 'cancelled'] as const;

export type StateName = (typeof STATES)[number];

export const [WAITING, QUEUED, RUNNING, DONE, FAILED, SKIPPED, CANCELLED] = [0, 1, 2, 3, 4, 5, 6] as const;

/** Colours that colour-blind people tell apart (after Okabe and Ito), readable on light and on dark ground. */
export const COLOURS: readonly string[] = [
  '#8a8f98', // waiting
  '#56b4e9', // queued
  '#e69f00', // running
  '#009e73', // done
  '#d55e00', // failed
  '#cc79a7', // skipped
  '#7a6a5a' // cancelled
];

/** Outlines in a square of side 20 around the origin. */
export const SHAPES: readonly string[] = [
  'M-7 0A7 7 0 1 1 7 0A7 7 0 1 1 -7 0Z', // circle, hollow
  'M0 -8.5L8.5 0L0 8.5L-8.5 0Z', // diamond
  'M-6 -8L9 0L-6 8Z', // triangle, as on a play button
  'M-8 0A8 8 0 1 1 8 0A8 8 0 1 1 -8 0Z', // circle
  'M-8 -4.5L-4.5 -8L0 -3.5L4.5 -8L8 -4.5L3.5 0L8 4.5L4.5 8L0 3.5L-4.5 8L-8 4.5L-3.5 0Z', // cross
  'M-7 -7H7V7H-7Z', // square, hollow
  'M-8 -2.5H8V2.5H-8Z' // bar
];

/** States whose shape is drawn as an outline. */
export const HOLLOW: ReadonlySet<number> = new Set([WAITING, SKIPPED]);

/** The order in which a bar stacks them: what is over first, then what runs. */
export const STACK: readonly number[] = [DONE, FAILED, SKIPPED, CANCELLED, RUNNING, QUEUED, WAITING];

export function stateName(code: number): StateName {
  return STATES[code] ?? 'waiting';
}

export function isOver(code: number): boolean {
  return code >= DONE;
}
