export { SERVICE_NAMES, type ServiceName } from './definitions.ts';
export { freePorts } from './free-ports.ts';
export { type RunningServices, startServices } from './services.ts';
