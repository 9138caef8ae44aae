/** Answers liveness and readiness probes, without authentication; `undefined` for any other path. */
export function healthResponse(path: string, ready: boolean): Response | undefined {
  if (path === '/healthz') return Response.json({ status: 'ok' });
  if (path === '/readyz') return Response.json({ status: ready ? 'ready' : 'not ready' }, { status: ready ? 200 : 503 });
  return undefined;
}
