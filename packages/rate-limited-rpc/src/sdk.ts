export { limitTransport, type TransportIdentity } from './limit-transport.js';
