export { type CheckUriOptions, checkUri } from './check-uri.js';
export { resolveInside } from './resolve-inside.js';
