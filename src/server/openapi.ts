/**
 * The OpenAPI 3.1 document, generated from the routes that are mounted and from the schemas that parse their requests.
 */
import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi'
import type { z } from 'zod'
import type { RouteResponse, RouteSpec } from './route.js'
import { problemSchema } from './schemas.js'

const PROBLEM: RouteResponse = {
  description: 'What was wrong and how to mend it (RFC 9457)',
  content: { 'application/problem+json': problemSchema },
}

export function openApiDocument(specs: readonly RouteSpec[], version: string): object {
  const registry = new OpenAPIRegistry()
  for (const spec of specs) registry.registerPath(routeConfig(spec))
  return new OpenApiGeneratorV31(registry.definitions, { sortComponents: 'alphabetically' }).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'Endstate',
      version,
      description:
        'Every accepted record settles by its `settlesBy`, is charged at most once, and holds one result per step.',
    },
    servers: [{ url: '/' }],
  })
}

function routeConfig(spec: RouteSpec): RouteConfig {
  const { method, path, summary, description, params, query, headers, body } = spec
  const responses = Object.entries({ ...spec.responses, default: PROBLEM })
  return {
    method,
    path,
    summary,
    ...(description === undefined ? {} : { description }),
    operationId: operationId(spec),
    request: {
      ...(params === undefined ? {} : { params }),
      ...(query === undefined ? {} : { query }),
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined
        ? {}
        : { body: { description: body.description, required: true, ...contentOf(body.content) } }),
    },
    responses: Object.fromEntries(
      responses.map(([status, { description: said, content }]) => [
        status,
        { description: said, ...contentOf(content ?? {}) },
      ]),
    ),
  }
}

function contentOf(content: { [mediaType: string]: z.ZodType }): {
  content: { [mediaType: string]: { schema: z.ZodType } }
} {
  return { content: Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }])) }
}

/** `get /v1/records/{id}/history` → `getRecordsIdHistory`. */
function operationId({ method, path }: RouteSpec): string {
  const words = path.replace(/^\/v1/, '').split(/[^A-Za-z0-9]+/)
  return method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}
