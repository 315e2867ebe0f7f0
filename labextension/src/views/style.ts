/** The look, from the host's own variables where it has some, else from the system's colours. */
export const CSS = `
.shoal-graph {
  --shoal-ground: var(--jp-layout-color1, var(--vscode-editor-background, Canvas));
  --shoal-raised: var(--jp-layout-color2, var(--vscode-editorWidget-background, Canvas));
  --shoal-ink: var(--jp-ui-font-color1, var(--vscode-editor-foreground, CanvasText));
  --shoal-faint: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, GrayText));
  --shoal-rule: var(--jp-border-color2, var(--vscode-panel-border, #bdbdbd));
  --shoal-edge: var(--jp-border-color1, var(--vscode-panel-border, #9e9e9e));
  --shoal-focus: var(--jp-brand-color1, var(--vscode-focusBorder, Highlight));
  position: relative; box-sizing: border-box; padding: 8px 10px; border: 1px solid var(--shoal-rule);
  border-radius: 4px; background: var(--shoal-ground); color: var(--shoal-ink);
  font: var(--jp-ui-font-size1, 13px)/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
}
.shoal-progress { display: flex; flex-wrap: wrap; column-gap: 12px; row-gap: 4px; align-items: baseline; }
.shoal-bar { flex: 1 0 100%; display: flex; height: 8px; border-radius: 4px; overflow: hidden; background: var(--shoal-raised); }
.shoal-bar > span { transition: width 0.2s linear; }
.shoal-line { font-variant-numeric: tabular-nums; }
.shoal-scope { color: var(--shoal-faint); }
.shoal-spoken { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.shoal-picture { display: block; width: 100%; height: 0; margin-top: 6px; touch-action: pan-y; cursor: grab; user-select: none; }
.shoal-edges, .shoal-near { fill: none; stroke: var(--shoal-edge); stroke-width: 1.2; }
.shoal-near { stroke: var(--shoal-focus); stroke-width: 2; }
.shoal-box { fill: var(--shoal-raised); stroke: var(--shoal-rule); }
.shoal-halo { fill: transparent; }
.shoal-title, .shoal-counts, .shoal-edge-counts { font-size: 12px; fill: var(--shoal-ink); }
.shoal-group .shoal-title { font-weight: 600; font-size: 13px; }
.shoal-counts, .shoal-edge-counts { fill: var(--shoal-faint); font-variant-numeric: tabular-nums; }
.shoal-edge-counts { text-anchor: middle; }
.shoal-node { cursor: default; outline: none; }
.shoal-node:hover .shoal-box, .shoal-node:hover .shoal-halo { stroke: var(--shoal-focus); }
.shoal-node:focus-visible .shoal-box, .shoal-node:focus-visible .shoal-halo { stroke: var(--shoal-focus); stroke-width: 2.5; }
.shoal-node[data-state="running"] .shoal-shape { animation: shoal-pulse 1.2s ease-in-out infinite alternate; }
@keyframes shoal-pulse { from { opacity: 1; } to { opacity: 0.45; } }
.shoal-foot { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; justify-content: space-between; }
.shoal-legend { display: flex; flex-wrap: wrap; gap: 2px 12px; margin: 0; padding: 0; list-style: none; color: var(--shoal-faint); font-size: 12px; }
.shoal-legend li { display: flex; gap: 4px; align-items: center; margin: 0; }
.shoal-zoom { display: flex; gap: 2px; margin-left: auto; }
.shoal-zoom button { width: 24px; height: 24px; padding: 0; border: 1px solid var(--shoal-rule); border-radius: 3px; background: var(--shoal-raised); color: var(--shoal-ink); font: inherit; line-height: 1; cursor: pointer; }
.shoal-zoom button:focus-visible { outline: 2px solid var(--shoal-focus); outline-offset: 1px; }
.shoal-tip { position: absolute; z-index: 2; max-width: 320px; padding: 5px 8px; border: 1px solid var(--shoal-rule); border-radius: 3px; background: var(--shoal-raised); color: var(--shoal-ink); font-size: 12px; pointer-events: none; white-space: pre-wrap; overflow-wrap: anywhere; box-shadow: 0 2px 6px rgb(0 0 0 / 25%); }
.shoal-tip::first-line { font-weight: 600; }
.shoal-graph [hidden] { display: none; }
@media (prefers-reduced-motion: reduce) {
  .shoal-node[data-state="running"] .shoal-shape { animation: none; }
  .shoal-bar > span { transition: none; }
}
`;
