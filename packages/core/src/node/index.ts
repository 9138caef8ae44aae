export { clientCertificateOf } from './client-certificate.js';
export type { HttpUpgradeListener } from './http-upgrade-listener.js';
export { isLoopbackAddress, RequestGuard, type RequestGuardOptions } from './request-guard.js';
