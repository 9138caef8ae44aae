export { resolveInside } from './resolve-inside.js';
