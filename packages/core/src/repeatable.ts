/** Methods that read, or set something to a value: sent twice, they have the effect of being sent once. */
const REPEATABLE: ReadonlySet<string> = new Set([
  'ping',
  'server/discover',
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'logging/setLevel',
]);

/**
 * Whether a request of this method may be sent again when nobody knows if it was carried out. False for
 * `tools/call`, where it depends on the tool (its `readOnlyHint` and `idempotentHint`), and for every
 * method this package does not know.
 */
export function isRepeatableMethod(method: string): boolean {
  return REPEATABLE.has(method);
}
