import { jwt, oauthResourceServer } from '@mcp-blocks/secure-mcp-server';

const resource = 'https://mcp.example.com/mcp';
export const oauth = oauthResourceServer({
  resource,
  authorizationServers: ['https://login.example.com'],
  verifier: jwt({
    jwks: { url: 'https://login.example.com/jwks' },
    algorithms: ['ES256'],
    issuer: 'https://login.example.com',
    audience: resource,
    typ: 'at+jwt',
  }),
});
