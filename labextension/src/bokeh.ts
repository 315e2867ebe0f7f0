import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';

declare global {
  interface Window {
    Bokeh?: object;
  }
}

/**
 * Load BokehJS from this server, where Bokeh's own way is a download from far away.
 *
 * Plots then work without a network, and notebooks that hold them stay small. A page that has BokehJS keeps it.
 */
export function loadBokeh(settings: ServerConnection.ISettings): Promise<void> {
  if (window.Bokeh) {
    return Promise.resolve();
  }
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = URLExt.join(settings.baseUrl, 'shoal', 'bokeh', 'bokeh.min.js');
    script.addEventListener('load', () => {
      resolve();
    });
    script.addEventListener('error', () => {
      reject(new Error(`${script.src} cannot be loaded: plots of Bokeh need it`));
    });
    document.head.append(script);
  });
}
