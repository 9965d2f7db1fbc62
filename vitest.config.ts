/**
 * Two projects: `pure` needs no server and ends in seconds (part of `npm run check`); `servers` runs everything else on
 * one real MongoDB and one real nats-server, started once by test/support/global-setup.ts.
 */
import { defineConfig } from 'vitest/config'

const PURE = [
  'test/machines/**/*.test.ts',
  'test/types/**/*.test.ts',
  'test/architecture.test.ts',
  'test/**/*.pure.test.ts',
]

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'pure', include: PURE, testTimeout: 20_000 } },
      {
        extends: true,
        test: {
          name: 'servers',
          include: ['test/**/*.test.ts'],
          exclude: [...PURE, 'test/fixtures/**'],
          globalSetup: ['test/support/global-setup.ts'],
          setupFiles: ['test/support/leaks.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
