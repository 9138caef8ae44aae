import { readFileSync } from 'node:fs';
import { AuthenticatedToolRegistry, ToolError } from '@mcp-blocks/authenticated-tool-registry';
import { type AuditSink, RpcError } from '@mcp-blocks/core';
import { z } from 'zod';
import { ROLE_HIERARCHY } from '../identities.js';

const City = z.object({ name: z.string(), country: z.string(), latitude: z.number(), longitude: z.number() });
const Weather = z.object({
  city: z.string(),
  temperatureCelsius: z.number(),
  windKilometresPerHour: z.number(),
  observedAt: z.string(),
  source: z.enum(['live', 'bundled']).describe('live: from the weather API; bundled: from the data set shipped with the demo'),
});
type Weather = z.infer<typeof Weather>;

const BundledCity = City.extend({ temperatureCelsius: z.number(), windKilometresPerHour: z.number(), observedAt: z.string() });
const BUNDLED = z.array(BundledCity).parse(JSON.parse(readFileSync(new URL('../../weather.json', import.meta.url), 'utf8')));

const ApiAnswer = z.object({ current: z.object({ time: z.string(), temperature_2m: z.number(), wind_speed_10m: z.number() }) });

/** Options of {@link weatherServer}. */
export interface WeatherOptions {
  /** Base URL of an Open-Meteo API, such as `https://api.open-meteo.com`. */
  readonly apiUrl: string;
  readonly audit: AuditSink;
}

/** Current weather from a real API, and from a bundled data set when the API cannot be reached. */
export function weatherServer({ apiUrl, audit }: WeatherOptions): AuthenticatedToolRegistry {
  const registry = new AuthenticatedToolRegistry({ name: 'weather', version: '1.0.0', audit, roles: ROLE_HIERARCHY });
  const viewers = { roles: ['viewer'] };

  registry.tool(
    'current_weather',
    {
      title: 'Current weather',
      description: 'Temperature and wind in a city now. Says whether the figures are live or from the bundled data set.',
      input: z.object({ city: z.string().min(1).max(80).describe('A city name such as Lisbon') }),
      output: Weather,
      annotations: { readOnlyHint: true, openWorldHint: true },
      access: viewers,
    },
    async ({ city }, { signal }) => ({ structuredContent: await weatherIn(city, apiUrl, signal) }),
  );

  registry.tool(
    'storm_warning',
    {
      title: 'Storm warning',
      description: 'Whether the wind in a city is strong enough to stop ferries (above 75 km/h).',
      input: z.object({ city: z.string().min(1).max(80) }),
      annotations: { readOnlyHint: true },
      access: viewers,
    },
    async ({ city }, { signal }) => {
      const { windKilometresPerHour } = await weatherIn(city, apiUrl, signal);
      return windKilometresPerHour > 75 ? `Storm: ${windKilometresPerHour} km/h in ${city}` : `No storm in ${city}`;
    },
  );

  registry.resourceTemplate(
    'weather://{city}',
    {
      name: 'city-weather',
      title: 'Weather of a city',
      description: 'An API as a resource',
      mimeType: 'application/json',
      access: viewers,
    },
    async ({ city }, { signal }) => {
      try {
        return { text: JSON.stringify(await weatherIn(String(city), apiUrl, signal)), mimeType: 'application/json' };
      } catch (error) {
        throw error instanceof ToolError ? new RpcError('resource_not_found', error.message) : error;
      }
    },
  );

  registry.prompt(
    'packing_advice',
    {
      title: 'Packing advice',
      description: 'Asks how to pack an order for the weather at its destination.',
      arguments: z.object({ city: z.string().describe('The destination') }),
      access: viewers,
    },
    async ({ city }) => [
      {
        role: 'user',
        content: {
          type: 'text',
          text: `Look up the current weather in ${city} and the warehouse handbook, then say how the order should be packed.`,
        },
      },
    ],
  );
  return registry;
}

async function weatherIn(name: string, apiUrl: string, signal: AbortSignal): Promise<Weather> {
  const city = BUNDLED.find((candidate) => candidate.name.toLowerCase() === name.trim().toLowerCase());
  if (city === undefined) throw new ToolError(`Unknown city '${name}'. Known: ${BUNDLED.map((known) => known.name).join(', ')}`);
  const live = await liveWeather(city, apiUrl, signal);
  return (
    live ?? {
      city: city.name,
      temperatureCelsius: city.temperatureCelsius,
      windKilometresPerHour: city.windKilometresPerHour,
      observedAt: city.observedAt,
      source: 'bundled',
    }
  );
}

async function liveWeather(city: z.infer<typeof City>, apiUrl: string, signal: AbortSignal): Promise<Weather | undefined> {
  const url = new URL('/v1/forecast', apiUrl);
  url.search = new URLSearchParams({
    latitude: String(city.latitude),
    longitude: String(city.longitude),
    current: 'temperature_2m,wind_speed_10m',
  }).toString();
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(2_000)]) });
    if (!response.ok) return undefined;
    const { current } = ApiAnswer.parse(await response.json());
    return {
      city: city.name,
      temperatureCelsius: current.temperature_2m,
      windKilometresPerHour: current.wind_speed_10m,
      observedAt: current.time,
      source: 'live',
    };
  } catch {
    // Unreachable, too slow, or not what the API documents: the bundled figures are the answer, and say so.
    return undefined;
  }
}
