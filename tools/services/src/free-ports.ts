import { createServer, type Server } from 'node:net';

/** As many different loopback ports as asked for, free a moment ago. Who binds one retries if it was taken since. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  try {
    // All held at once, so that no port is given twice.
    for (let i = 0; i < count; i += 1) servers.push(await listen());
    return servers.map((server) => (server.address() as { port: number }).port);
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

function listen(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}
