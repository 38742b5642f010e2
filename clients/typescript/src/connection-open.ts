/** Opens a connection of either kind; each kind is loaded when it is asked for, so that none brings in what it does not need. */

import type { Connection, ConnectionOptions, HttpOptions } from './connection.js';

/** Opens a connection; nothing is sent yet. `listen` is whether notifications may be used. */
export async function connect(options: ConnectionOptions, listen?: boolean): Promise<Connection> {
  if (isHttp(options)) {
    const { HttpConnection } = await import('./connection-http.js');
    return new HttpConnection(options);
  }
  if (typeof options === 'string' && /^https?:/.test(options)) {
    throw new TypeError('a connection over HTTP needs a token: { url, token } instead of a URL alone');
  }
  const { PostgresConnection } = await import('./connection-postgres.js');
  return PostgresConnection.open(options, listen);
}

function isHttp(options: ConnectionOptions): options is HttpOptions {
  return typeof options === 'object' && typeof options.url === 'string';
}
