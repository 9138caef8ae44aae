import { defineConfig } from 'vitest/config';

// Tests import the packages' sources through this export condition, so they need no build. `import` is not
// among them: Vitest hands them to Node, where they would count for `require` too.
const conditions = ['@mcp-blocks/source', 'node'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    // Real Redis, etcd and PostgreSQL for every run; one to two seconds.
    globalSetup: ['./tools/services/src/vitest-setup.ts'],
    include: ['packages/*/test/**/*.test.ts', 'apps/*/test/**/*.test.ts', 'tools/*/test/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    pool: 'forks',
  },
});
