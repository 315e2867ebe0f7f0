import { LabIcon } from '@jupyterlab/ui-components';

/** Three fish of one shoal, heading one way. */
const FISH = 'c1.7-2.1 3.9-3.1 6.2-2.4 1 .3 1.8.9 2.5 1.7l2-1.5v4.4l-2-1.5c-.7.8-1.5 1.4-2.5 1.7-2.3.7-4.5-.3-6.2-2.4z';
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
<g class="jp-icon3 jp-icon-selectable" fill="#616161">
<path d="M9.6 5.6${FISH}"/><path d="M1.6 12${FISH}"/><path d="M9.6 18.4${FISH}"/>
</g></svg>`;

export const shoalIcon = new LabIcon({ name: 'shoal-lab:shoal', svgstr: svg });
