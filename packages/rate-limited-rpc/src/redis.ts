export { type RedisLimitsOptions, redisLimits } from './redis/redis-limits.js';
