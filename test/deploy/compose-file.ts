/** docker-compose.yml as data: read with merge keys, and with the parts that the tests look at checked. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CORE_SCHEMA, load, mergeTag } from 'js-yaml'
import { z } from 'zod'

export const ROOT = join(import.meta.dirname, '../..')

const Service = z.looseObject({
  image: z.string(),
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z.union([z.array(z.string()), z.record(z.string(), z.object({ condition: z.string() }))]).default([]),
  network_mode: z.string().optional(),
})
const Compose = z.looseObject({ services: z.record(z.string(), Service), volumes: z.record(z.string(), z.unknown()) })

export type ComposeService = z.infer<typeof Service>

export const readCompose = (): unknown =>
  load(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { schema: CORE_SCHEMA.withTags(mergeTag) })

export const composeFile = (): z.infer<typeof Compose> => Compose.parse(readCompose())

export const dependenciesOf = ({ depends_on }: ComposeService): string[] =>
  Array.isArray(depends_on) ? depends_on : Object.keys(depends_on)
