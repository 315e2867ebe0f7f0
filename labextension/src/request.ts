import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IErrorBody, IPoolList, IScalePool, IStartPool } from './api';

/**
 * Why a request came to nothing: the server cannot be reached, it has no Shoal extension, or the extension refused.
 */
export type FailureKind = 'unreachable' | 'missing' | 'refused';

/** A request that was not carried out. */
export class RequestError extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string,
    readonly fix = ''
  ) {
    super(message);
  }
}

/** The calls that the panel may make. This file is the only one that talks to the server. */
export class Requests {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  list(): Promise<IPoolList> {
    return this._call('GET', 'pools');
  }

  start(wanted: IStartPool): Promise<IPoolList> {
    return this._call('POST', 'pools', wanted);
  }

  scale(name: string, wanted: IScalePool): Promise<IPoolList> {
    return this._call('PATCH', `pools/${encodeURIComponent(name)}`, wanted);
  }

  stop(name: string): Promise<IPoolList> {
    return this._call('DELETE', `pools/${encodeURIComponent(name)}`);
  }

  private async _call(method: string, path: string, body?: IStartPool | IScalePool): Promise<IPoolList> {
    const url = URLExt.join(this._settings.baseUrl, 'shoal', path);
    const init: RequestInit = { method, ...(body && { body: JSON.stringify(body) }) };
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch (error) {
      throw new RequestError('unreachable', error instanceof Error ? error.message : String(error));
    }
    const answer = await json(response);
    if (response.ok && isPoolList(answer)) {
      return answer;
    }
    if (isErrorBody(answer)) {
      throw new RequestError('refused', answer.message, answer.fix);
    }
    if (response.status === 404 || response.ok) {
      throw new RequestError('missing', `${response.status} ${response.statusText}`);
    }
    throw new RequestError('refused', messageOf(answer) || `${response.status} ${response.statusText}`);
  }
}

async function json(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isPoolList(value: unknown): value is IPoolList {
  return isRecord(value) && Array.isArray(value['pools']);
}

function isErrorBody(value: unknown): value is IErrorBody {
  return isRecord(value) && typeof value['error'] === 'string' && typeof value['fix'] === 'string';
}

/** What Jupyter's own error pages carry. */
function messageOf(value: unknown): string {
  return isRecord(value) && typeof value['message'] === 'string' ? value['message'] : '';
}
