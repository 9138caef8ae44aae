export { type ChannelTransport, type ServeChannelOptions, type ServedChannel, serveChannel } from './channel.js';
export { type Connection, connectionOf, toAuthInfo } from './connection.js';
export { FastLane, type LaneAnswer, type LaneCall, type LaneCarrier } from './fast-lane.js';
export { type HostOptions, hostSdkServer, hostSdkV1Server, type SdkV1Server } from './host.js';
export type { ModernRequest } from './modern-request.js';
export { toSdkFactory } from './service-server.js';
export { StateEventStore, type StateEventStoreOptions } from './state-event-store.js';
export { authorizeListen } from './subscriptions.js';
