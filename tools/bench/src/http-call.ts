import { request } from 'node:http';
import type { Answer } from './echo-answer.ts';

/** Where a server under measurement is. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** An answer with its headers. */
export interface CallAnswer extends Answer {
  header(name: string): string | undefined;
}

const TIMEOUT_MS = 10_000;

/** One POST on a connection of its own, which is closed after it: what is left on the server is its own. */
export function post(endpoint: Endpoint, headers: Readonly<Record<string, string>>, message: object): Promise<CallAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({ ...endpoint, method: 'POST', agent: false, headers: { ...headers, connection: 'close' } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          body: Buffer.concat(chunks).toString('utf8'),
          header: (name) => response.headers[name]?.toString(),
        }),
      );
    });
    call.setTimeout(TIMEOUT_MS, () => call.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    call.once('error', reject);
    call.end(JSON.stringify(message));
  });
}
