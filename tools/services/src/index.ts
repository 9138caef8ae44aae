export { SERVICE_NAMES, type ServiceName } from './definitions/index.ts';
export { freePorts } from './free-ports.ts';
export { findProgram, type ProgramName, type ProgramOptions, type RunningProgram, startProgram } from './programs.ts';
export { type RestartableServer, startRestartable } from './restartable-server.ts';
export { type RunningServices, startServices } from './services.ts';
