export { isLoopbackAddress } from '../loopback-address.js';
export { clientCertificateOf } from './client-certificate.js';
export { type ClientCertificateOptions, refuseUntrusted } from './client-certificates.js';
export type { HttpUpgradeListener } from './http-upgrade-listener.js';
export { RequestGuard, type RequestGuardOptions } from './request-guard.js';
export { TlsCertificate, type TlsOptions } from './tls-certificate.js';
