import type { JsonObject } from '@mcp-blocks/core';
import { HttpRefusal } from './refusal.js';

/** Answers a request for a document that anyone may read, also scripts of any web origin. @throws HttpRefusal 405 for other methods. */
export function documentResponse(method: string, document: JsonObject): Response {
  const anyOrigin = { 'access-control-allow-origin': '*' };
  if (method === 'GET' || method === 'HEAD') {
    return Response.json(document, { headers: { ...anyOrigin, 'cache-control': 'public, max-age=300' } });
  }
  if (method === 'OPTIONS') {
    const allowed = { 'access-control-allow-methods': 'GET', 'access-control-allow-headers': 'MCP-Protocol-Version' };
    return new Response(null, { status: 204, headers: { ...anyOrigin, ...allowed } });
  }
  throw new HttpRefusal(405, 'invalid_request', 'This document can only be read', { allow: 'GET, HEAD, OPTIONS' });
}
